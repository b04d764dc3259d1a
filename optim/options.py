"""Options of the optimizer shelf."""

from dataclasses import dataclass
from typing import Literal

from utils.flags import flag


@dataclass(frozen=True)
class OptimOptions:
    """How the weights change."""

    opt: str = flag("adamw", "optimizer, a name of --list optimizers, or 'lookahead(NAME)'")
    opt_args: str = flag("", "further arguments of the optimizer, such as 'betas=(0.9,0.95),eps=1e-6'", metavar="ARGS")
    lr: float = flag(1e-3, "peak learning rate")
    head_lr: float | None = flag(None, "peak learning rate of the classifier (default: --lr)", metavar="X")
    layer_decay: float | None = flag(None, "every block learns this factor slower than the one above it", metavar="FACTOR")
    freeze: tuple[str, ...] = flag((), "what does not learn: backbone, a number of blocks from the input, names like 'layer[12]', or none")
    momentum: float = flag(0.9, "momentum of sgd and its kin; first beta of the Adam family")
    weight_decay: float = flag(0.01, "weight decay; norms and biases get none", also=("--wd",))
    schedule: str = flag("cosine", "learning rate over the run: a name of --list schedules, or a spec such as 'cosine(cycles=3)'")
    warmup: float | None = flag(None, "warm-up epochs (default: 3, but at most a tenth of the run)", metavar="EPOCHS")
    warmup_lr: float | None = flag(None, "rate at which the warm-up starts (default: a first equal part of --lr)", metavar="X")
    cooldown: int = flag(0, "of --epochs, the last N stay at the rate that the schedule ends with", metavar="N")
    lr_noise: tuple[float, ...] = flag(
        (), "random factor for every epoch's rate, 1 +- LIMIT at most, from and until these shares of the run", metavar="LIMIT"
    )
    lr_ratios: tuple[float, ...] = flag((), "steps schedule: the factor of every stage (default: 0.1 1 0.1 0.01 0.001)")
    lr_steps: tuple[float, ...] = flag((), "steps schedule: the epoch at which every stage ends, one for each ratio")
    lr_range: tuple[float, float] = flag((1e-6, 10.0), "lowest and highest rate that --find_lr tries", metavar="LOW HIGH")
    clip_grad: float | None = flag(None, "clip the gradient to this limit", metavar="X")
    clip_mode: Literal["norm", "value", "agc"] = flag("norm", "what is limited: the norm, every value, or each unit's share of its weights")
    sam: float | None = flag(None, "sharpness-aware minimization with this radius (bare --sam: 0.05)", const=0.05, metavar="RADIUS")
    accumulate: int = flag(1, "batches whose gradients are summed for one step", metavar="N")
    ema: float | None = flag(
        None, "average the weights with this decay and evaluate the average (bare --ema: 0.999)", const=0.999, metavar="DECAY"
    )
    swa: float | None = flag(
        None,
        "average the weights of all epochs after this one, or after this share of the run (bare --swa: 0.75)",
        const=0.75,
        metavar="EPOCH|SHARE",
    )
    soup: int | None = flag(None, "mix the best N epochs at the end, greedily by validation (bare --soup: 5)", const=5, metavar="N")
    sparsity: bool = flag(False, "pull batch-norm gammas to zero, so that --prune finds channels to remove")
    slim: float = flag(5e-4, "strength of --sparsity: gammas move by this times the learning rate a step")
