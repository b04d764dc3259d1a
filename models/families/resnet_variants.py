"""The table of ResNets: what each name stands for, and where its published weights lie."""

from dataclasses import dataclass, replace
from typing import Literal

from models.published import Published


@dataclass(frozen=True)
class ResNetArch:
    """What the variants differ by.

    Attributes:
        depths: blocks of the four stages.
        bottleneck: blocks of three convolutions; else of two.
        groups, group_width: of the 3x3 convolutions; the first stage's have groups x group_width channels, each later one's twice as many.
        stem: channels of the 7x7 convolution, or of each of three 3x3 convolutions.
        learned_pool: a convolution halves the stem's map, no maximum.
        average_shortcut: a projection halves the map by its mean, not by skipping pixels.
        shortcut_kernel: of a projection that halves the map.
        reduce_first: the first convolution of a bottleneck has this much fewer channels than the second.
        attention: gate at the end of a branch: squeeze-and-excitation, ECA or none.
        squeeze: channels inside squeeze-and-excitation, relative to those outside.
        blur: maps are blurred before they are halved.
    """

    depths: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64
    stem: tuple[int, ...] = (64,)
    learned_pool: bool = False
    average_shortcut: bool = False
    shortcut_kernel: int = 1
    reduce_first: int = 1
    attention: Literal["", "se", "eca"] = ""
    squeeze: float = 1 / 16
    blur: bool = False


def grouped(arch: ResNetArch, groups: int, width: int) -> ResNetArch:
    """ResNeXt's groups x width d."""
    return replace(arch, groups=groups, group_width=width)


def deep(arch: ResNetArch) -> ResNetArch:
    """The d of ResNet-D: a stem of three convolutions, projections of averaged maps."""
    return replace(arch, stem=(32, 32, 64), average_shortcut=True)


def tiered(arch: ResNetArch) -> ResNetArch:
    """The t: ResNet-D with a stem that widens step by step."""
    return replace(arch, stem=(24, 32, 64), average_shortcut=True)


def se(arch: ResNetArch) -> ResNetArch:
    return replace(arch, attention="se")


def eca(arch: ResNetArch) -> ResNetArch:
    return replace(arch, attention="eca")


def rs(arch: ResNetArch) -> ResNetArch:
    """ResNet-RS: ResNet-D, wider gates, no maximum in the stem."""
    return replace(deep(arch), attention="se", squeeze=1 / 4, learned_pool=True)


R18 = ResNetArch((2, 2, 2, 2), bottleneck=False)
R34 = ResNetArch((3, 4, 6, 3), bottleneck=False)
R26 = ResNetArch((2, 2, 2, 2))
R50 = ResNetArch((3, 4, 6, 3))
R101 = ResNetArch((3, 4, 23, 3))
R152 = ResNetArch((3, 8, 36, 3))
R200 = ResNetArch((3, 24, 36, 3))
R269 = ResNetArch((3, 30, 48, 8))

