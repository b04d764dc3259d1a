"""Options of the loss shelf."""

from dataclasses import dataclass

from utils.flags import flag


@dataclass(frozen=True)
class LossOptions:
    """What a wrong answer costs."""

    criterion: str = flag("softmax", "loss: softmax (cross entropy), or bce (one sigmoid problem a class)")
    label_smoothing: float = flag(0.0, "share of every target that is spread over all classes")
