"""MLP-Mixer: MLPs over patches and over channels, in turns (arXiv 2105.01601).

Parameter names are timm's, so its published weights load as they are. An MLP over patches takes one number of them: images have
one size.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.stochastic_depth import StochasticDepth
from models.layers.transformer import EPS, Mlp, PatchEmbed
from models.maps.layout import Layout, tap_blocks, to_map, tokens_of, with_last
from models.published import HALF, Published, on_hub
from utils.errors import UserError

SIZE = 224


@dataclass(frozen=True)
class MixerArch:
    """The patch in pixels, the width of the tokens, and the number of blocks."""

    patch: int
    width: int
    depth: int


VARIANTS: dict[str, MixerArch] = {
    "mixer_s32_224": MixerArch(32, 512, 8),
    "mixer_s16_224": MixerArch(16, 512, 8),
    "mixer_b32_224": MixerArch(32, 768, 12),
    "mixer_b16_224": MixerArch(16, 768, 12),
    "mixer_l32_224": MixerArch(32, 1024, 24),
    "mixer_l16_224": MixerArch(16, 1024, 24),
    "mixer_h14_224": MixerArch(14, 1280, 32),
}


class Block(nn.Module):
    """An MLP over the tokens and one over the channels, each behind a norm and beside a shortcut."""

    def __init__(self, arch: MixerArch, tokens: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(arch.width, eps=EPS)
        # Half the width of a token between its layers, whatever the number of tokens.
        self.mlp_tokens = Mlp(tokens, arch.width // 2)
        self.norm2 = nn.LayerNorm(arch.width, eps=EPS)
        self.mlp_channels = Mlp(arch.width, 4 * arch.width)
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depth(self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2))
        return x + self.depth(self.mlp_channels(self.norm2(x)))


class MLPMixer(Backbone):
    """A variant of the table. Maps: four, after each quarter of the blocks, all at the stride of the patch.

    Args:
        arch: a name of the table.
        num_classes: width of the classifier.
        drop_rate: dropout before the classifier.
        image_size: (height, width) of all images; the published one by default.
    """

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None, image_size: tuple[int, int] = (SIZE, SIZE)) -> None:
        super().__init__()
        self.name, self.arch, self.image_size = arch, VARIANTS[arch], image_size
        self.num_classes = checked_width(num_classes)
        patch = self.arch.patch
        self.grid = (image_size[0] // patch, image_size[1] // patch)
        self.stem = PatchEmbed(patch, self.arch.width)
        self.blocks = nn.Sequential(*(Block(self.arch, self.grid[0] * self.grid[1]) for _ in range(self.arch.depth)))
        self.norm = nn.LayerNorm(self.arch.width, eps=EPS)
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.head = nn.Linear(self.arch.width, num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """Glorot's uniform, biases next to 0; LeCun's normal for the stem, and a classifier of zeros, as the authors' code has it."""
        stem = self.stem.proj
        # A normal cut at two standard deviations has 0.8796 of its spread.
        std = stem.weight[0].numel() ** -0.5 / 0.8796
        nn.init.trunc_normal_(stem.weight, std=std, a=-2 * std, b=2 * std)
        assert stem.bias is not None
        nn.init.zeros_(stem.bias)
        for module in self.modules():
            if isinstance(module, Mlp):
                for layer in (module.fc1, module.fc2):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.normal_(layer.bias, std=1e-6)
        self.init_classifier(self.head)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.arch.width, self.arch.patch)] * 4

    def forward_features(self, x: Tensor) -> list[Tensor]:
        layout = Layout("NLC")
        *earlier, last = tap_blocks(self.blocks, self.stem(x), parts=4)
        return with_last([to_map(each, layout, grid=self.grid) for each in earlier], self.norm(last), layout=layout, grid=self.grid)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        return self._answer(tokens_of(maps, prefix=0), pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self._answer(self.norm(self.blocks(self.stem(x))))

    def _answer(self, tokens: Tensor, *, pre_logits: bool = False) -> Tensor:
        vector = tokens.mean(1)
        return vector if pre_logits else self.head(self.dropout(vector))

    def set_drop_path(self, rate: float) -> None:
        """Skip both branches of every block with this probability, as timm does."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.depth.rate = rate

    def get_classifier(self) -> nn.Linear:
        return self.head

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        """Zeros, as the paper."""
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)

    def check_size(self, image_size: tuple[int, int]) -> None:
        if image_size != self.image_size:
            height, width = self.image_size
            raise UserError(f"{self.name} takes images of {height} x {width} pixels alone: --image_size {height} {width}")


PUBLISHED: dict[str, Published] = {
    "mixer_b16_224": on_hub("mixer_b16_224.goog_in21k_ft_in1k", mean=HALF, std=HALF, top1=76.616),
    "mixer_l16_224": on_hub("mixer_l16_224.goog_in21k_ft_in1k", mean=HALF, std=HALF, top1=72.084),
}
