"""What --quantization_aware lays under the user's own flags: a short run at low rates, from the weights of a trained network."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from applications.settings.options import AUTO, RunConfig
from optim.usual import BY_GRADIENT, family_of
from utils.errors import UserError

LENGTH: Mapping[str, Any] = MappingProxyType({"epochs": 5})
# Of the usual rate of an optimizer: weights move by the steps they are rounded to, and not away from what they know.
SHARE = 0.1
# Of optimizers whose steps follow the size of the gradients.
RATE_BY_GRADIENT = 1e-3
# Norms of a network that rounds rest, and measure nothing.
OF_NORMS = ("bn_momentum", "bn_images")
# Of the run that is fine-tuned, not of the fine-tuning: its start, its length, its rates.
OF_THE_RUN_BEFORE = frozenset(
    {
        *("name", "recipe", "pretrained", "advprop", "init_from", "init", "probe_head", "prior_bias", "size_schedule"),
        *("epochs", "minutes", "hours", "schedule", "warmup", "warmup_lr", "cooldown", "swa", "soup", "patience"),
        *("max_minutes", "plain_epochs", "freeze", *OF_NORMS),
        *("lr", "head_lr", "lr_noise", "lr_ratios", "lr_steps"),
    }
)


def without_length(filed: Mapping[str, Any], typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a config file, such as that of the run to be fine-tuned, without what belongs to that run alone."""
    begins = typed.get("quantization_aware") and not filed.get("quantization_aware")
    return {name: value for name, value in filed.items() if name not in OF_THE_RUN_BEFORE} if begins else filed


def usual_when_rounding(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return length and rates, where neither the user nor a recipe has given any; the length of --minutes is that of its plan."""
    if not given.get("quantization_aware"):
        return {}
    usual = dict(LENGTH) if given.get("minutes") is None else {}
    family = family_of(str(given.get("opt", RunConfig().optim.opt)))
    rate = RATE_BY_GRADIENT if family == BY_GRADIENT else SHARE * family.lr
    return usual | {"lr": rate, "head_lr": given.get("lr", rate)}


def check_start(given: Mapping[str, Any]) -> None:
    """Raise UserError for a training with rounding that begins with nothing, or with a classifier that does not round."""
    if not given.get("quantization_aware"):
        return
    if not given.get("init_from") and given.get("resume") in (None, AUTO):
        raise UserError("--quantization_aware fine-tunes a network that is trained: add --init_from RUN/best.pt")
    if given.get("probe_head"):
        raise UserError("--probe_head fits a new classifier, --quantization_aware fine-tunes a whole network; do one after the other")
    usual = RunConfig().to_dict()
    for name in OF_NORMS:
        if given.get(name, usual[name]) != usual[name]:
            raise UserError(f"--{name} has no effect with --quantization_aware: batch norms rest while their network rounds; leave it out")
