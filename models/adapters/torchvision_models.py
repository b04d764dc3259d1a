"""Every classifier of torchvision.models behind the contract of this shelf, as torchvision/NAME."""

import re
from collections.abc import Mapping
from dataclasses import replace

import torchvision
from torch import Tensor, fx, nn
from torchvision.models import EfficientNet, get_model, get_model_weights
from torchvision.ops import StochasticDepth

from models.adapters.wrapped import Adapter, set_classifier_dropout
from models.backbone import FeatureInfo
from models.maps.graph_split import GraphSplit, find_cut, run_features, run_head, trace
from models.modules import evaluating
from models.published import Published
from utils.errors import UserError, nearest

# Position embeddings, class tokens, tables of relative positions and scales: what timm's networks of these names leave undecayed.
UNDECAYED = ("*class_token", "*pos_embedding", "*relative_position_bias_table", "*cpb_mlp*", "*logit_scale", "*layer_scale")
# These come with auxiliary classifiers, and their weights expect images in [-1, 1].
INCEPTIONS = ("googlenet", "inception_v3")
PROBE_SIZE = 224
# Of torchvision's weights, and of those that it has from SWAG, which it says of them.
LICENSE, SWAG_LICENSE = "BSD-3-Clause", "CC-BY-NC-4.0"


class TorchvisionModel(Adapter):
    """A network of torchvision, cut where its head begins.

    The transformers of torchvision that take one image size (vit_*, maxvit_t) keep that limit: 224 x 224.
    Where a class token makes the logits (vit_*), they do not depend on the last map itself.
    The cut is found at the first call that needs it; training uses the network as it is.
    """

    def __init__(self, net: nn.Module, *, arch: str, num_classes: int) -> None:
        super().__init__(net, arch=arch, num_classes=num_classes)
        self._split: GraphSplit | None = None
        self._kept: int | None = None
        # One graph a mode: tracing writes the mode of dropout into it.
        self._graphs: dict[bool, fx.Graph] = {}

    def _cuts(self) -> GraphSplit:
        if self._split is None:
            with evaluating(self.net):
                graph = trace(self.net, wrap=(torchvision.ops,))
            self._split = find_cut(self.net, graph, classifier=self._classifier_name(), size=PROBE_SIZE)
        if self._split is None:
            raise UserError(f"{self.arch} has no feature maps")
        return self._split

    def _graph(self) -> fx.Graph:
        if self.net.training not in self._graphs:
            self._graphs[self.net.training] = trace(self.net, wrap=(torchvision.ops,))
        return self._graphs[self.net.training]

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(cut.channels, cut.stride) for cut in self._cuts().cuts]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        whole = self._cuts()
        return run_features(self.net, self._graph(), replace(whole, cuts=whole.cuts[: self._kept]), x=x)

    def keep_maps(self, count: int | None) -> None:
        self._kept = count

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        return run_head(self.net, self._graph(), self._cuts(), maps=maps, pre_logits=pre_logits)

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset(UNDECAYED)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add this adapter's prefix, and bring names of old files up to date."""
        return super().remap({_present_name(name): tensor for name, tensor in state.items()})


def _present_name(name: str) -> str:
    """Names in torchvision's older files of DenseNet and ViT -> the names of today."""
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
    return name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.")


def list_names() -> list[str]:
    """Names of torchvision's image classifiers."""
    return torchvision.models.list_models(module=torchvision.models)


def build(name: str, *, num_classes: int, drop_rate: float | None, drop_path: float | None = None) -> TorchvisionModel:
    """Build torchvision/NAME with fresh weights.

    Raises:
        UserError: torchvision has no such classifier, or it has no dropout or no branches to set.
    """
    _check(name)
    # Auxiliary classifiers off: one tensor comes out.
    extra = {"aux_logits": False, "init_weights": True} if name in INCEPTIONS else {}
    net = get_model(name, weights=None, num_classes=num_classes, **extra)
    if drop_rate is not None:
        set_classifier_dropout(net, drop_rate, arch=f"torchvision/{name}")
    if drop_path is not None:
        _set_drop_path(net, drop_path, arch=f"torchvision/{name}")
    return TorchvisionModel(net, arch=f"torchvision/{name}", num_classes=num_classes)


def _set_drop_path(net: nn.Module, rate: float, *, arch: str) -> None:
    """Give every branch its part of `rate`: the last one all of it, but in EfficientNet one part less, as its authors count."""
    branches = [module for module in net.modules() if isinstance(module, StochasticDepth)]
    largest = max((branch.p for branch in branches), default=0.0)
    if not largest:
        if rate:
            raise UserError(f"--drop_path {rate:g}: {arch} has no residual branches that torchvision could skip; leave it out")
        return
    published = largest
    if isinstance(net, EfficientNet):
        rates = sorted({branch.p for branch in branches})
        published = largest + rates[1] - rates[0]
    for branch in branches:
        branch.p *= rate / published


def find_published(name: str) -> Published | None:
    """The weights that torchvision itself takes by default, or None."""
    _check(name)
    weights = list(get_model_weights(name))
    if not weights:
        return None
    best = get_model_weights(name).DEFAULT  # pyright: ignore[reportAttributeAccessIssue]
    numbers = best.transforms()
    side = numbers.crop_size[0]
    if name in INCEPTIONS:
        mean = std = (0.5, 0.5, 0.5)
    else:
        mean, std = tuple(numbers.mean), tuple(numbers.std)
    top1 = best.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    license = SWAG_LICENSE if "SWAG" in best.meta.get("license", "") else LICENSE
    return Published(best.url, mean=mean, std=std, size=(side, side), interpolation=numbers.interpolation.value, license=license, top1=top1)


def _check(name: str) -> None:
    if name not in list_names():
        raise UserError(f"torchvision has no classifier '{name}'.{nearest(name, list_names())} See --list models 'torchvision/*'")