VARIANTS: dict[str, ResNetArch] = {
    "resnet18": R18,
    "resnet18d": deep(R18),
    "resnet34": R34,
    "resnet34d": deep(R34),
    "resnet26": R26,
    "resnet26d": deep(R26),
    "resnet26t": tiered(R26),
    "resnet50": R50,
    "resnet50d": deep(R50),
    "resnet50t": tiered(R50),
    "resnet101": R101,
    "resnet101d": deep(R101),
    "resnet152": R152,
    "resnet152d": deep(R152),
    "resnet200": R200,
    "resnet200d": deep(R200),
    "tv_resnet34": R34,
    "tv_resnet50": R50,
    "tv_resnet101": R101,
    "tv_resnet152": R152,
    "wide_resnet50_2": replace(R50, group_width=128),
    "wide_resnet101_2": replace(R101, group_width=128),
    "resnext50_32x4d": grouped(R50, 32, 4),
    "resnext50d_32x4d": deep(grouped(R50, 32, 4)),
    "resnext101_32x4d": grouped(R101, 32, 4),
    "resnext101_32x8d": grouped(R101, 32, 8),
    "resnext101_64x4d": grouped(R101, 64, 4),
    "tv_resnext50_32x4d": grouped(R50, 32, 4),
    "ig_resnext101_32x8d": grouped(R101, 32, 8),
    "ig_resnext101_32x16d": grouped(R101, 32, 16),
    "ig_resnext101_32x32d": grouped(R101, 32, 32),
    "ig_resnext101_32x48d": grouped(R101, 32, 48),
    "ssl_resnet18": R18,
    "ssl_resnet50": R50,
    "ssl_resnext50_32x4d": grouped(R50, 32, 4),
    "ssl_resnext101_32x4d": grouped(R101, 32, 4),
    "ssl_resnext101_32x8d": grouped(R101, 32, 8),
    "ssl_resnext101_32x16d": grouped(R101, 32, 16),
    "swsl_resnet18": R18,
    "swsl_resnet50": R50,
    "swsl_resnext50_32x4d": grouped(R50, 32, 4),
    "swsl_resnext101_32x4d": grouped(R101, 32, 4),
    "swsl_resnext101_32x8d": grouped(R101, 32, 8),
    "swsl_resnext101_32x16d": grouped(R101, 32, 16),
    "seresnet18": se(R18),
    "seresnet34": se(R34),
    "seresnet50": se(R50),
    "seresnet50t": se(tiered(R50)),
    "seresnet101": se(R101),
    "seresnet152": se(R152),
    "seresnet152d": se(deep(R152)),
    "seresnet200d": se(deep(R200)),
    "seresnet269d": se(deep(R269)),
    "seresnext26d_32x4d": se(deep(grouped(R26, 32, 4))),
    "seresnext26t_32x4d": se(tiered(grouped(R26, 32, 4))),
    "seresnext50_32x4d": se(grouped(R50, 32, 4)),
    "seresnext101_32x4d": se(grouped(R101, 32, 4)),
    "seresnext101_32x8d": se(grouped(R101, 32, 8)),
    "senet154": se(grouped(ResNetArch((3, 8, 36, 3), stem=(64, 64, 128), shortcut_kernel=3, reduce_first=2), 64, 4)),
    "ecaresnet26t": eca(tiered(R26)),
    "ecaresnetlight": eca(ResNetArch((1, 1, 11, 3), average_shortcut=True)),
    "ecaresnet50d": eca(deep(R50)),
    "ecaresnet50t": eca(tiered(R50)),
    "ecaresnet101d": eca(deep(R101)),
    "ecaresnet200d": eca(deep(R200)),
    "ecaresnet269d": eca(deep(R269)),
    "ecaresnext26t_32x4d": eca(tiered(grouped(R26, 32, 4))),
    "ecaresnext50t_32x4d": eca(tiered(grouped(R50, 32, 4))),
    "resnetblur18": replace(R18, blur=True),
    "resnetblur50": replace(R50, blur=True),
    "resnetrs50": rs(R50),
    "resnetrs101": rs(R101),
    "resnetrs152": rs(R152),
    "resnetrs200": rs(R200),
    "resnetrs270": rs(ResNetArch((4, 29, 53, 4))),
    "resnetrs350": rs(ResNetArch((4, 36, 72, 4))),
    "resnetrs420": rs(ResNetArch((4, 44, 87, 4))),
}

_TORCH = "https://download.pytorch.org/models/"
_SEMI = "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/"
_GLUON = "https://github.com/rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1/"


# Accuracies are what torchvision, or timm for all others, measured, each at the size that suits the file best.
def _timm(file: str, top1: float, side: int = 224) -> Published:
    url = f"https://github.com/huggingface/pytorch-image-models/releases/download/{file}"
    return Published(url, size=(side, side), interpolation="bicubic", license="Apache-2.0", top1=top1)


def _torch(file: str, top1: float) -> Published:
    return Published(_TORCH + file, license="BSD-3-Clause", top1=top1)


def _facebook(url: str, top1: float | None = None) -> Published:
    """Files that learned from a billion hashtags, or taught by one that did: not for commercial use."""
    return Published(url, license="CC-BY-NC-4.0", top1=top1)


