"""Options of optimizer and schedule."""

from dataclasses import dataclass
from typing import Literal

from utils.flags import flag


@dataclass(frozen=True)
class OptimOptions:
    """How the weights change."""

    opt: str = flag("adamw", "optimizer, a name of --list optimizers, or 'lookahead(NAME)'", used_for="training print_schedule", spec=True)
    opt_args: str = flag("", "further arguments of the optimizer, such as 'betas=(0.9,0.95),eps=1e-6'", metavar="ARGS", used_for="training")
    lr: float = flag(
        1e-3,
        "peak learning rate (sgd has 0.05, lion 0.0003; trained weights 0.3 times as much; detectors from nothing 0.003, with sgd 0.01)",
        used_for="training print_schedule",
        above=0,
    )
    head_lr: float | None = flag(None, "peak learning rate of the classifier (default: --lr)", metavar="X", used_for="training")
    layer_decay: float | None = flag(
        None, "layer-wise rate decay: each block's rate is this factor times that of the next block", metavar="FACTOR", used_for="training"
    )
    freeze: tuple[str, ...] = flag(
        (), "what does not learn: backbone, a number of blocks from the input, names like 'layer[12]', or none", used_for="training"
    )
    momentum: float = flag(0.9, "momentum of sgd and other momentum methods; first beta of the Adam family", used_for="training")
    weight_decay: float = flag(
        0.01, "weight decay (0.0005 with sgd); norms and biases get none", also=("--wd",), used_for="training", least=0
    )
    schedule: str = flag(
        "cosine",
        "learning rate over the run: a name of --list schedules, or a spec such as 'cosine(cycles=3)'",
        used_for="train print_schedule",
        spec=True,
        resumed="plan",
    )
    warmup: float | None = flag(
        None,
        "warm-up epochs (default: 3, but at most a tenth of the run)",
        metavar="EPOCHS",
        used_for="train print_schedule",
        least=0,
        resumed="plan",
    )
    warmup_lr: float | None = flag(
        None,
        "rate at which the warm-up starts (default: --lr / (warm-up steps + 1))",
        metavar="X",
        used_for="train print_schedule",
        least=0,
    )
    cooldown: int = flag(
        0, "of --epochs, the last N stay at the rate that the schedule ends with", metavar="N", used_for="train print_schedule", least=0
    )
    lr_noise: tuple[float, ...] = flag(
        (),
        "random factor for every epoch's rate, 1 +- LIMIT at most, from and until these shares of the run",
        metavar="LIMIT",
        used_for="train print_schedule",
    )
    lr_ratios: tuple[float, ...] = flag(
        (), "steps schedule: the factor of every stage (default: 0.1 1 0.1 0.01 0.001)", used_for="train print_schedule"
    )
    lr_steps: tuple[float, ...] = flag(
        (), "steps schedule: the epoch at which every stage ends, one for each ratio", used_for="train print_schedule"
    )
    lr_range: tuple[float, float] = flag(
        (1e-6, 10.0), "lowest and highest rate that --find_lr tries", metavar="LOW HIGH", used_for="find_lr"
    )
    clip_grad: float | None = flag(None, "clip the gradient to this limit", metavar="X", used_for="training", above=0)
    clip_mode: Literal["norm", "value", "agc"] = flag(
        "norm", "how gradients are clipped: by total norm, by value, or adaptively per unit (agc)", used_for="training"
    )
    sam: float | None = flag(
        None, "sharpness-aware minimization with this radius (bare --sam: 0.05)", const=0.05, metavar="RADIUS", used_for="train"
    )
    accumulate: int = flag(
        1, "batches whose gradients are summed for one step", metavar="N", used_for="train", above=0, resumed="position plan"
    )
    ema: float | None = flag(
        None,
        "average the weights with this decay and evaluate the average (bare --ema: 0.999)",
        const=0.999,
        metavar="DECAY",
        used_for="train",
    )
    swa: float | None = flag(
        None,
        "average the weights of all epochs after this one, or after this share of the run (bare --swa: 0.75)",
        const=0.75,
        metavar="EPOCH|SHARE",
        used_for="train print_schedule",
    )
    soup: int | None = flag(
        None, "mix the best N epochs at the end, greedily by validation (bare --soup: 5)", const=5, metavar="N", used_for="train", above=0
    )
    sparsity: bool = flag(False, "pull batch-norm gammas to zero, so that --prune finds channels to remove", used_for="training")
    slim: float = flag(5e-4, "strength of --sparsity: gammas move by this times the learning rate per step", used_for="training")
