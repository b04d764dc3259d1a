"""A fresh classifier begins at about even answers, however few its classes are."""

import math

from torch import nn

from models.backbone import Backbone

# Times the spread of PyTorch's own layers. Narrow and truncated normals stay below.
WIDEST = 2.0


def with_even_start(net: Backbone) -> Backbone:
    """Draw classifiers of foreign networks again, as PyTorch draws them, where they were drawn much wider.

    MNASNet, MobileNetV2 of timm and the EfficientNets draw by the number of classes, which fits 1,000: with two classes the first
    loss is up to 5.8 above that of guessing, and a short training goes into mending it.
    """
    for layer in net.classifiers():
        # On the meta device, where networks are built to be counted, nothing is drawn.
        if not layer.weight.is_meta and float(layer.weight.detach().std()) > WIDEST * usual_spread(layer):
            layer.reset_parameters()
    return net


def usual_spread(layer: nn.Linear | nn.Conv2d) -> float:
    """Return the standard deviation of the weights of a fresh layer of PyTorch's: uniform up to 1 / sqrt(inputs of an output)."""
    return 1 / math.sqrt(3 * layer.weight[0].numel())
