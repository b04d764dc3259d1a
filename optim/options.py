"""Options of the optimizer shelf."""

from dataclasses import dataclass

from utils.flags import flag


@dataclass(frozen=True)
class OptimOptions:
    """How the weights change."""

    opt: str = flag("adamw", "optimizer: sgd, adam, adamw or radam")
    lr: float = flag(1e-3, "peak learning rate")
    momentum: float = flag(0.9, "momentum of sgd; first beta of the Adam family")
    weight_decay: float = flag(0.01, "weight decay; norms and biases get none", also=("--wd",))
    schedule: str = flag("cosine", "learning rate over the run: cosine, or steps by epoch")
    warmup: float = flag(3.0, "warm-up epochs", metavar="EPOCHS")
    lr_ratios: tuple[float, ...] = flag((), "steps schedule: the factor of every stage (default: 0.1 1 0.1 0.01 0.001)")
    lr_steps: tuple[float, ...] = flag((), "steps schedule: the epoch at which every stage ends, one for each ratio")
    clip_grad: float | None = flag(None, "clip the gradient to this norm")
    accumulate: int = flag(1, "batches whose gradients are summed for one step", metavar="N")
    ema: float | None = flag(
        None, "average the weights with this decay and evaluate the average (bare --ema: 0.999)", const=0.999, metavar="DECAY"
    )
