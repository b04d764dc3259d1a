"""The data shelf: where images come from and what happens to them before the model."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table

SOURCES = Table(
    "data source",
    {
        "digits": Row("dataloader.sources.digits:open_digits", "1,797 handwritten digits, 8x8, ten classes; written to data/digits"),
        "cifar10": Row("dataloader.sources.downloads:CIFAR10", "60,000 pictures of 32x32, ten classes; downloaded once"),
        "cifar100": Row("dataloader.sources.downloads:CIFAR100", "60,000 pictures of 32x32, 100 classes; downloaded once"),
        "mnist": Row("dataloader.sources.downloads:MNIST", "70,000 handwritten digits of 28x28; downloaded once"),
        "fashion_mnist": Row(
            "dataloader.sources.downloads:FASHION_MNIST", "70,000 pieces of clothing of 28x28, ten classes; downloaded once"
        ),
        "kmnist": Row(
            "dataloader.sources.downloads:KMNIST", "70,000 handwritten Japanese characters of 28x28, ten classes; downloaded once"
        ),
        "svhn": Row("dataloader.sources.downloads:SVHN", "99,289 house-number digits of 32x32; downloaded once"),
        "stl10": Row("dataloader.sources.downloads:STL10", "13,000 pictures of 96x96, ten classes; downloaded once"),
        "imagenette": Row(
            "dataloader.sources.downloads:IMAGENETTE", "13,394 photographs of ten easy ImageNet classes, smaller side 320; downloaded once"
        ),
        "flowers102": Row("dataloader.sources.downloads:FLOWERS102", "8,189 flowers of 102 kinds; downloaded once"),
        "food101": Row("dataloader.sources.downloads:FOOD101", "101,000 photographs of 101 dishes; downloaded once"),
        "oxford_pets": Row("dataloader.sources.downloads:OXFORD_PETS", "7,349 cats and dogs of 37 breeds; downloaded once"),
        "dtd": Row("dataloader.sources.downloads:DTD", "5,640 textures of 47 kinds; downloaded once"),
        "eurosat": Row("dataloader.sources.downloads:EUROSAT", "27,000 satellite images of 64x64, ten kinds of land; downloaded once"),
        "gtsrb": Row("dataloader.sources.downloads:GTSRB", "German traffic signs of 43 kinds; downloaded once"),
        "fgvc_aircraft": Row("dataloader.sources.downloads:FGVC_AIRCRAFT", "10,000 aircraft of 100 variants; downloaded once"),
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
