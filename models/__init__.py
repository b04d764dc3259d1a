"""The models: the table of families, the list of names, and the one way to build a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from models.anomaly import ANOMALY_DETECTORS
from models.anomaly import ENCODERS as ENCODERS_OF_ANOMALY_DETECTORS
from models.detectors import DETECTORS
from models.detectors import ENCODERS as ENCODERS_OF_DETECTORS
from models.segmenters import ENCODERS as ENCODERS_OF_SEGMENTERS
from models.segmenters import SEGMENTERS
from utils.errors import UserError, nearest
from utils.registry import Row, Table, import_attribute, import_user_code, is_user_code
from utils.spec import base_name, parse_specs

if TYPE_CHECKING:
    from models.backbone import Backbone


@dataclass(frozen=True)
class TaskNetworks:
    """The networks that are made for a task, where these are no classifiers: a room of this shelf.

    Attributes:
        table: their names, which may have arguments.
        encoders: name -> the encoder that it looks through unless another is named, for those that look through one.
        purpose: what they do, and with what data, for whom names one elsewhere.
    """

    table: Table
    encoders: Mapping[str, str]
    purpose: str


# Row of TASKS -> its networks.
TASK_NETWORKS: Mapping[str, TaskNetworks] = MappingProxyType(
    {
        "segment": TaskNetworks(
            SEGMENTERS, ENCODERS_OF_SEGMENTERS, "gives every pixel a class, which needs images with masks and --task segment"
        ),
        "detect": TaskNetworks(DETECTORS, ENCODERS_OF_DETECTORS, "finds objects, which needs images with boxes and --task detect"),
        "anomaly": TaskNetworks(
            ANOMALY_DETECTORS,
            ENCODERS_OF_ANOMALY_DETECTORS,
            "tells good images from others, which needs --task anomaly and images without classes",
        ),
    }
)


@dataclass(frozen=True)
class Family:
    """One file of the shelf: the class that builds its variants, their names, and what it is."""

    attribute: str
    variants: tuple[str, ...]
    help: str


# The names of the variants stand here, too, so that listing does not import torch; tests/models/test_models_table.py compares them.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "resnet": Family(
            "models.families.resnet:ResNet",
            (
                *("resnet18", "resnet18d", "resnet34", "resnet34d", "resnet26", "resnet26d", "resnet26t", "resnet50"),
                *("resnet50d", "resnet50t", "resnet101", "resnet101d", "resnet152", "resnet152d", "resnet200", "resnet200d"),
                *("tv_resnet34", "tv_resnet50", "tv_resnet101", "tv_resnet152"),
                *("wide_resnet50_2", "wide_resnet101_2"),
                *("resnext50_32x4d", "resnext50d_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
                *("tv_resnext50_32x4d",),
                *("ig_resnext101_32x8d", "ig_resnext101_32x16d", "ig_resnext101_32x32d", "ig_resnext101_32x48d"),
                *("ssl_resnet18", "ssl_resnet50", "ssl_resnext50_32x4d", "ssl_resnext101_32x4d", "ssl_resnext101_32x8d"),
                *("ssl_resnext101_32x16d",),
                *("swsl_resnet18", "swsl_resnet50", "swsl_resnext50_32x4d", "swsl_resnext101_32x4d", "swsl_resnext101_32x8d"),
                *("swsl_resnext101_32x16d",),
                *("seresnet18", "seresnet34", "seresnet50", "seresnet50t", "seresnet101", "seresnet152", "seresnet152d"),
                *("seresnet200d", "seresnet269d"),
                *("seresnext26d_32x4d", "seresnext26t_32x4d", "seresnext50_32x4d", "seresnext101_32x4d", "seresnext101_32x8d"),
                *("senet154",),
                *("ecaresnet26t", "ecaresnetlight", "ecaresnet50d", "ecaresnet50t", "ecaresnet101d", "ecaresnet200d"),
                *("ecaresnet269d",),
                *("ecaresnext26t_32x4d", "ecaresnext50t_32x4d"),
                *("resnetblur18", "resnetblur50"),
                *("resnetrs50", "resnetrs101", "resnetrs152", "resnetrs200", "resnetrs270", "resnetrs350", "resnetrs420"),
            ),
            "residual networks, grouped, wide, with gates (SE, ECA), blurred, and their recipes d, t and RS: the dependable start",
        ),
        "resnest": Family(
            "models.families.resnest:ResNeSt",
            (
                *("resnest50", "resnest101", "resnest200", "resnest269"),
                *("resnest50_fast_1s1x64d", "resnest50_fast_2s1x64d", "resnest50_fast_4s1x64d"),
                *("resnest50_fast_1s2x40d", "resnest50_fast_2s2x40d", "resnest50_fast_4s2x40d", "resnest50_fast_1s4x24d"),
            ),
            "residual networks that weigh several filters for each group of channels",
        ),
        "preact_resnet": Family(
            "models.families.preact_resnet:PreActResNet",
            tuple(f"resnet_{depth}{order}" for order in ("", "_bn_conv_relu") for depth in (20, 26, 29, 38, 50)),
            "residual networks with batch norm and ReLU before each convolution",
        ),
        "alexnet": Family("models.families.alexnet:AlexNet", ("alexnet", "zfnet"), "where deep networks for images began, for comparison"),
        "vgg": Family(
            "models.families.vgg:VGG",
            ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
            "3x3 convolutions in a row and wide linear layers: large, for comparison and for perceptual losses",
        ),
        "googlenet": Family("models.families.googlenet:GoogLeNet", ("googlenet",), "kernels of several sizes side by side"),
        "squeezenet": Family(
            "models.families.squeezenet:SqueezeNet",
            ("squeezenet1_0", "squeezenet1_1"),
            "about a million parameters, without a linear layer",
        ),
        "mobilenetv3": Family(
            "models.families.mobilenetv3:MobileNetV3",
            ("mobilenetv3_small", "mobilenetv3_large"),
            "small and fast networks for phones and single-board computers",
        ),
        "efficientnet": Family(
            "models.families.efficientnet:EfficientNet",
            tuple(f"efficientnet_b{index}" for index in range(9)),
            "networks scaled in width, depth and resolution together: most accuracy per parameter",
        ),
        "darknet": Family(
            "models.families.darknet:Darknet",
            ("darknet19", "darknet53", "cspdarknet53", *(f"darknet_yolov5{size}" for size in "nsmlx")),
            "backbones of the YOLO detectors, whose weights go to YOLOv5 and come from it",
        ),
        "vovnet": Family(
            "models.families.vovnet:VoVNet",
            ("vovnet27_slim", "vovnet39", "vovnet57", *(f"vovnet{name}_ese" for name in ("19_slim", "19", "39", "57", "99"))),
            "few, wide convolutions joined once a block: fast on accelerators, good maps for detectors",
        ),
        "vit": Family(
            "models.families.vit:VisionTransformer",
            (
                *("vit_tiny_patch16_224", "vit_tiny_patch16_384"),
                *(
                    "vit_small_patch32_224",
                    "vit_small_patch32_384",
                    "vit_small_patch16_224",
                    "vit_small_patch16_384",
                    "vit_small_patch8_224",
                ),
                *("vit_medium_patch16_gap_240", "vit_medium_patch16_gap_256", "vit_medium_patch16_gap_384"),
                *("vit_base_patch32_224", "vit_base_patch32_384", "vit_base_patch16_224", "vit_base_patch16_384", "vit_base_patch8_224"),
                *("vit_large_patch32_224", "vit_large_patch32_384", "vit_large_patch16_224", "vit_large_patch16_384"),
                "vit_huge_patch14_224",
                *("vit_base_patch32_siglip_256", "vit_base_patch16_siglip_224", "vit_base_patch16_siglip_256"),
                *("vit_base_patch16_siglip_384", "vit_base_patch16_siglip_512"),
                *("vit_large_patch16_siglip_256", "vit_large_patch16_siglip_384", "vit_large_patch16_siglip_512"),
                *("vit_so400m_patch14_siglip_224", "vit_so400m_patch14_siglip_378", "vit_so400m_patch14_siglip_384"),
                *("vit_so400m_patch16_siglip_256", "vit_so400m_patch16_siglip_384", "vit_so400m_patch16_siglip_512"),
                *("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224", "deit_base_patch16_384"),
                *("deit_tiny_distilled_patch16_224", "deit_small_distilled_patch16_224"),
                *("deit_base_distilled_patch16_224", "deit_base_distilled_patch16_384"),
                *("deit3_small_patch16_224", "deit3_small_patch16_384", "deit3_medium_patch16_224"),
                *("deit3_base_patch16_224", "deit3_base_patch16_384", "deit3_large_patch16_224", "deit3_large_patch16_384"),
                "deit3_huge_patch14_224",
            ),
            "vision transformers, with the weights of AugReg, SigLIP, DeiT and DeiT III: strong after large pretraining",
        ),
        "cait": Family(
            "models.families.cait:CaiT",
            (
                *("cait_xxs24_224", "cait_xxs24_384", "cait_xxs36_224", "cait_xxs36_384", "cait_xs24_384"),
                *("cait_s24_224", "cait_s24_384", "cait_s36_384", "cait_m36_384", "cait_m48_448"),
            ),
            "deep vision transformers whose class token comes in at the end",
        ),
        "mixer": Family(
            "models.families.mixer:MLPMixer",
            (
                *("mixer_s32_224", "mixer_s16_224", "mixer_b32_224", "mixer_b16_224", "mixer_l32_224", "mixer_l16_224"),
                "mixer_h14_224",
            ),
            "MLPs over patches and channels, for images of 224 x 224 alone",
        ),
        "swin": Family(
            "models.families.swin:Swin",
            (
                *("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"),
                *("swin_base_patch4_window7_224", "swin_base_patch4_window12_384"),
                *("swin_large_patch4_window7_224", "swin_large_patch4_window12_384"),
                *("swin_s3_tiny_224", "swin_s3_small_224", "swin_s3_base_224"),
            ),
            "transformers with attention in moved windows, and maps of four sizes",
        ),
        "convnext": Family(
            "models.families.convnext:ConvNeXt",
            (
                *("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny"),
                *("convnext_small", "convnext_base", "convnext_large", "convnext_xlarge"),
                *("convnextv2_atto", "convnextv2_femto", "convnextv2_pico", "convnextv2_nano", "convnextv2_tiny"),
                *("convnextv2_small", "convnextv2_base", "convnextv2_large", "convnextv2_huge"),
            ),
            "convolutions with what transformers taught: accuracy and simplicity",
        ),
    }
)

INITS = Table(
    "initialization",
    {
        "xavier": Row("models.initialization:xavier", "normal by inputs and outputs (Glorot and Bengio, 2010): xavier(gain=1)"),
        "xavier_uniform": Row("models.initialization:xavier_uniform", "the same, uniform"),
        "kaiming": Row("models.initialization:kaiming", "normal by outputs, for ReLU (arXiv 1502.01852): kaiming(mode=fan_in)"),
        "kaiming_uniform": Row("models.initialization:kaiming_uniform", "the same, uniform"),
        "orthogonal": Row("models.initialization:orthogonal", "rows or columns at right angles (arXiv 1312.6120): orthogonal(gain=1)"),
        "normal": Row("models.initialization:normal", "normal(std=0.01)"),
        "trunc_normal": Row("models.initialization:trunc_normal", "trunc_normal(std=0.02), cut at two standard deviations"),
    },
)


def _forwarded(package: str, *names: str) -> dict[str, str]:
    return {name: f"{package}/{name}" for name in names}


# Names without a prefix that other programs use, of networks that a package builds for us.
FORWARDED: Mapping[str, str] = MappingProxyType(
    {
        **_forwarded("torchvision", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "inception_v3"),
        **_forwarded("torchvision", *(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0"))),
        **_forwarded("torchvision", *(f"mnasnet{width}" for width in ("0_5", "0_75", "1_0", "1_3"))),
        **_forwarded("torchvision", *(f"densenet{depth}" for depth in (121, 161, 169, 201))),
        **_forwarded(
            "torchvision",
            *(f"regnet_{kind}_{size}" for kind in "xy" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
        ),
        **_forwarded("timm", "ecaresnet50d_pruned", "ecaresnet101d_pruned"),
    }
)

# Packages whose classifiers answer the same contract, under PACKAGE/NAME.
ADAPTERS: Mapping[str, str] = MappingProxyType({"torchvision": "models.adapters.torchvision_models", "timm": "models.adapters.timm_models"})


def list_models(pattern: str = "*") -> list[str]:
    """Names of our families that match the shell pattern, in the order of the table.

    The names of a package are listed when the pattern starts with it: 'timm/*', 'torchvision/vit*'.

    Raises:
        UserError: the package is not installed.
    """
    package, _, _ = pattern.partition("/")
    if package in ADAPTERS:
        names = [f"{package}/{name}" for name in _adapter(package).list_names()]
    else:
        names = [name for family in FAMILIES.values() for name in family.variants]
    return [name for name in names if fnmatchcase(name, pattern)]


def full_name(arch: str) -> str:
    """'torchvision/NAME' or 'timm/NAME' where `arch` is forwarded to a package, else `arch` itself."""
    return FORWARDED.get(arch, arch)


def describe(arch: str) -> str:
    """`arch` with what it is forwarded to: 'mobilenet_v2 (torchvision/mobilenet_v2)'."""
    return f"{arch} ({FORWARDED[arch]})" if arch in FORWARDED else arch


def staged_part(arch: str) -> str | None:
    """Return the network of 'stages(NAME)', a classifier that reads several stages of it; None for other names."""
    return arch.removeprefix("stages(").removesuffix(")").strip() if arch.startswith("stages(") and arch.endswith(")") else None


def find_family(arch: str) -> Family | None:
    """The row that holds the variant `arch`, or None."""
    return next((family for family in FAMILIES.values() if arch in family.variants), None)


def find_adapter(arch: str) -> ModuleType | None:
    """The adapter module of 'torchvision/NAME', 'timm/NAME' or a name forwarded there, or None for every other name."""
    package, slash, _ = full_name(arch).partition("/")
    return _adapter(package) if slash and package in ADAPTERS and not is_user_code(arch) else None


def build_model(arch: str, *, num_classes: int, drop_rate: float | None = None, drop_path: float | None = None) -> "Backbone":
    """Build the network `arch` with fresh weights.

    Args:
        arch: a name of a family, one that is forwarded to a package, torchvision/NAME, timm/NAME, or 'my_file.py:Class' of the user's own;
            'stages(NAME)' for one of these whose classifier reads several of its stages. A class of the user's is called as
            Class(num_classes=...), with drop_rate and drop_path where they are given; a plain nn.Module that maps images
            (N, 3, H, W) to logits (N, num_classes) will do.
        num_classes: width of the classifier, at least 1.
        drop_rate: dropout before the classifier; None keeps the published rate.
        drop_path: probability in training of skipping the last residual branch; None keeps the published rate.

    Raises:
        UserError: an unknown name, a package that is not installed, or a value out of range.
    """
    if num_classes < 1:
        raise UserError(f"num_classes is {num_classes}; a classifier needs at least 1 class")
    if drop_rate is not None and not 0 <= drop_rate < 1:
        raise UserError(f"drop_rate is {drop_rate}; it is a probability from 0 up to, not including, 1")
    if drop_path is not None and not 0 <= drop_path < 1:
        raise UserError(f"drop_path is {drop_path}; it is a probability from 0 up to, not including, 1")
    check_arch(arch)
    if (task := task_of(arch)) is not None:
        raise UserError(f"{arch} {TASK_NETWORKS[task].purpose}")
    if (inner := staged_part(arch)) is not None:
        from models.stages import StagedClassifier

        part = build_model(inner, num_classes=num_classes, drop_rate=drop_rate, drop_path=drop_path)
        return StagedClassifier(part, arch=arch, num_classes=num_classes, drop_rate=drop_rate or 0.0)
    if (family := find_family(arch)) is not None:
        net = import_attribute(family.attribute)(arch, num_classes=num_classes, drop_rate=drop_rate)
        if drop_path is not None:
            net.set_drop_path(drop_path)
        return net
    if (adapter := find_adapter(arch)) is not None:
        from models.classifier_start import with_even_start

        name = full_name(arch).partition("/")[2]
        return with_even_start(adapter.build(name, num_classes=num_classes, drop_rate=drop_rate, drop_path=drop_path))
    from models.adapters.wrapped import build_user_model

    make = import_user_code(arch, "model")
    return build_user_model(make, arch=arch, num_classes=num_classes, drop_rate=drop_rate, drop_path=drop_path)


def task_of(arch: str) -> str | None:
    """Return the row of TASK_NETWORKS that has a name, with or without arguments; None for classifiers and unknown names."""
    return next((task for task, made in TASK_NETWORKS.items() if base_name(arch) in made.table), None)


def usual_encoder(arch: str) -> str | None:
    """Return the encoder that a network looks through unless another is named; None for networks of their own."""
    return next((made.encoders[base_name(arch)] for made in TASK_NETWORKS.values() if base_name(arch) in made.encoders), None)


def check_arch(arch: str) -> None:
    """Look whether `arch` may name a model, without building it; names of packages are left to the packages.

    Raises:
        UserError: it is no name of the table, and has none of the forms of other names.
    """
    if task_of(arch) is not None:
        parse_specs(arch)
        return
    if (inner := staged_part(arch)) is not None:
        check_arch(inner)
        return
    package, slash, _ = full_name(arch).partition("/")
    if find_family(arch) is None and not (slash and package in ADAPTERS) and not is_user_code(arch):
        others = "torchvision/NAME, timm/NAME and my_file.py:Class work too"
        raise UserError(f"unknown model '{arch}'.{_hint(arch)} See --list models; {others}")


def _adapter(package: str) -> ModuleType:
    import importlib

    return importlib.import_module(ADAPTERS[package])


def _hint(arch: str) -> str:
    if arch in _adapter("torchvision").list_names():
        return f" Did you mean torchvision/{arch}?"
    return nearest(arch, [*list_models(), *FORWARDED, *(name for made in TASK_NETWORKS.values() for name in made.table)])
