"""The models: the table of families, the list of names, and the one way to build a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from utils.errors import UserError, nearest
from utils.registry import Row, Table, import_target, import_user_target, is_user_target
from utils.spec import Spec, parse_specs

if TYPE_CHECKING:
    from models.anomaly.detector import Detector
    from models.backbone import Backbone
    from models.segmenters.segmenter import Segmenter


@dataclass(frozen=True)
class Family:
    """One file of the shelf: the class that builds its variants, their names, and what it is."""

    target: str
    variants: tuple[str, ...]
    help: str


# The names of the variants stand here, too, so that listing does not import torch; tests/models/test_models_table.py compares them.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "resnet": Family(
            "models.families.resnet:ResNet",
            (
                *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
                *("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"),
            ),
            "residual networks, grouped (ResNeXt) and wide ones: the dependable start",
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
    }
)

# Decoder classes, which build_segmenter puts on any encoder.
SEGMENTERS = Table(
    "segmenter",
    {
        "unet": Row(
            "models.segmenters.unet:UNet", "U-Net: back up in steps, with every map of the encoder; fine outlines (arXiv 1505.04597)"
        ),
    },
)
# The encoder of a segmenter unless another is named.
ENCODER = "resnet18"

DETECTORS = Table(
    "anomaly detector",
    {
        "padim": Row(
            "models.anomaly.padim:PaDiM",
            "a Gaussian of good features at every place (arXiv 2011.08785): padim(dims=100,projection=random,shrinkage=0.01,smoothing=4)",
        ),
        "patchcore": Row(
            "models.anomaly.patchcore:PatchCore",
            "distance to the nearest of chosen good features (arXiv 2106.08265): patchcore(coreset=0.1,smoothing=4)",
        ),
    },
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

# Packages whose classifiers answer the same contract, under PACKAGE/NAME.
ADAPTERS: Mapping[str, str] = MappingProxyType({"torchvision": "models.adapters.torchvision_models", "timm": "models.adapters.timm_models"})


def list_models(pattern: str = "*") -> list[str]:
    """Names that `build_model` takes and that match the shell pattern, in the order of the table.

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


def find_family(arch: str) -> Family | None:
    """The row that holds the variant `arch`, or None."""
    return next((family for family in FAMILIES.values() if arch in family.variants), None)


def find_adapter(arch: str) -> ModuleType | None:
    """The adapter module of 'torchvision/NAME' or 'timm/NAME', or None for every other name."""
    package, slash, _ = arch.partition("/")
    return _adapter(package) if slash and package in ADAPTERS and not is_user_target(arch) else None


