"""Published tables counted again: Darknet and VoVNet of vision-toolbox without classifier, and nine classifiers of 6 classes.

    python -m benchmarks.zoo_tables

Nothing is computed: the networks have shapes and no numbers, so that all of them take seconds.
"""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models import build_model
from models.families.vovnet import EffectiveSqueezeExcite
from models.find_published import find_published
from utils.terminal_tables import print_table

SIZE = 224


@dataclass(frozen=True)
class PrintedRow:
    """A row of the published tables, as printed."""

    top1: str
    parameters: str
    flops: str


DARKNET = {
    "darknet19": PrintedRow("73.5", "19.82", "5.53"),
    "darknet53": PrintedRow("76.9", "40.58", "14.31"),
    "cspdarknet53": PrintedRow("77.5", "26.24", "9.44"),
    "darknet_yolov5n": PrintedRow("56.3", "0.88", "0.33"),
    "darknet_yolov5s": PrintedRow("67.3", "3.51", "1.23"),
    "darknet_yolov5m": PrintedRow("73.8", "10.69", "3.70"),
    "darknet_yolov5l": PrintedRow("76.9", "23.96", "8.31"),
    "darknet_yolov5x": PrintedRow("78.6", "45.18", "15.73"),
}
VOVNET = {
    "vovnet27_slim": PrintedRow("71.6", "3.01", "5.79"),
    "vovnet39": PrintedRow("78.2", "21.58", "15.61"),
    "vovnet57": PrintedRow("79.3", "35.62", "19.33"),
    "vovnet19_slim_ese": PrintedRow("70.8", "2.68", "4.85"),
    "vovnet19_ese": PrintedRow("75.4", "10.18", "9.70"),
    "vovnet39_ese": PrintedRow("78.1", "25.18", "15.62"),
    "vovnet57_ese": PrintedRow("79.2", "41.45", "19.35"),
    "vovnet99_ese": PrintedRow("80.7", "69.52", "34.51"),
}


# Millions of parameters and of operations at 224 x 224, for 6 classes.
CLASSIFIERS = {
    "resnet18": PrintedRow("", "11.18", "1820.16"),
    "resnet50": PrintedRow("", "23.52", "4109.68"),
    "shufflenet_v2_x1_0": PrintedRow("", "1.26", "148.00"),
    "shufflenet_v2_x2_0": PrintedRow("", "5.36", "588.43"),
    "mobilenet_v2": PrintedRow("", "2.23", "306.18"),
    "mobilenetv3_small": PrintedRow("", "1.52", "57.38"),
    "mobilenetv3_large": PrintedRow("", "4.21", "222.04"),
    "efficientnet_b0": PrintedRow("", "4.00", "405.31"),
    "efficientnet_b4": PrintedRow("", "18.04", "4600.46"),
}
# Their authors call these figures estimates; nothing says of what.
ESTIMATED = ("efficientnet_b0", "efficientnet_b4")
# In millions: the last printed digit.
ROUNDING = 0.01


@dataclass(frozen=True)
class Count:
    """Millions of parameters, and billions of operations of one image of 224 x 224, without classifier.

    Attributes:
        products: 2 x the multiply-adds of convolutions.
        flops: the published tables' count: fvcore's of a network in training mode, twice over. That is `products`, 10 for every
            output of a batch norm and 2 for every input of a gate's mean; activations, sums and max pools count as nothing.
    """

    parameters: float
    products: float
    flops: float


