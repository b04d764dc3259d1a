"""--tta: the mean answer over several views of each image (Krizhevsky, Sutskever, Hinton 2012, section 4.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from applications.trained.views import View
from models.backbone import Backbone, Network


class AveragedViews(nn.Module):
    """A network whose probabilities are the mean over views; logits (N, C) that give that mean.

    Args:
        network: normalized images (N, 3, H, W) -> logits (N, C).
        views: ways to look at an image.
        activation: 'softmax' or 'sigmoid'.

    Raises:
        UserError: the network does not take a size.
    """

    def __init__(self, network: nn.Module, views: Sequence[View], activation: str) -> None:
        super().__init__()
        assert isinstance(network, Backbone)
        for size in {view.size for view in views}:
            network.check_size(size)
        self.network = network
        self.views = tuple(views)
        self.softmax = activation == "softmax"

    def forward(self, images: Tensor) -> Tensor:
        answers = torch.stack([self.network(view.of(images)).float() for view in self.views])
        count = torch.tensor(float(len(self.views)), device=images.device)
        if self.softmax:
            return answers.log_softmax(2).logsumexp(0) - count.log()
        # The logit of a mean: log p - log(1 - p), both as sums over the views.
        return F.logsigmoid(answers).logsumexp(0) - F.logsigmoid(-answers).logsumexp(0)


class AveragedMasks(nn.Module):
    """A segmenter whose probabilities are the mean over views, each turned back; logits (N, C, H, W) that give that mean.

    Args:
        network: normalized images (N, 3, H, W) -> logits (N, C, H, W).
        views: ways to look at an image.
        activation: 'softmax' or 'sigmoid'.

    Raises:
        UserError: the network does not take a size.
    """

    def __init__(self, network: nn.Module, views: Sequence[View], activation: str) -> None:
        super().__init__()
        assert isinstance(network, Network)
        for size in {view.size for view in views}:
            network.check_size(size)
        self.network = network
        self.views = tuple(views)
        self.softmax = activation == "softmax"

    def forward(self, images: Tensor) -> Tensor:
        size = (images.shape[2], images.shape[3])
        total: Tensor | None = None
        for view in self.views:
            logits = self.network(view.of(images)).float()
            logits = logits.flip(view.flips) if view.flips else logits
            if (logits.shape[2], logits.shape[3]) != size:
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            probabilities = logits.softmax(1) if self.softmax else logits.sigmoid()
            total = probabilities if total is None else total + probabilities
        assert total is not None
        mean = total / len(self.views)
        least = torch.finfo(mean.dtype).tiny
        return mean.clamp(min=least).log() if self.softmax else mean.clamp(1e-7, 1 - 1e-7).logit()
