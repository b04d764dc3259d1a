"""How long a run is: --epochs, or --minutes and --hours, which plan the epochs themselves."""

from collections.abc import Mapping
from typing import Any

from applications.settings.options import RunConfig
from utils.errors import UserError
from utils.spec import parse_specs


def in_minutes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a command line or of a config file with --hours as minutes.

    Raises:
        UserError: it gives the length twice.
    """
    if given.get("hours") is None:
        return dict(given)
    if given.get("minutes") is not None:
        raise UserError("--minutes and --hours both say how long to train; give one of them")
    if not given["hours"] > 0:
        raise UserError(f"--hours must be above 0, not {given['hours']}")
    return {**{name: value for name, value in given.items() if name != "hours"}, "minutes": 60 * given["hours"]}


def joined(filed: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a config file and of the command line, which outranks it, with one length of the run.

    The file of a run with --minutes has the epochs of its plan too; they are taken then, and nothing is planned again.

    Raises:
        UserError: the command line gives two lengths.
    """
    if typed.get("minutes") is not None and typed.get("epochs") is not None:
        raise UserError("--minutes plans the epochs by itself; leave --epochs out, or --minutes")
    given = {**filed, **typed}
    if given.get("minutes") is not None and "epochs" in given:
        del given["epochs" if typed.get("minutes") is not None else "minutes"]
    return given


def check_timed(config: RunConfig) -> None:
    """Raise UserError for settings that count epochs, or wait for validation, in a run with --minutes."""
    data, optim = config.data, config.optim
    if config.train.minutes is None:
        return
    if any(spec.name == "plateau" for spec in parse_specs(optim.schedule)):
        raise UserError("--schedule plateau falls when validation says so, not by the end of --minutes; leave one of them out")
    if any(spec.name in ("step", "multistep") or "t_max" in spec.kwargs for spec in parse_specs(optim.schedule)):
        raise UserError(f"--schedule '{optim.schedule}' counts epochs, whose number --minutes chooses; take cosine or linear")
    if optim.soup is not None:
        raise UserError("--soup measures averages after the last epoch, when the time of --minutes is over; leave one of them out")
    for name, given in (
        ("swa", optim.swa is not None),
        ("cooldown", optim.cooldown > 0),
        ("lr_steps", bool(optim.lr_steps)),
        ("mix_off_epochs", data.mix_off_epochs > 0),
        ("plain_epochs", bool(data.plain_epochs)),
    ):
        if given:
            raise UserError(f"--{name} counts epochs, whose number --minutes chooses and may change on the way; leave one of them out")
