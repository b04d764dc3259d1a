"""The rate and the weight decay that an optimizer is usually run with: those of one are not those of another."""

from collections.abc import Sequence
from dataclasses import dataclass

from optim.optimizer_name import innermost
from utils.registry import is_user_code


@dataclass(frozen=True)
class Family:
    """Optimizers for which a learning rate means about the same.

    Attributes:
        names: rows of OPTIMIZERS.
        lr: their usual peak rate at batches of 32.
        weight_decay: their usual weight decay.
    """

    names: Sequence[str]
    lr: float = 1e-3
    weight_decay: float = 0.01


# Steps as long as the gradient makes them.
BY_GRADIENT = Family(("sgd", "momentum", "sgdp"), 0.05, 5e-4)
# All that no other family names: steps of about the rate, whatever the gradient.
BY_RATE = Family(())
FAMILIES = (
    BY_GRADIENT,
    Family(("lars", "nlars"), 1.0, 5e-4),
    Family(("larc", "nlarc"), 0.1, 5e-4),
    Family(("lamb", "lambc", "ralamb", "rangerlars"), 0.01),
    Family(("adadelta",), 1.0, 5e-4),
    Family(("adagrad",), 0.01, 5e-4),
    Family(("novograd",), 0.01, 5e-4),
    Family(("adafactor",), 0.01),
    Family(("adahessian",), 0.05),
    Family(("rmsprop",), 1e-4),
    Family(("lion",), 3e-4),
)
# Of BY_RATE: weight decay is a part of the gradient, and divided with it by its size.
DECAY_IN_GRADIENT = ("adam", "adamax", "rmsproptf")


def family_of(opt: str) -> Family:
    """Return the family of what --opt names; code of the user's own is one by itself, with the usual numbers.

    Raises:
        UserError: there is no such optimizer.
    """
    name = innermost(opt)
    if is_user_code(name):
        return Family((name,))
    return next((family for family in FAMILIES if name in family.names), BY_RATE)


def same_rates(one: str, other: str) -> bool:
    """Whether a learning rate means about the same to two optimizers that --opt names."""
    return family_of(one) == family_of(other)


def same_decay(one: str, other: str) -> bool:
    """Whether --weight_decay means about the same to two optimizers that --opt names."""
    return same_rates(one, other) and (innermost(one) in DECAY_IN_GRADIENT) == (innermost(other) in DECAY_IN_GRADIENT)