def count(arch: str) -> Count:
    """Count a network of the table by the shapes of its layers."""
    with torch.device("meta"):
        net = build_model(arch, num_classes=1).eval()
        image = torch.empty(1, 3, SIZE, SIZE)
    norms = means = 0

    def watch_norm(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        nonlocal norms
        norms += output.numel()

    def watch_gate(_module: nn.Module, inputs: tuple) -> None:
        nonlocal means
        means += inputs[0].numel()

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(watch_norm)
        elif isinstance(module, EffectiveSqueezeExcite):
            module.register_forward_pre_hook(watch_gate)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.forward_features(image)
    products = counter.get_total_flops()
    head = sum(each.numel() for each in net.get_classifier().parameters())
    parameters = sum(each.numel() for each in net.parameters()) - head
    return Count(parameters / 1e6, products / 1e9, (products + 10 * norms + 2 * means) / 1e9)


@dataclass(frozen=True)
class ClassifierCount:
    """Millions of parameters, and of operations of one image of 224 x 224.

    Attributes:
        operations: the multiply-adds of convolutions and matrix products, one an output of a batch norm or ReLU, and the window an
            output of a max pool; other activations count as nothing.
    """

    parameters: float
    operations: float


def count_classifier(arch: str) -> ClassifierCount:
    """Count a network of 6 classes by the shapes of its layers."""
    with torch.device("meta"):
        net = build_model(arch, num_classes=6).eval()
        image = torch.empty(1, 3, SIZE, SIZE)
    beside = 0

    def watch(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        nonlocal beside
        window = int(module.kernel_size) ** 2 if isinstance(module, nn.MaxPool2d) else 1  # pyright: ignore[reportArgumentType]
        beside += window * output.numel()

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.ReLU | nn.MaxPool2d):
            module.register_forward_hook(watch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(image)
    parameters = sum(each.numel() for each in net.parameters())
    return ClassifierCount(parameters / 1e6, (counter.get_total_flops() / 2 + beside) / 1e6)


def is_as_printed(found: ClassifierCount, printed: PrintedRow) -> bool:
    """Whether the parameters are the printed ones, and the operations up to their last digit."""
    near = abs(round(found.operations, 2) - float(printed.flops)) < 1.5 * ROUNDING
    return near and f"{found.parameters:.2f}" == printed.parameters


def print_classifiers() -> list[str]:
    """Print the table of classifiers; return the names whose figures are not the printed ones."""
    rows, wrong = [], []
    for arch, printed in CLASSIFIERS.items():
        found = count_classifier(arch)
        same = is_as_printed(found, printed)
        if not same and arch not in ESTIMATED:
            wrong.append(arch)
        said = f"{'estimated there' if arch in ESTIMATED else 'no'}: {printed.parameters}, {printed.flops}"
        rows.append([arch, f"{found.parameters:.2f}", f"{found.operations:.2f}", "yes" if same else said])
    print_table(("classifier", "M parameters", "M FLOPs", "as printed"), rows)
    print()
    return wrong


def main() -> int:
    """Print the tables; return 1 where a figure is not the printed one."""
    wrong = []
    for title, table in (("Darknet", DARKNET), ("VoVNet", VOVNET)):
        rows = []
        for arch, printed in table.items():
            counted, published = count(arch), find_published(arch)
            ours = PrintedRow(f"{published.top1:.1f}" if published else "", f"{counted.parameters:.2f}", f"{counted.flops:.2f}")
            if ours != printed:
                wrong.append(arch)
            same = "yes" if ours == printed else f"no: {printed}"
            rows.append([arch, ours.top1, ours.parameters, ours.flops, f"{counted.products:.2f}", same])
        print_table((title, "top-1", "M parameters", "G FLOPs", "of products", "as printed"), rows)
        print()
    wrong += print_classifiers()
    print("FLOPs of Darknet and VoVNet are 2 x the multiply-adds of convolutions, 10 an output of a batch norm and 2 an input of a gate's")
    print(
        "mean, at 224 x 224, without classifier. Top-1 is what the authors claim for their weights. FLOPs of classifiers are multiply-adds,"
    )
    print("one an output of a batch norm or ReLU, and the window an output of a max pool; their last digit may be one off.")
    print(f"not as printed: {', '.join(wrong)}" if wrong else "all figures are the printed ones")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
