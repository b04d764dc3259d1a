"""Another optimizer than the one whose rates a config file holds."""

from collections.abc import Collection, Mapping
from typing import Any

from optim.usual import same_decay, same_rates

# Rates, which are those of an optimizer.
RATES_OF_OPT = ("lr", "head_lr", "warmup_lr")


def rates_of_another(settings: Mapping[str, Any], opt: str | None, *, kept: Collection[str] = ()) -> dict[str, Any]:
    """Return the rates and the weight decay among settings, such as those of a run, that mean something else to the optimizer `opt`.

    Args:
        settings: those of a config file; where they name no optimizer, nobody knows whose rates theirs are, and all stay.
        opt: the one that takes its place; None for no other.
        kept: names of settings that are meant for it.

    Raises:
        UserError: there is no such optimizer.
    """
    own = settings.get("opt")
    if own is None or opt is None:
        return {}
    other = [*(() if same_rates(opt, own) else RATES_OF_OPT), *(() if same_decay(opt, own) else ["weight_decay"])]
    return {name: settings[name] for name in other if settings.get(name) is not None and name not in kept}
