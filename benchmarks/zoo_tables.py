"""The two tables of vision-toolbox, Darknet and VoVNet, counted again: parameters and FLOPs of every network, without classifier.

    python -m benchmarks.zoo_tables

Nothing is computed: the networks have shapes and no numbers, so that all sixteen take seconds.
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


def main() -> int:
    """Print both tables; return 1 where a figure is not the printed one."""
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
    print("FLOPs are 2 x the multiply-adds of convolutions, 10 an output of a batch norm and 2 an input of a gate's mean, at 224 x 224,")
    print("without classifier. Top-1 is what the authors claim for their weights.")
    print(f"not as printed: {', '.join(wrong)}" if wrong else "all figures are the printed ones")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
