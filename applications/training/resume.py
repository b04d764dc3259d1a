"""The settings of a run that goes on: those of its checkpoint, changed by what the command line says now."""

from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from applications.settings.flag_checks import check_together
from applications.settings.options import OutputOptions, RunConfig, is_run_folder, settings_where
from applications.trained.checkpoint import check_own_code, check_same_model
from applications.training.teaching import pin_teaching
from utils.checkpoint import LAST
from utils.errors import UserError
from utils.logs import log


def settings_resumed(word: str) -> tuple[str, ...]:
    """Return the settings that are declared with this word of `resumed`.

    call: a setting of this call rather than of the run. place: where the run lies, which goes on where it is. position: what
    the position inside an epoch is counted in. start: only used when a run starts. free: may differ between two starts of a run.
    plan: belongs to the plan of --minutes, which a resumed run keeps.
    """
    return settings_where(lambda declared: word in declared["resumed"])


def pin_data(config: RunConfig) -> RunConfig:
    """Return the settings with the whole paths of the data, and of lists of groups and classes: the run is understood from any folder."""
    data, groups = Path(config.data.data).expanduser(), Path(config.data.group_by or "").expanduser()
    pinned = {"data": str(data.resolve())} if data.is_dir() or data.is_file() else {}
    if groups.is_file():
        pinned["group_by"] = str(groups.resolve())
    if config.truths.labels is not None:
        pinned["labels"] = str(Path(config.truths.labels).expanduser().resolve())
    return config.override(pinned)


def resumed_config(content: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> RunConfig:
    """Return the settings of the run, changed by what the command line says now.

    Raises:
        UserError: the change would make the position in the run meaningless, or names another model.
    """
    check_same_model(content, given, path)
    saved = _with_its_warmup(RunConfig.from_dict(content["config"], source=str(path)), content["config"], given)
    check_own_code({name: content["config"].get(name) for name in settings_where(itemgetter("spec"))}, given, path)
    usual, of_this_call = RunConfig().to_dict(), settings_resumed("call")
    config = pin_teaching(
        pin_data(saved.override({**given, **{name: given.get(name, usual[name]) for name in of_this_call}, "resume": None}))
    )
    check_together(config)
    _check_place(saved.output, given, path)
    before, after = saved.to_dict(), config.to_dict()
    differing = [name for name in after if before[name] != after[name] and name not in of_this_call]
    if content["progress"]["batch"]:
        for name in settings_resumed("position"):
            if name in differing:
                raise UserError(f"--{name} cannot change inside an epoch ({before[name]} -> {after[name]}); resume without it")
    if saved.train.minutes is not None or config.train.minutes is not None:
        for name in settings_resumed("plan"):
            if name in differing:
                raise UserError(
                    f"--{name} cannot change on resume ({before[name]} -> {after[name]}): --minutes plans a run from its start, and a "
                    f"resumed run keeps its plan; leave it out, or start a new run with --init_from {path}"
                )
    if "fold" in differing:
        raise UserError(
            f"--fold cannot change on resume ({before['fold']} -> {after['fold']}): another part is another run; leave --resume out"
        )
    if "quantization_aware" in differing:
        raise UserError(f"--quantization_aware cannot begin or end on resume; start a new run with --init_from {path}")
    if "channels" in differing:
        raise UserError(
            f"--channels cannot change on resume ({before['channels']} -> {after['channels']}); start a new run with --init_from {path}"
        )
    for name in differing:
        log().info(f"changed on resume: --{name} {before[name]} -> {after[name]}")
    return config


def _with_its_warmup(saved: RunConfig, plain: Mapping[str, Any], given: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a checkpoint with the warm-up that its run had: earlier versions cut it to half of the run.

    Args:
        saved: the settings.
        plain: as the checkpoint holds them; those of earlier versions lack `warmup_lr`.
        given: what the command line says now.
    """
    if saved.optim.warmup is None or "warmup_lr" in plain:
        return saved
    length = given.get("epochs", saved.train.epochs) - given.get("cooldown", 0)
    return saved.override({"warmup": min(saved.optim.warmup, max(0, length) / 2)})


def _check_place(saved: OutputOptions, given: Mapping[str, Any], path: Path) -> None:
    """Raise UserError when another place is given to a run that goes on in its folder; a lone checkpoint gets a new one."""
    if not goes_on_in_place(path):
        return
    for name in settings_resumed("place"):
        if name in given and given[name] != getattr(saved, name):
            raise UserError(f"--{name} {given[name]} has no effect: the run goes on in {path.parent}; leave it out")


def goes_on_in_place(path: Path) -> bool:
    """Whether a run goes on in the folder of this checkpoint: from anything but its last one, later epochs would be overwritten."""
    return path.name == LAST and is_run_folder(path.parent)