def build_model(arch: str, *, num_classes: int, drop_rate: float | None = None, drop_path: float | None = None) -> "Backbone":
    """Build the network `arch` with fresh weights.

    Args:
        arch: a name of the table, torchvision/NAME, timm/NAME, or 'my_file.py:Class' of the user's own.
            The last is called as Class(num_classes=...), with drop_rate and drop_path where they are given; a plain nn.Module that
            maps images
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
    if arch in SEGMENTERS:
        raise UserError(f"{arch} gives every pixel a class, which needs images with masks and --task segment")
    if (family := find_family(arch)) is not None:
        net = import_target(family.target)(arch, num_classes=num_classes, drop_rate=drop_rate)
        if drop_path is not None:
            net.set_drop_path(drop_path)
        return net
    if (adapter := find_adapter(arch)) is not None:
        return adapter.build(arch.partition("/")[2], num_classes=num_classes, drop_rate=drop_rate, drop_path=drop_path)
    from models.adapters.wrapped import build_user_model

    target = import_user_target(arch, "model")
    return build_user_model(target, arch=arch, num_classes=num_classes, drop_rate=drop_rate, drop_path=drop_path)


def build_segmenter(
    arch: str,
    *,
    num_classes: int,
    encoder: str | None = None,
    drop_rate: float | None = None,
    drop_path: float | None = None,
    output_stride: int | None = None,
) -> "Segmenter":
    """Build the segmenter `arch` on an encoder, with fresh weights: images (N, 3, H, W) to logits (N, num_classes, H, W).

    Args:
        arch: a row of SEGMENTERS, or 'my_file.py:Class' of a Decoder of the user's own.
        num_classes: classes of a pixel, at least 1.
        encoder: what `build_model` takes; None for ENCODER.
        drop_rate: dropout before the classifier; None keeps the published rate.
        drop_path: of the encoder, as in `build_model`.
        output_stride: of the encoder's last map, for decoders that have the encoder dilated; None for the published one.

    Raises:
        UserError: an unknown name, an encoder without the maps that the decoder reads, or a value out of range.
    """
    if encoder in SEGMENTERS:
        raise UserError(f"--encoder {encoder} is a segmenter itself; name a classifier, such as {ENCODER}")
    if arch not in SEGMENTERS and (find_family(arch) is not None or find_adapter(arch) is not None):
        raise UserError(f"{arch} gives an image its class, not a pixel: write --arch unet --encoder {arch}; see --list segmenters")
    from models.segmenters.decoder import Decoder
    from models.segmenters.encoder import Encoder
    from models.segmenters.segmenter import Segmenter

    decoder, encoder = SEGMENTERS.resolve(arch), encoder or ENCODER
    if not (isinstance(decoder, type) and issubclass(decoder, Decoder)):
        raise UserError(f"--arch {arch}: a subclass of Decoder (models/segmenters/decoder.py) is wanted")
    if output_stride is not None and output_stride not in decoder.OUTPUT_STRIDES:
        known = f"takes {' or '.join(map(str, decoder.OUTPUT_STRIDES))}" if decoder.OUTPUT_STRIDES else "has no dilated encoder"
        raise UserError(f"--output_stride {output_stride}: {arch} {known}; leave the flag out")
    if output_stride is None and decoder.OUTPUT_STRIDES:
        output_stride = decoder.OUTPUT_STRIDES[0]
    if drop_rate is not None and not 0 <= drop_rate < 1:
        raise UserError(f"drop_rate is {drop_rate}; it is a probability from 0 up to, not including, 1")
    backbone = build_model(encoder, num_classes=1, drop_path=drop_path)
    body = Encoder(backbone, encoder, strides=decoder.STRIDES, stem=decoder.STEM, output_stride=output_stride)
    head = decoder(body.info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
    return Segmenter(body, head, arch=arch, num_classes=num_classes)


def is_detector(arch: str) -> bool:
    """Whether --arch names a row of DETECTORS, with or without arguments."""
    return arch.partition("(")[0].strip() in DETECTORS


def read_detector(arch: str) -> Spec:
    """Return the name and the arguments of a detector.

    Raises:
        UserError: there is no such detector.
    """
    (spec,) = parse_specs(arch)
    DETECTORS.check(spec.name)
    return spec


def build_detector(arch: str, encoder: str) -> "Detector":
    """Return an unfitted detector on the maps of an encoder.

    Args:
        arch: such as 'padim' or 'patchcore(coreset=0.01)'.
        encoder: the network whose maps it looks at, as `build_model` takes it; its weights stay as they are.

    Raises:
        UserError: there is no such detector or encoder, or it does not take these arguments.
    """
    from models.segmenters.encoder import Encoder

    spec = read_detector(arch)
    kind = DETECTORS.resolve(spec.name)
    looks = Encoder(build_model(encoder, num_classes=1), encoder, strides=kind.strides)
    try:
        return kind(looks, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--arch '{arch}': {str(error).partition('() ')[2] or error}; {DETECTORS[spec.name].help}") from error


def check_arch(arch: str) -> None:
    """Look whether `arch` may name a model, without building it; names of packages are left to the packages.

    Raises:
        UserError: it is no name of the table, and has none of the forms of other names.
    """
    if is_detector(arch):
        read_detector(arch)
        return
    package, slash, _ = arch.partition("/")
    if find_family(arch) is None and arch not in SEGMENTERS and not (slash and package in ADAPTERS) and not is_user_target(arch):
        others = "torchvision/NAME, timm/NAME and my_file.py:Class work too"
        raise UserError(f"unknown model '{arch}'.{_hint(arch)} See --list models; {others}")


def _adapter(package: str) -> ModuleType:
    import importlib

    return importlib.import_module(ADAPTERS[package])


def _hint(arch: str) -> str:
    if arch in _adapter("torchvision").list_names():
        return f" Did you mean torchvision/{arch}?"
    return nearest(arch, [*list_models(), *SEGMENTERS])
