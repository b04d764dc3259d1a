"""Networks that look at several views of an image (--tta): the mean answer (Krizhevsky et al. 2012, section 4.1), or all boxes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from applications.trained.checkpoint import Trained
from applications.trained.views import View, parse_views
from models.backbone import Network
from utils.logs import log


class OfViews(nn.Module):
    """A network that is asked at several views of an image.

    Args:
        network: takes normalized images (N, 3, H, W).
        views: ways to look at an image.

    Raises:
        UserError: the network does not take a size.
    """

    def __init__(self, network: nn.Module, views: Sequence[View]) -> None:
        super().__init__()
        assert isinstance(network, Network)
        for size in {view.size for view in views}:
            network.check_size(size)
        self.network = network
        self.views = tuple(views)


class AveragedProbabilities(OfViews):
    """A network whose probabilities are the mean over views.

    Args:
        network: normalized images (N, 3, H, W) -> logits.
        views: ways to look at an image.
        activation: 'softmax' or 'sigmoid'.

    Raises:
        UserError: the network does not take a size.
    """

    def __init__(self, network: nn.Module, views: Sequence[View], activation: str) -> None:
        super().__init__(network, views)
        self.softmax = activation == "softmax"


class AveragedLabels(AveragedProbabilities):
    """Of a classifier: logits (N, C) that give that mean."""

    def forward(self, images: Tensor) -> Tensor:
        answers = torch.stack([self.network(view.of(images)).float() for view in self.views])
        count = torch.tensor(float(len(self.views)), device=images.device)
        if self.softmax:
            return answers.log_softmax(2).logsumexp(0) - count.log()
        # The logit of a mean: log p - log(1 - p), both as sums over the views.
        return F.logsigmoid(answers).logsumexp(0) - F.logsigmoid(-answers).logsumexp(0)


class AveragedMasks(AveragedProbabilities):
    """Of a segmenter, each view turned back: logits (N, C, H, W) that give that mean."""

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


class JoinedBoxes(OfViews):
    """A detector that looks at several views of an image: what it says of all of them, in the plane of the first.

    Args:
        network: normalized images (N, 3, H, W) -> corners, objectness and probabilities (N, A, 5 + C).
        views: ways to look at an image.

    Raises:
        UserError: the network does not take a size.
    """

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        said = []
        for view in self.views:
            answer = self.network(view.of(images)).float()
            corners = answer[..., :4] * answer.new_tensor([width / view.size[1], height / view.size[0]] * 2)
            left, top, right, bottom = corners.unbind(-1)
            if -1 in view.flips:
                left, right = width - right, width - left
            if -2 in view.flips:
                top, bottom = height - bottom, height - top
            said.append(torch.cat([torch.stack([left, top, right, bottom], -1), answer[..., 4:]], -1))
        return torch.cat(said, 1)


def with_views(trained: Trained) -> Trained:
    """Return a detector as it looks at images: once, or at the views of --tta."""
    views = trained.config.evaluation.tta
    if not views:
        return trained
    network = JoinedBoxes(trained.model, parse_views(views, trained.preprocess.image_size))
    log().info(f"views     {len(network.views)} an image: {views}")
    return replace(trained, model=network.eval())