PUBLISHED: dict[str, Published] = {
    "resnet18": _torch("resnet18-f37072fd.pth", 69.758),
    "resnet18d": _timm("v0.1-weights/resnet18d_ra2-48a79e06.pth", 73.794),
    "resnet34": _torch("resnet34-b627a593.pth", 73.314),
    "resnet34d": _timm("v0.1-weights/resnet34d_ra2-f8dcfcaf.pth", 78.436),
    "resnet26": _timm("v0.1-weights/resnet26-9aa10e23.pth", 76.366),
    "resnet26d": _timm("v0.1-weights/resnet26d-69e92c46.pth", 77.408),
    "resnet26t": _timm("v0.1-attn-weights/resnet26t_256_ra2-6f6fa748.pth", 78.332, 256),
    "resnet50": _torch("resnet50-11ad3fa6.pth", 80.858),
    "resnet50d": _timm("v0.1-weights/resnet50d_ra2-464e36ba.pth", 81.356),
    "resnet101": _torch("resnet101-cd907fc2.pth", 81.886),
    "resnet101d": _timm("v0.1-weights/resnet101d_ra2-2803ffab.pth", 83.016, 256),
    "resnet152": _torch("resnet152-f82ba261.pth", 82.284),
    "resnet152d": _timm("v0.1-weights/resnet152d_ra2-5cac0439.pth", 83.684, 256),
    "resnet200d": _timm("v0.1-weights/resnet200d_ra2-bdba9bf9.pth", 83.964, 256),
    "tv_resnet34": _torch("resnet34-b627a593.pth", 73.314),
    "tv_resnet50": _torch("resnet50-0676ba61.pth", 76.13),
    "tv_resnet101": _torch("resnet101-63fe2227.pth", 77.374),
    "tv_resnet152": _torch("resnet152-394f9c45.pth", 78.312),
    "wide_resnet50_2": _torch("wide_resnet50_2-9ba9bcbe.pth", 81.602),
    "wide_resnet101_2": _torch("wide_resnet101_2-d733dc28.pth", 82.51),
    "resnext50_32x4d": _torch("resnext50_32x4d-1a0047aa.pth", 81.198),
    "resnext50d_32x4d": _timm("v0.1-weights/resnext50d_32x4d-103e99f8.pth", 80.664),
    "resnext101_32x4d": _facebook(_SEMI + "semi_supervised_resnext101_32x4-dc43570a.pth", 80.924),
    "resnext101_32x8d": _torch("resnext101_32x8d-110c445d.pth", 82.834),
    "resnext101_64x4d": _timm("v0.1-tpu-weights/resnext101_64x4d_c-0d0e0cc0.pth", 83.156),
    "tv_resnext50_32x4d": _torch("resnext50_32x4d-7cdf4587.pth", 77.618),
    "ig_resnext101_32x8d": _facebook(_TORCH + "ig_resnext101_32x8-c38310e5.pth", 82.698),
    "ig_resnext101_32x16d": _facebook(_TORCH + "ig_resnext101_32x16-c6f796b0.pth", 84.166),
    "ig_resnext101_32x32d": _facebook(_TORCH + "ig_resnext101_32x32-e4b90b00.pth", 85.098),
    "ig_resnext101_32x48d": _facebook(_TORCH + "ig_resnext101_32x48-3e41cc8a.pth"),
    "ssl_resnet18": _facebook(_SEMI + "semi_supervised_resnet18-d92f0530.pth", 72.594),
    "ssl_resnet50": _facebook(_SEMI + "semi_supervised_resnet50-08389792.pth", 79.234),
    "ssl_resnext50_32x4d": _facebook(_SEMI + "semi_supervised_resnext50_32x4-ddb3e555.pth", 80.338),
    "ssl_resnext101_32x4d": _facebook(_SEMI + "semi_supervised_resnext101_32x4-dc43570a.pth", 80.924),
    "ssl_resnext101_32x8d": _facebook(_SEMI + "semi_supervised_resnext101_32x8-2cfe2f8b.pth", 81.606),
    "ssl_resnext101_32x16d": _facebook(_SEMI + "semi_supervised_resnext101_32x16-15fffa57.pth", 81.842),
    "swsl_resnet18": _facebook(_SEMI + "semi_weakly_supervised_resnet18-118f1556.pth", 73.282),
    "swsl_resnet50": _facebook(_SEMI + "semi_weakly_supervised_resnet50-16a12f1b.pth", 81.182),
    "swsl_resnext50_32x4d": _facebook(_SEMI + "semi_weakly_supervised_resnext50_32x4-72679e44.pth", 82.174),
    "swsl_resnext101_32x4d": _facebook(_SEMI + "semi_weakly_supervised_resnext101_32x4-3f87e46b.pth", 83.232),
    "swsl_resnext101_32x8d": _facebook(_SEMI + "semi_weakly_supervised_resnext101_32x8-b4712904.pth", 84.302),
    "swsl_resnext101_32x16d": _facebook(_SEMI + "semi_weakly_supervised_resnext101_32x16-f3559a9c.pth", 83.336),
    "seresnet50": _timm("v0.1-rsb-weights/seresnet50_a1_0-ffa00869.pth", 81.102),
    "seresnet152d": _timm("v0.1-weights/seresnet152d_ra2-04464dd2.pth", 84.36, 256),
    "seresnext26d_32x4d": _timm("v0.1-weights/seresnext26d_32x4d-80fa48a3.pth", 78.814),
    "seresnext26t_32x4d": _timm("v0.1-weights/seresnext26tn_32x4d-569cb627.pth", 78.744),
    "seresnext50_32x4d": _timm("v0.1-weights/seresnext50_32x4d_racm-a304a460.pth", 82.196),
    "seresnext101_32x4d": Published(
        _GLUON + "gluon_seresnext101_32x4d-cf52900d.pth", interpolation="bicubic", license="Apache-2.0", top1=80.892
    ),
    "seresnext101_32x8d": _timm("v0.1-tpu-weights/seresnext101_32x8d_ah-e6bc4c0a.pth", 84.186),
    "senet154": Published(_GLUON + "gluon_senet154-70a1a3c0.pth", interpolation="bicubic", license="Apache-2.0", top1=81.226),
    "ecaresnet26t": _timm("v0.1-weights/ecaresnet26t_ra2-46609757.pth", 79.85, 256),
    "ecaresnetlight": _timm("v0.1-tresnet/ecaresnetlight-75a9c627.pth", 81.408),
    "ecaresnet50d": _timm("v0.1-tresnet/ecaresnet50d-93c81e3b.pth", 81.65),
    "ecaresnet50t": _timm("v0.1-weights/ecaresnet50t_ra2-f7ac63c4.pth", 82.352, 256),
    "ecaresnet101d": _timm("v0.1-tresnet/ecaresnet101d-153dad65.pth", 82.984),
    "ecaresnet269d": _timm("v0.1-weights/ecaresnet269d_320_ra2-7baa55cb.pth", 84.966, 320),
    "resnetblur50": _timm("v0.1-weights/resnetblur50-84f4748f.pth", 80.234),
    "resnetrs50": _timm("v0.1-rs-weights/resnetrs50_ema-6b53758b.pth", 79.896, 160),
    "resnetrs101": _timm("v0.1-rs-weights/resnetrs101_i192_ema-1509bbf6.pth", 82.284, 192),
    "resnetrs152": _timm("v0.1-rs-weights/resnetrs152_i256_ema-a9aff7f9.pth", 83.702, 256),
    "resnetrs200": _timm("v0.1-tpu-weights/resnetrs200_c-6b698b88.pth", 84.444, 256),
    "resnetrs270": _timm("v0.1-rs-weights/resnetrs270_ema-b40e674c.pth", 84.428, 256),
    "resnetrs350": _timm("v0.1-rs-weights/resnetrs350_i256_ema-5a1aa8f1.pth", 84.714, 288),
    "resnetrs420": _timm("v0.1-rs-weights/resnetrs420_ema-972dee69.pth", 85.006, 320),
}
