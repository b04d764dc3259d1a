"""--resume auto: the newest run of a name, or of this very command, so that a job that is started again goes on."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from applications.settings.optimizer_change import RATES_OF_OPT
from applications.settings.options import AUTO, Request, RunConfig, is_run_folder
from applications.training.resume import pin_data, settings_resumed
from applications.training.teaching import pin_teaching
from utils.checkpoint import LAST
from utils.distributed import open_world, world_from_environment
from utils.errors import UserError
from utils.logs import log
from utils.runtime import choose_device

# What makes a run another one, whatever it is called.
IDENTITY = ("arch", "data", "fold", "seed")
# What a plan of --minutes chooses besides its own settings, and a resumed run may change.
CHOSEN_BY_PLAN = ("freeze", "head_lr")


def with_newest_run(request: Request) -> Request:
    """Return the request with the run that --resume auto means, the same on all processes; or without one, for a fresh start."""
    if request.config.train.resume != AUTO:
        return request
    world = world_from_environment()
    if world.size > 1:
        # Each might find another one: the first process chooses for all.
        open_world(world, cuda=choose_device(request.config.runtime.device, world.local_rank).type == "cuda")
    found = world.gather(newest_run(request) if world.is_first else None)[0]
    given = {name: value for name, value in request.given.items() if name != "resume"}
    if found is not None:
        starting = settings_resumed("start")
        given = {**{name: value for name, value in given.items() if name not in starting}, "resume": str(found)}
    return replace(request, given=given, config=request.config.override({"resume": None if found is None else str(found)}))


def newest_run(request: Request) -> Path | None:
    """Return the folder of the run that saved last among those that the request can go on with; say what was found."""
    output = request.config.output
    runs = list(_runs(Path(output.logdir), output.name))
    fitting = [run for run in runs if _fits(run, request)]
    called = f"named {output.name} under" if output.name else "under"
    if not fitting:
        others = f"; {len(runs)} there were trained with other settings" if runs else ""
        log().info(f"resume    auto: no run {called} {output.logdir} to go on with{others}; a fresh one begins")
        return None
    newest = max(fitting, key=lambda run: ((run / LAST).stat().st_mtime_ns, run.name))
    log().info(f"resume    auto: {newest}, the newest of {len(fitting)} {called} {output.logdir}")
    return newest


def _runs(logdir: Path, name: str | None) -> Iterator[Path]:
    """Yield the folders of runs, of any task, that have a checkpoint to go on from."""
    called = re.compile(rf"{re.escape(name)}(-\d+)?") if name is not None else re.compile(".*")
    for checkpoint in logdir.glob(f"*/*/{LAST}"):
        if is_run_folder(checkpoint.parent) and called.fullmatch(checkpoint.parent.name):
            yield checkpoint.parent


def _fits(run: Path, request: Request) -> bool:
    """Whether the run has the settings of the request: those that tell runs apart, and without a --name all of them."""
    try:
        saved = RunConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8"))).to_dict()
    except (OSError, ValueError, UserError):
        return False
    asked = pin_teaching(pin_data(request.config)).to_dict()
    names: Iterable[str] = IDENTITY
    if request.config.output.name is None:
        # --batch auto and --minutes have found numbers themselves, and the task its usual loss and rate.
        free = {name for word in ("call", "place", "free") for name in settings_resumed(word)}
        found = {"batch_size", *RATES_OF_OPT} - request.given.keys() if asked["batch"] is not None else set[str]()
        if asked["head_lr"] is None:
            found.add("head_lr")
        if asked["criterion"] is None:
            found.add("criterion")
        if asked["minutes"] is not None:
            found |= {*settings_resumed("plan"), *CHOSEN_BY_PLAN} - request.given.keys()
        names = asked.keys() - free - found
    return all(saved[name] == asked[name] for name in names)
