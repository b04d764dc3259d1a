"""Options of the model."""

from dataclasses import dataclass
from typing import Literal

from models import describe, staged_part, usual_encoder
from utils.errors import UserError
from utils.flags import flag

BN_MOMENTUM_RULES = ("auto", "published")


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and where its weights start."""

    arch: str = flag(
        "resnet18",
        "model name (see --list models), torchvision/NAME, timm/NAME or my_file.py:Class; 'stages(NAME)', whose classifier reads several "
        "stages of one; a segmenter, a detector (--list detectors)",
        short="-a",
        used_for="training model compare info benchmark serve probe",
    )
    encoder: str | None = flag(
        None,
        "network that a segmenter or detector such as --arch unet or padim looks through: a model name, torchvision/NAME or timm/NAME "
        "(default: resnet18)",
        metavar="NAME",
        used_for="training info",
    )
    neck: str | None = flag(
        None,
        "what joins the maps of an encoder for --arch yolox: fpn, pan, bifpn, 'sppf|pan(channels=128)' (default: pan(channels=128))",
        metavar="SPEC",
        used_for="training info",
    )
    anchors: str | None = flag(
        None,
        "boxes that --arch yolov3 begins with: auto, by k-means of the training boxes, or nine of its own as '10x13 16x30 ...' in pixels "
        "(default: as published, for COCO)",
        metavar="auto|WxH...",
        used_for="training info",
    )
    output_stride: int | None = flag(
        None,
        "image pixels a pixel of the encoder's last map, for segmenters with a dilated encoder: 8 or 16 (default: as published)",
        metavar="S",
        used_for="training info",
    )
    num_classes: int | None = flag(
        None, "number of classes; found in the data when not given, checked when given", used_for="training model compare info probe"
    )
    pretrained: bool = flag(
        False,
        "start from published weights, read from pretrained/ or downloaded to it",
        used_for="training probe",
        resumed="start",
    )
    advprop: bool = flag(
        False,
        "with --pretrained: EfficientNet's weights of training with adversarial examples, which see pixels from -1 to 1",
        used_for="training",
        resumed="start",
    )
    init_from: str | None = flag(
        None,
        "start from the weights of this checkpoint or state dict, with the mean and std that a checkpoint has",
        metavar="FILE",
        used_for="training probe",
        resumed="start",
    )
    channels: Literal[1, 3, 4] = flag(
        3,
        "what the network sees of an image: 1, brightness alone, 3 colors, or 4 with the alpha or other fourth channel of RGBA files; "
        "a first convolution that learned another number is fitted",
        used_for="training info",
    )
    drop_rate: float | None = flag(
        None, "dropout before the classifier; the family's published rate when not given", used_for="training info"
    )
    drop_path: float | None = flag(
        None,
        "skip residual branches in training, the last with this probability, earlier ones less (default: as published)",
        metavar="P",
        used_for="training",
    )
    init: str | None = flag(
        None,
        "draw the starting weights by this scheme (--list inits): xavier, kaiming, orthogonal, 'trunc_normal(std=0.02)'",
        metavar="SPEC",
        used_for="training",
    )
    bn_momentum: str = flag(
        "auto",
        "batch-norm momentum: auto raises a family's published value where an epoch is too short for it, published keeps it, or a number",
        metavar="auto|published|M",
        used_for="training",
    )
    bn_images: int = flag(
        512,
        "training images on which batch-norm statistics are counted before every validation; 0 keeps the running averages",
        metavar="N",
        used_for="train",
        least=0,
    )

    def pretrained_name(self) -> str:
        """Return the network whose published weights --pretrained reads: that of the encoder of a segmenter or detector, else --arch."""
        return self.encoder or usual_encoder(self.arch) or staged_part(self.arch) or self.arch

    def described(self) -> str:
        """Return the network in a few words."""
        return describe(self.arch) if usual_encoder(self.arch) is None else f"{self.arch} on {describe(self.pretrained_name())}"


def fixed_bn_momentum(rule: str) -> float | None:
    """Return the number that --bn_momentum names; None for a rule.

    Raises:
        UserError: it is neither.
    """
    if rule in BN_MOMENTUM_RULES:
        return None
    try:
        value = float(rule)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UserError(f"--bn_momentum {rule}: give auto, published, or a number above 0, up to 1")
    return value
