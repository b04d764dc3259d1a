"""What GHM costs: its time at batch 256 x 1000 classes as a share of a resnet18 training step at 224.

    python -m benchmarks.ghm_cost [--batch_size 256]

The step is measured on a smaller batch and scaled up, since its time grows with the batch; that of the loss is measured whole.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from criterions.weighted import build_criterion
from models import build_model
from utils.flags import add_flags, flag, make_parser
from utils.spec import Spec


@dataclass(frozen=True)
class GhmOptions:
    """Sizes."""

    batch_size: int = flag(256, "samples of a step")
    classes: int = flag(1000, "width of the classifier")
    step_samples: int = flag(16, "samples of the step that is measured")
    image_size: int = flag(224, "input height and width")


def median_seconds(call: Callable[[], object], *, repeats: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def loss_seconds(spec: list[Spec], options: GhmOptions) -> float:
    """Return the time of the loss and its gradient."""
    criterion = build_criterion(spec)
    logits = torch.randn(options.batch_size, options.classes, requires_grad=True)
    targets = nn.functional.one_hot(torch.randint(options.classes, (options.batch_size,)), options.classes).float()
    ones = torch.ones(options.batch_size)
    return median_seconds(lambda: criterion(logits, targets, ones).backward(), repeats=25)


def step_seconds(options: GhmOptions) -> float:
    """Return the time of forward, backward and update of resnet18 for a whole batch."""
    model = build_model("resnet18", num_classes=options.classes)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    images = torch.randn(options.step_samples, 3, options.image_size, options.image_size)
    labels = torch.randint(options.classes, (options.step_samples,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return median_seconds(step, repeats=3) * options.batch_size / options.step_samples


def main(argv: list[str]) -> int:
    """Print the times and their ratio."""
    purpose = "Measure what GHM adds to a training step."
    parser = make_parser("python -m benchmarks.ghm_cost", "python -m benchmarks.ghm_cost [FLAGS]", purpose)
    add_flags(parser, "sizes", GhmOptions)
    options = GhmOptions(**vars(parser.parse_args(argv)))
    torch.manual_seed(0)
    step = step_seconds(options)
    print(f"resnet18 step at {options.image_size}: {step * 1e3:.0f} ms for {options.batch_size} images")
    for loss in ("softmax", "bce"):
        plain, ghm = loss_seconds([Spec(loss)], options), loss_seconds([Spec(loss), Spec("ghm")], options)
        print(f"{loss:8} {plain * 1e3:6.2f} ms, with ghm {ghm * 1e3:6.2f} ms: GHM adds {(ghm - plain) / step:.3%} of a step")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
