"""The data: where images come from and what happens to them before the model."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table

SOURCES = Table(
    "data source",
    {
        "digits": Row("dataloader.sources.digits:open_digits", "1,797 handwritten digits, 8x8, ten classes; written to data/digits"),
        "shapes": Row("dataloader.sources.shapes:open_shapes", "2,160 generated scenes, 64x64, six classes; written to data/shapes"),
        "weave": Row("dataloader.sources.weave:open_weave", "190 generated pieces of cloth, 96x96, some with defects"),
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

# Operations of the library albumentations; `--list augments` shows these lines.
ALBUMENTATIONS = {
    "Blur": "box blur: blur_limit=(3, 7)",
    "GaussianBlur": "Gaussian blur: blur_limit=0, sigma_limit=(0.5, 3)",
    "MedianBlur": "median of a window: blur_limit=(3, 7)",
    "MotionBlur": "blur along a line: blur_limit=(3, 7)",
    "GlassBlur": "as through frosted glass: sigma=0.7, max_delta=4, iterations=2",
    "GaussNoise": "Gaussian noise: std_range=(0.2, 0.44)",
    "HueSaturationValue": "shift hue, saturation and value: hue_shift_limit=20, sat_shift_limit=30, val_shift_limit=20",
    "RGBShift": "shift each channel: r_shift_limit=20, g_shift_limit=20, b_shift_limit=20",
    "RandomBrightnessContrast": "brightness_limit=0.2, contrast_limit=0.2",
    "RandomGamma": "gamma_limit=(80, 120), in percent",
    "ColorJitter": "brightness, contrast, saturation and hue",
    "Equalize": "even out the histogram: by_channels=True, p=0.5",
    "CLAHE": "local contrast: clip_limit=4, tile_grid_size=(8, 8)",
    "Sharpen": "alpha=(0.2, 0.5), lightness=(0.5, 1)",
    "ToGray": "no colors: p=0.5",
    "ImageCompression": "JPEG artifacts: quality_range=(99, 100)",
    "CoarseDropout": "holes: num_holes_range=(1, 2), hole_height_range=(0.1, 0.2)",
    "HorizontalFlip": "mirror left and right: p=0.5",
    "VerticalFlip": "mirror top and bottom: p=0.5",
    "RandomRotate90": "turn by quarters: p=1",
    "Rotate": "limit=90, in degrees",
    "ShiftScaleRotate": "shift_limit=0.06, scale_limit=0.1, rotate_limit=45",
    "Affine": "scale, translate_percent, rotate, shear",
    "Perspective": "seen from another side: scale=(0.05, 0.1)",
    "ElasticTransform": "alpha=1, sigma=50",
    "RandomCrop": "a rectangle of fixed size: height, width",
    "CenterCrop": "the middle: height, width",
    "RandomResizedCrop": "a random rectangle at a fixed size: size=(H, W), scale=(0.08, 1)",
    "Resize": "height, width",
    "SmallestMaxSize": "the smaller side becomes max_size",
    "LongestMaxSize": "the longer side becomes max_size",
}

AUGMENTS = Table(
    "augmentation",
    {
        "flip": Row("dataloader.augment.flip:Flip", "mirror left and right: flip(p=0.5)"),
        "crop": Row("dataloader.augment.crop:Crop", "cut away up to a share of each side: crop(share=0.2, p=0.5)"),
        "color": Row("dataloader.augment.color:Color", "change brightness, contrast and saturation: color(strength=0.3, p=0.8)"),
        "resized_crop": Row(
            "dataloader.augment.resized_crop:ResizedCrop",
            "a random rectangle fills the image: resized_crop(scale=(0.08, 1), ratio=(0.75, 1.33), p=1)",
        ),
        "rotate": Row("dataloader.augment.rotate:Rotate", "turn by up to so many degrees: rotate(degrees=20, p=0.5)"),
        "distort": Row("dataloader.augment.distort:Distort", "0 to 3 of blur, noise, contrast, sharpness, color: distort(most=3)"),
        "erase": Row(
            "dataloader.augment.erase:Erase", "noise in place of a rectangle: erase(p=0.25, scale=(0.02, 0.33), ratio=(0.3, 3.3))"
        ),
        "autoaugment": Row("dataloader.augment.policies:AutoAugment", "learned pairs of operations: autoaugment(imagenet|cifar10|svhn)"),
        "randaug": Row("dataloader.augment.policies:RandAugment", "n random operations of magnitude m: randaug(n=2, m=9)"),
        "trivialaugment": Row("dataloader.augment.policies:TrivialAugment", "one random operation of random strength"),
        "augmix": Row("dataloader.augment.policies:AugMix", "chains of operations blended with the image: augmix(severity=3, width=3)"),
        "mosaic": Row(
            "dataloader.augment.mosaic:Mosaic", "four images with boxes around a point: mosaic(scale=(0.5, 1.5), p=1) (arXiv 2004.10934)"
        ),
        "box_mixup": Row(
            "dataloader.augment.box_mixup:BoxMixup",
            "another image with boxes shines through: box_mixup(scale=(0.5, 1.5), p=0.5) (arXiv 1902.04103)",
        ),
        "OneOf": Row("dataloader.augment.one_of:one_of", "one of several, by their p: OneOf('GaussNoise', 'MotionBlur(p=0.2)', p=0.5)"),
        **{
            name: Row(f"dataloader.augment.albumentations_operations:{name}", f"albumentations: {text}")
            for name, text in ALBUMENTATIONS.items()
        },
    },
)

AUGMENT_PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "default": "flip|crop|color",
        "light": "flip|crop(0.1)",
        "upright": "crop(0.1)|color(0.2)",
        "strong": "resized_crop|flip|randaug(2, m=9)|erase",
        "mosaic_hsv": "mosaic|HueSaturationValue(5, 30, 30, p=1)|flip",
        "reference": "flip|crop(0.1)|rotate(20)|distort(3)",
        # Names that users of other programs know.
        "MyAugment": "flip|crop(0.1)|rotate(20)|distort(3)",
        "AutoAugment": "flip|autoaugment(imagenet)",
    }
)

MIXES = Table(
    "mix",
    {
        "mixup": Row("dataloader.batch.mixup:Mixup", "blend pairs of images and their targets (arXiv 1710.09412)"),
        "cutmix": Row("dataloader.batch.cutmix:CutMix", "put a rectangle of one image into another (arXiv 1905.04899)"),
    },
)

SAMPLERS = Table(
    "sampler",
    {
        "balanced": Row("dataloader.loading.sampling:balanced", "every class as often as the others"),
        "repeat": Row(
            "dataloader.loading.sampling:repeat", "images of rare classes several times: repeat(threshold=0.01) (arXiv 1908.03195)"
        ),
        "file": Row("dataloader.loading.sampling:from_file", "as often as a CSV of path,weight says: file(weights.csv)"),
    },
)

# --curriculum: rules that weigh training images anew every epoch, by their losses;
# arguments are part of the spec: selfpaced(start=0.3).
SELF_PACED = Table(
    "self-paced rule",
    {
        "selfpaced": Row(
            "dataloader.loading.self_paced:SelfPaced",
            "easy images first, by their running loss: selfpaced(start=0.5, until=0.7, momentum=0.5)",
        ),
    },
)
