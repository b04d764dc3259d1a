"""The contracts of every network, and of those that show maps."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from models.modules import replace_module, widened
from utils.errors import UserError


@dataclass(frozen=True)
class FeatureInfo:
    """One map of `forward_features`: its channels, and how many input pixels one of its pixels spans."""

    channels: int
    stride: int


class Pretrainable(nn.Module, ABC):
    """A network, or what is built on one, that may start from published weights.

    Input: float (N, 3, H, W), normalized; any H and W unless the subclass says otherwise.
    """

    @abstractmethod
    def published_part(self, arch: str) -> "tuple[Network, str]":
        """Return the part for which weights are published, and the name of them, where `arch` names the whole."""

    @abstractmethod
    def check_size(self, image_size: tuple[int, int]) -> None:
        """Return when the network takes images of this (height, width).

        Raises:
            UserError: it does not.
        """


class Network(Pretrainable):
    """What training knows of every network of this shelf: its classes, and which part of it is new to them."""

    num_classes: int
    # Whether its classifiers begin at probabilities of their own, whatever the data.
    has_own_prior: ClassVar[bool] = False

    @abstractmethod
    def get_classifier(self) -> nn.Linear | nn.Conv2d:
        """The last layer with weights, whose outputs are the logits."""

    def classifiers(self) -> "list[nn.Linear | nn.Conv2d]":
        """Return every layer whose outputs are logits, or a summand of them."""
        return [self.get_classifier()]

    @abstractmethod
    def get_head(self) -> nn.Module:
        """All that is trained for a task alone; the rest may start from published weights, learn more slowly, or be frozen."""

    def no_weight_decay(self) -> frozenset[str]:
        """Return shell patterns of names of parameters that do not decay, beside norms and what has one dimension."""
        return frozenset()

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of a foreign layout to this network's names; others pass unchanged.

        Raises:
            UserError: the weights belong to a network that computes something else.
        """
        return dict(state)

    def filled_by(self, state: Any) -> "Network":
        """Return the part that the tensors of a file fill: all of it, or its encoder where it has one and the file holds no more."""
        del state
        return self


class Backbone(Network):
    """An image classifier that also shows its maps.

    `forward(x)` is `forward_head(forward_features(x))`: logits (N, num_classes).
    """

    @property
    @abstractmethod
    def feature_info(self) -> list[FeatureInfo]:
        """What `forward_features` gives, in its order."""

    @abstractmethod
    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Maps (N, C, h, w), the largest first; the last one is where the head begins."""

    def keep_maps(self, count: int | None) -> None:
        """Say that the maps after the first `count` are not needed, and need not be computed; None for all. The head is not run then."""
        del count

    @abstractmethod
    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        """Logits (N, num_classes) from the maps, or the vector (N, C) before the classifier."""

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        """Draw the first weights of a classifier; PyTorch's own, which the layer has already, unless a network says otherwise."""
        del layer

    def reset_classifier(self, num_classes: int) -> None:
        """Put a fresh classifier of another width in place of the present one."""
        old = self.get_classifier()
        fresh = widened(old, checked_width(num_classes))
        self.init_classifier(fresh)
        replace_module(self, next(name for name, module in self.named_modules() if module is old), fresh)
        self.num_classes = num_classes

    def get_head(self) -> nn.Module:
        return self.get_classifier()

    def published_part(self, arch: str) -> "tuple[Backbone, str]":
        return self, arch

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Return when the network takes images of this (height, width); the networks of this tree take any."""
        del image_size

    def set_drop_path(self, rate: float) -> None:
        """Skip residual branches in training (arXiv 1603.09382), the last one with about this probability, earlier ones less.

        Raises:
            UserError: the network has no branch that could be skipped.
        """
        raise UserError(f"--drop_path {rate:g}: {type(self).__name__} has no residual branch to skip; leave it out")

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def checked_width(num_classes: int) -> int:
    """Return `num_classes`, which must be at least 1."""
    assert num_classes >= 1, "a classifier needs at least one class"
    return num_classes
