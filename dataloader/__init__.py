"""The data shelf: where images come from and what happens to them before the model."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table

SOURCES = Table(
    "data source",
    {
        "digits": Row("dataloader.sources.digits:open_digits", "1,797 handwritten digits, 8x8, ten classes; written to data/digits"),
    },
)

AUGMENTS = Table(
    "augmentation",
    {
        "flip": Row("dataloader.augment.flip:Flip", "mirror left and right: flip(p=0.5)"),
        "crop": Row("dataloader.augment.crop:Crop", "cut away up to a share of each side: crop(share=0.2, p=0.5)"),
        "color": Row("dataloader.augment.color:Color", "change brightness, contrast and saturation: color(strength=0.3, p=0.8)"),
    },
)

RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "default": "flip|crop|color",
        "light": "flip|crop(0.1)",
        "upright": "crop(0.1)|color(0.2)",
    }
)

MIXES = Table(
    "mix",
    {
        "mixup": Row("dataloader.batch.mixup:Mixup", "blend pairs of images and their targets (arXiv 1710.09412)"),
    },
)

# Rules that weigh training images anew every epoch; their arguments may stand in the spec: selfpaced(start=0.3).
CURRICULA = Table(
    "curriculum",
    {
        "selfpaced": Row(
            "dataloader.selfpaced:SelfPaced", "easy images first, by their running loss: selfpaced(start=0.5, until=0.7, momentum=0.5)"
        ),
    },
)
