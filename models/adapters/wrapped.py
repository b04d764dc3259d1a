"""Networks from elsewhere behind the contract of this shelf: the shared part, and the user's own modules."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.image_trial import answer_to_black
from models.modules import last_layer
from utils.errors import UserError

PREFIX = "net."


class Adapter(Backbone):
    """A network of another source, held as `net`; `forward` is the network's own."""

    def __init__(self, net: nn.Module, *, arch: str, num_classes: int) -> None:
        super().__init__()
        self.net = net
        self.arch = arch
        self.num_classes = checked_width(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def get_classifier(self) -> nn.Linear | nn.Conv2d:
        return self.net.get_submodule(self._classifier_name())  # pyright: ignore[reportReturnType]

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Try one black image of this (height, width), in evaluation mode.

        Raises:
            UserError: the network fails on it or does not give logits (1, num_classes).
        """
        logits = answer_to_black(self, image_size, name=self.arch)
        if not isinstance(logits, Tensor) or logits.shape != (1, self.num_classes):
            given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"{self.arch} gave {given} for one image; it must give logits of shape {(1, self.num_classes)}")

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the 'net.' of this adapter to the names of the network's own files."""
        if any(name.startswith(PREFIX) for name in state):
            return dict(state)
        return {PREFIX + name: tensor for name, tensor in state.items()}

    def _classifier_name(self) -> str:
        name = last_layer(self.net)
        if name is None:
            raise UserError(f"{self.arch} has no linear or convolution layer that could be its classifier")
        return name


class UserModel(Adapter):
    """A plain nn.Module of the user's: it trains and evaluates, but shows no maps."""

    def no_weight_decay(self) -> frozenset[str]:
        """What the module names by timm's custom: a method of this name."""
        named = getattr(self.net, "no_weight_decay", frozenset)()
        return frozenset(PREFIX + name for name in named)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        # No error here: torch.jit reads every property of a module that it traces.
        return []

    def forward_features(self, x: Tensor) -> list[Tensor]:
        del x
        return self._no_maps()

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        del maps, pre_logits
        return self._no_maps()

    def _no_maps(self) -> NoReturn:
        raise UserError(f"{self.arch} shows no feature maps; derive it from models.backbone.Backbone to give it some")


def build_user_model(
    make: Callable[..., Any], *, arch: str, num_classes: int, drop_rate: float | None, drop_path: float | None = None
) -> Backbone:
    """Call the user's class or function and put what it returns behind the contract.

    Raises:
        UserError: it does not take these arguments, or returns no nn.Module.
    """
    given: dict[str, Any] = {"num_classes": num_classes}
    if drop_rate is not None:
        given["drop_rate"] = drop_rate
    if drop_path is not None:
        given["drop_path"] = drop_path
    if not callable(make):
        raise UserError(f"model '{arch}' is not a class or function")
    try:
        net = make(**given)
    except TypeError as error:
        raise UserError(f"model '{arch}' cannot be called with {', '.join(given)}: {error}") from error
    if isinstance(net, Backbone):
        return net
    if not isinstance(net, nn.Module):
        raise UserError(f"model '{arch}' returned {type(net).__name__}, not a torch.nn.Module")
    return UserModel(net, arch=arch, num_classes=num_classes)


def set_classifier_dropout(net: nn.Module, rate: float, *, arch: str) -> None:
    """Set the dropout that stands beside the classifier.

    Raises:
        UserError: there is none.
    """
    name = last_layer(net) or ""
    parent = net.get_submodule(name.rpartition(".")[0])
    dropouts = [child for child in parent.children() if isinstance(child, nn.Dropout)]
    if not dropouts:
        raise UserError(f"{arch} has no dropout before its classifier; leave --drop_rate out")
    dropouts[-1].p = rate
