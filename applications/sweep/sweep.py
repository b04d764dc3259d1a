"""--sweep: settings are searched by successive halving, each trial a training in a process of its own, judged on validation images."""

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from shlex import join
from typing import Any

from applications.contract import LearnsInPasses
from applications.settings.flag_checks import check_request
from applications.settings.options import Request, RunConfig, run_folder_parent
from applications.settings.recipes import settings_below
from applications.sweep.halving import best_of, plan_rungs
from applications.sweep.results import SweepResults, command_of, print_results, told_of_seeds, write_results
from applications.sweep.space import Parameter, absent, flags_of, parse_space
from applications.sweep.study import SweepStudy, check_installed, count_settings
from applications.sweep.trial_processes import usual_jobs, visible_gpus
from applications.sweep.trials import SEEDS, AllFailedError, TrialRunner, shared_by, wait_for
from applications.tasks import TASKS
from utils.errors import UserError
from utils.files import locked, write_text
from utils.logs import log, log_to_file

# Settings of the call, not of what is searched.
OF_THIS_CALL = ("jobs", "logdir", "name", "workers", "log_level", "print_freq", "device")
# Samplers that draw as many images as there are.
SAME_LENGTH = ("balanced", "file")


def run(request: Request) -> int:
    """Search, show what was found, and train the best again with other seeds; return the exit code."""
    space = parse_space(request.subject)
    base = _settings_of_trials(request)
    check_space(space, base, request.typed, {} if request.config.train.minutes is None else {"minutes": request.config.train.minutes})
    check_installed()
    task = request.config.train.task
    if task is not None and issubclass(TASKS.resolve(task), LearnsInPasses):
        raise UserError(f"--sweep compares trainings by validation, and --task {task} learns in one look; try its settings one by one")
    folder = _folder(request)
    with locked(folder / "sweep.lock"):
        log_to_file(folder / "log.txt")
        try:
            return _sweep(request, space, base, folder)
        except AllFailedError:
            # They are no trials: the same command begins anew.
            for run in folder.glob("runs/*/*"):
                wait_for(run)
            shutil.rmtree(folder)
            raise
        except KeyboardInterrupt as interrupt:
            said = f"stopped; all figures so far are in {folder}, and trainings under way were saved: the same command goes on"
            raise KeyboardInterrupt(said) from interrupt


def _settings_of_trials(request: Request) -> dict[str, Any]:
    """Return what all trials share: what the user gave, and the number that divides the images, whatever the seed."""
    left_out = {"trials", "jobs", "logdir", "name", "epochs", "minutes", "log_level"}
    # A config file may say how one run is spread.
    left_out |= {"nproc", "gpus", "nodes", "rank", "init_method"}
    return {**{name: value for name, value in request.given.items() if name not in left_out}, "split_seed": request.config.split_seed}


def check_space(space: tuple[Parameter, ...], base: Mapping[str, Any], typed: Collection[str], length: Mapping[str, Any]) -> None:
    """Raise UserError when a value of a parameter, by itself, makes settings that no training takes, or epochs of another length.

    Args:
        space: what varies.
        base: what all trials share.
        typed: names of those among them that the command line gives, not a config file.
        length: how long the longest of them is, where it is given in minutes.
    """
    for parameter in space:
        if parameter.name == "sampler" and "epoch_size" not in base:
            for value in parameter.probes:
                if value is not None and str(value).partition("(")[0] not in SAME_LENGTH:
                    raise UserError(f"--sweep sampler: {value} may make epochs longer; give --epoch_size N beside --sweep")
        for value in parameter.probes:
            given = {**shared_by(base, {parameter.name: value}, typed), **length, parameter.name: value}
            config = RunConfig().override(settings_below(given)).override(given)
            try:
                check_request(Request("train", config, given))
            except UserError as error:
                raise UserError(f"--sweep {parameter.name}: {error}") from error


def _folder(request: Request) -> Path:
    """Return the folder of the sweep, which the same command finds again.

    Raises:
        UserError: --name gives that of another sweep.
    """
    asked = {name: value for name, value in request.config.to_dict().items() if name not in OF_THIS_CALL}
    text = json.dumps({"space": request.subject, **asked}, indent=2, sort_keys=True) + "\n"
    folder = run_folder_parent(request.config.output, "sweep") / (
        request.config.output.name or f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )
    kept = folder / "sweep.json"
    if kept.is_file() and kept.read_text(encoding="utf-8") != text:
        before, now = json.loads(kept.read_text(encoding="utf-8")), json.loads(text)
        differing = next(name for name in now if before.get(name) != now[name])
        raise UserError(
            f"{folder} holds another sweep ({differing} {before.get(differing)} there, {now[differing]} here); choose another --name"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}; choose another --logdir") from error
    write_text(kept, text)
    return folder


def _sweep(request: Request, space: tuple[Parameter, ...], base: Mapping[str, Any], folder: Path) -> int:
    config = request.config
    count = count_settings(space)
    trials = config.sweep.trials if count is None else min(config.sweep.trials, count)
    unit, length = ("epochs", config.train.epochs) if config.train.minutes is None else ("minutes", config.train.minutes)
    rungs = plan_rungs(trials, length, unit)
    jobs = config.sweep.jobs or usual_jobs(trials)
    study = SweepStudy(folder / "study.journal", space, config.runtime.seed)
    study.catch_up()
    log().info(f"sweep     {folder}: {', then '.join(f'{rung.runs} x {rung.length:g} {rung.unit}' for rung in rungs)}; {jobs} at a time")
    if known := len(study.figures(0)):
        log().info(f"goes on   {known} of {trials} trials have figures already")
    gpus = visible_gpus() if config.runtime.device != "cpu" else []
    runner = TrialRunner(folder, base, request.typed, study, rungs, jobs=jobs, gpus=gpus, seed=config.runtime.seed)
    for number in range(len(rungs)):
        runner.run_rung(number)
    figures = [study.figures(number) for number in range(len(rungs))]
    winner = next(iter(best_of(figures[-1], 1)), None)
    if winner is None:
        raise UserError(f"--sweep: every training of {rungs[-1].length:g} {unit} failed; {runner.reason(len(rungs) - 1, figures[-1])}")
    runner.repeat(winner)
    results = SweepResults(space, rungs, study.settings(), figures, dict(sorted(study.figures(SEEDS).items())))
    _conclude(results, runner, folder, winner)
    return 0


def _conclude(results: SweepResults, runner: TrialRunner, folder: Path, winner: int) -> None:
    """Show and write what was found."""
    print_results(results)
    write_results(results, folder)
    best = runner.settings_of(winner, results.rungs[-1])
    write_text(folder / "best.json", json.dumps(best, indent=2) + "\n")
    for line in told_of_seeds(results, runner.headline(winner)):
        log().info(line)
    log().info(f"written   {folder} (sweep.csv, sweep.png, best.json)")
    file = ["python", "main.py", "--config", str(folder / "best.json"), *flags_of(absent(best))]
    # A chain of --aug_config has no flag.
    in_file = any(isinstance(value, dict) for value in best.values())
    log().info(f"repeat    {join(file) if in_file else command_of(best)}")
