"""A classifier that reads the maps of several stages of a network, not the last one alone.

The last stage of a network keeps what its own classes need; what earlier ones see of edges, textures and parts helps to tell other
classes apart, above all while the network is frozen (Evci et al., "Head2Toe", arXiv 2201.03529). What a surface is made of shows in how
the channels of fine maps vary together, wherever in the image it lies (Lin et al., "Bilinear CNN Models", arXiv 1504.07889).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, Network, checked_width
from models.image_trial import answer_to_black
from models.layers.channel_correlations import ChannelCorrelations
from models.modules import replace_module
from utils.errors import UserError

# Beginning of the names of the network's own tensors.
BACKBONE = "backbone."
# Means of maps with smaller strides show what every image has.
LEAST_STRIDE = 8
# Maps of which it is read how their channels correlate: finer ones are nearly pixels, coarser ones have too few places.
TEXTURE_STRIDES = range(4, 17)


class StagedClassifier(Backbone):
    """Images (N, 3, H, W) -> logits (N, C), linear in what several maps show.

    These are the means of the maps of stride 8 and more, deviations and correlations of the channels of those of stride 4 to 16, and what
    the network's own classifier read.

    Args:
        backbone: whose own classifier is taken off.
        arch: what the user calls the whole.
        num_classes: width of the new classifier.
        drop_rate: dropout of what it reads.

    Raises:
        UserError: the network has a single stage, or no classifier that could be taken off.
    """

    def __init__(self, backbone: Backbone, *, arch: str, num_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = checked_width(num_classes)
        own = backbone.classifiers()
        if len(own) > 1:
            raise UserError(f"{arch}: the network answers by several classifiers, and none of them can be replaced alone")
        info = backbone.feature_info
        self.positions = [place for place, each in enumerate(info[:-1]) if each.stride >= LEAST_STRIDE]
        if not self.positions:
            raise UserError(f"{arch}: the network shows no maps of several stages; take it without 'stages', or another such as resnet18")
        last = own[0].weight.shape[1]
        name = next(name for name, module in backbone.named_modules() if module is own[0])
        replace_module(backbone, name, nn.Identity())
        self.backbone = backbone
        self.textures = [place for place, each in enumerate(info[:-1]) if each.stride in TEXTURE_STRIDES]
        correlations = [ChannelCorrelations(info[place].channels) for place in self.textures]
        self.correlations = nn.ModuleList(correlations)
        self.dropout = nn.Dropout(drop_rate)
        means = [info[place].channels for place in self.positions]
        # How many features of each kind the classifier reads, in this order: each kind has a scale of its own.
        self.kinds = [*means, *(width for each in correlations for width in each.kinds), last]
        self.classifier = nn.Linear(sum(self.kinds), num_classes)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return self.backbone.feature_info

    def forward_features(self, x: Tensor) -> list[Tensor]:
        return self.backbone.forward_features(x)

    def keep_maps(self, count: int | None) -> None:
        self.backbone.keep_maps(count)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        means = [maps[place].mean((2, 3)) for place in self.positions]
        together = [correlate(maps[place]) for correlate, place in zip(self.correlations, self.textures, strict=True)]
        last = self.backbone.forward_head(maps, pre_logits=True).flatten(1)
        vector = torch.cat([*means, *together, last], 1)
        return vector if pre_logits else self.classifier(self.dropout(vector))

    def get_classifier(self) -> nn.Linear:
        return self.classifier

    def set_drop_path(self, rate: float) -> None:
        self.backbone.set_drop_path(rate)

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Try one black image of this (height, width), in evaluation mode.

        Raises:
            UserError: the network does not take it.
        """
        answer_to_black(self, image_size, name=self.arch)

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset(name if name.startswith("*") else BACKBONE + name for name in self.backbone.no_weight_decay())

    def published_part(self, arch: str) -> tuple[Backbone, str]:
        return self.backbone, arch.partition("(")[2].removesuffix(")").strip()

    def filled_by(self, state: Any) -> Network:
        tensors = state.get("state_dict", state) if isinstance(state, Mapping) else {}
        return self if any(str(name).startswith(BACKBONE) for name in tensors) else self.backbone

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Translate names inside the network."""
        inside = {name.removeprefix(BACKBONE): tensor for name, tensor in state.items() if name.startswith(BACKBONE)}
        renamed = {BACKBONE + name: tensor for name, tensor in self.backbone.remap(inside).items()}
        return {**renamed, **{name: tensor for name, tensor in state.items() if not name.startswith(BACKBONE)}}
