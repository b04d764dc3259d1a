"""The settings of a run that goes on: those of its checkpoint, changed by what the command line says now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from applications.settings.flag_checks import check_together
from applications.settings.options import OutputOptions, RunConfig, is_run_folder
from applications.trained.checkpoint import check_arch, check_own_code
from applications.training.teaching import pin_teaching
from utils.checkpoint import LAST
from utils.errors import UserError
from utils.logs import log

# Settings that the position inside an epoch is counted in.
POSITION = ("seed", "batch_size", "accumulate", "sampler", "epoch_size", "aug_splits", "aug_repeats")
# Settings that may name code of the user's own.
SPECS = ("opt", "schedule", "aug", "sampler")
# Settings of this call rather than of the run.
CALL_ONLY = ("resume", "nproc", "gpus", "nodes", "rank", "init_method", "max_minutes", "log_level")
# Settings that say where a run lies, which goes on where it is.
PLACE = ("logdir", "name")


def pin_data(config: RunConfig) -> RunConfig:
    """Return the settings with the whole paths of the data and of a list of groups, so that the run is understood from any folder."""
    data, groups = Path(config.data.data).expanduser(), Path(config.data.group_by or "").expanduser()
    pinned = {"data": str(data.resolve())} if data.is_dir() or data.is_file() else {}
    if groups.is_file():
        pinned["group_by"] = str(groups.resolve())
    return config.override(pinned)


def resumed_config(content: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> RunConfig:
    """Return the settings of the run, changed by what the command line says now.

    Raises:
        UserError: the change would make the position in the run meaningless, or names another model.
    """
    check_arch(content, given, path)
    saved = _with_its_warmup(RunConfig.from_dict(content["config"], source=str(path)), content["config"], given)
    check_own_code({name: content["config"].get(name) for name in SPECS}, given, path)
    usual = RunConfig().to_dict()
    config = pin_teaching(
        pin_data(saved.override({**given, "resume": None, **{name: given.get(name, usual[name]) for name in CALL_ONLY[1:]}}))
    )
    check_together(config)
    _check_place(saved.output, given, path)
    before, after = saved.to_dict(), config.to_dict()
    differing = [name for name in after if before[name] != after[name] and name not in CALL_ONLY]
    if content["progress"]["batch"]:
        for name in POSITION:
            if name in differing:
                raise UserError(f"--{name} cannot change inside an epoch ({before[name]} -> {after[name]}); resume without it")
    if "fold" in differing:
        raise UserError(
            f"--fold cannot change on resume ({before['fold']} -> {after['fold']}): another part is another run; leave --resume out"
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
    for name in PLACE:
        if name in given and given[name] != getattr(saved, name):
            raise UserError(f"--{name} {given[name]} has no effect: the run goes on in {path.parent}; leave it out")


def goes_on_in_place(path: Path) -> bool:
    """Whether a run goes on in the folder of this checkpoint: from anything but its last one, later epochs would be overwritten."""
    return path.name == LAST and is_run_folder(path.parent)
