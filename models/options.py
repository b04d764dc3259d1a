"""Options of the model shelf."""

from dataclasses import dataclass

from utils.flags import flag


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and where its weights start."""

    arch: str = flag("resnet18", "model name (see --list models), torchvision/NAME, timm/NAME or my_file.py:Class", short="-a")
    num_classes: int | None = flag(None, "number of classes; found in the data when not given, checked when given")
    pretrained: bool = flag(False, "start from published weights: pretrained/NAME.pth or .safetensors, else downloaded there")
    init_from: str | None = flag(
        None, "start from the weights of this checkpoint or state dict, with the mean and std that a checkpoint has", metavar="FILE"
    )
    drop_rate: float | None = flag(None, "dropout before the classifier; the family's published rate when not given")
    drop_path: float | None = flag(
        None, "skip residual branches in training, the last with this probability, earlier ones less (default: as published)", metavar="P"
    )
    init: str | None = flag(
        None, "draw the starting weights anew (--list inits): xavier, kaiming, orthogonal, 'trunc_normal(std=0.02)'", metavar="SPEC"
    )
    bn_momentum: str = flag(
        "auto",
        "batch-norm momentum: auto raises a family's published value where an epoch is too short for it, published keeps it, or a number",
        metavar="auto|published|M",
    )
    bn_images: int = flag(
        512,
        "training images on which batch-norm statistics are counted before every validation; 0 keeps the running averages",
        metavar="N",
    )
