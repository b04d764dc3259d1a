"""Every classifier of timm behind the contract of this shelf, as timm/NAME; timm is optional."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from models.adapters.wrapped import PREFIX, Adapter
from models.backbone import FeatureInfo, checked_width
from models.maps.layout import FeatureMaps, Layout, own_tensor, stride_of, with_last
from models.modules import evaluating
from models.published import Published
from utils.errors import UserError, nearest
from utils.networks.first_conv import input_channels


class TimmModel(Adapter):
    """A network of timm. The last map is what timm's own head takes in; earlier ones are its stages.

    Vision transformers take any size that is a multiple of their patch where timm allows it; other
    networks made for one size keep it. Where a class token alone makes the logits, they do not depend
    on the last map itself.
    """

    def __init__(self, net: Any, *, arch: str, num_classes: int) -> None:
        super().__init__(net, arch=arch, num_classes=num_classes)
        self._info: list[FeatureInfo] = []
        # Which of timm's stages are maps, as measured with `feature_info`: a dilated network has stages of equal size.
        self._stages: list[int] | None = None

    @property
    def feature_info(self) -> list[FeatureInfo]:
        if not self._info:
            net: Any = self.net
            weight = next(net.parameters())
            size = net.pretrained_cfg["input_size"]
            with evaluating(net), torch.no_grad():
                image = torch.zeros(1, input_channels(net), *size[1:], device=weight.device, dtype=weight.dtype)
                maps, self._stages = self.forward_features(image), larger_stages(image, net.forward_intermediates(image)[1])
            self._info = [FeatureInfo(each.shape[1], stride_of(size[1], each.shape[2])) for each in maps]
        return self._info

    def forward_features(self, x: Tensor) -> list[Tensor]:
        net: Any = self.net
        try:
            features, stages = net.forward_intermediates(x)
        except (AttributeError, NotImplementedError) as error:
            raise UserError(f"{self.arch} has no feature maps that timm could show") from error
        positions = larger_stages(x, stages) if self._stages is None else self._stages
        return _maps(features, stages, positions, arch=self.arch)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        net: Any = self.net
        features = own_tensor(maps)
        return net.forward_head(features, pre_logits=True) if pre_logits else net.forward_head(features)

    def reset_classifier(self, num_classes: int) -> None:
        net: Any = self.net
        net.reset_classifier(checked_width(num_classes))
        self.num_classes = num_classes

    def no_weight_decay(self) -> frozenset[str]:
        """What timm names: position embeddings, class tokens, tables of relative positions. Not every network of timm's does."""
        named = getattr(self.net, "no_weight_decay", frozenset)()
        return frozenset(PREFIX + name for name in named)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add this adapter's prefix; names of an original release go through timm's own translation."""
        if any(name.startswith(PREFIX) for name in state):
            return dict(state)
        if set(state) != set(self.net.state_dict()):
            translate = vars(importlib.import_module(type(self.net).__module__)).get("checkpoint_filter_fn")
            if translate is not None:
                state = translate(dict(state), self.net)
        return super().remap(state)


def larger_stages(x: Tensor, stages: list[Tensor]) -> list[int]:
    """Return the positions of one stage for each size between those of the image and of the last stage; the maps begin at stride 2."""
    width, last = x.shape[-1], stages[-1].shape[-1]
    return list({stage.shape[-2:]: position for position, stage in enumerate(stages) if last < stage.shape[-1] < width}.values())


def _maps(features: Any, stages: list[Tensor], positions: list[int], *, arch: str) -> FeatureMaps:
    """The stages at these positions, and `features`, whatever its layout."""
    h, w = stages[-1].shape[-2:]
    shape = features.shape if isinstance(features, Tensor) else torch.Size()
    if len(shape) == 4 and shape[2:] == (h, w):
        layout = Layout("NCHW")
    elif len(shape) == 4 and shape[1:3] == (h, w):
        layout = Layout("NHWC")
    elif len(shape) == 3 and shape[1] >= h * w:
        layout = Layout("NLC", shape[1] - h * w)
    else:
        raise UserError(f"{arch} has no feature maps: what enters its head is not a grid of pixels")
    return with_last([stages[position] for position in positions], features, layout=layout, grid=(h, w))


def list_names() -> list[str]:
    """Names of timm's image classifiers."""
    return _timm().list_models()


def build(name: str, *, num_classes: int, drop_rate: float | None, drop_path: float | None = None) -> TimmModel:
    """Build timm/NAME with fresh weights.

    Raises:
        UserError: timm is not installed or has no such model, or it has no branches that `drop_path` could skip.
    """
    timm = _timm()
    _check(name)
    given: dict[str, Any] = {"num_classes": num_classes}
    if drop_rate is not None:
        given["drop_rate"] = drop_rate
    if drop_path is not None:
        given["drop_path_rate"] = drop_path
    try:
        # Vision transformers take other image sizes with this; the rest do not know the word.
        net: nn.Module = timm.create_model(name, dynamic_img_size=True, **given)
    except TypeError:
        try:
            net = timm.create_model(name, **given)
        except TypeError as error:
            if drop_path is None:
                raise
            raise _no_branches(name, drop_path) from error
    if drop_path and not any(isinstance(module, timm.layers.DropPath) for module in net.modules()):
        raise _no_branches(name, drop_path)
    return TimmModel(net, arch=f"timm/{name}", num_classes=num_classes)


def _no_branches(name: str, rate: float) -> UserError:
    return UserError(f"--drop_path {rate:g}: timm/{name} has no residual branches that timm could skip; leave it out")


def find_published(name: str) -> Published | None:
    """The weights that timm itself takes for NAME (NAME.TAG for others than its default), or None."""
    timm = _timm()
    _check(name)
    found = timm.get_pretrained_cfg(name)
    if found is None:
        return None
    if (found.hf_hub_id or "").startswith("timm/"):
        url = f"https://huggingface.co/{found.hf_hub_id}/resolve/main/model.safetensors"
    elif found.url and not found.custom_load:
        url = found.url
    else:
        return None
    size, license = tuple(found.input_size[1:]), found.license or ""
    return Published(url, mean=found.mean, std=found.std, size=size, interpolation=found.interpolation, license=license)


def _check(name: str) -> None:
    timm = _timm()
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise UserError(f"timm has no model '{base}'.{nearest(base, timm.list_models())} See --list models 'timm/*'")
    if tag and name not in timm.list_pretrained(f"{base}.*"):
        raise UserError(f"timm has no weights '{name}'.{nearest(name, timm.list_pretrained(f'{base}.*'))}")


def _timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise UserError("timm is not installed; the names timm/... need it: pip install timm") from error
