"""Options of the model."""

from dataclasses import dataclass

from utils.errors import UserError
from utils.flags import flag

BN_MOMENTUM_RULES = ("auto", "published")


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and where its weights start."""

    arch: str = flag(
        "resnet18",
        "model name (see --list models), torchvision/NAME, timm/NAME or my_file.py:Class",
        short="-a",
        used_for="training model compare info benchmark serve probe",
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
    init_from: str | None = flag(
        None,
        "start from the weights of this checkpoint or state dict, with the mean and std that a checkpoint has",
        metavar="FILE",
        used_for="training probe",
        resumed="start",
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
