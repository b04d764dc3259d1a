"""Options of the data shelf."""

from dataclasses import dataclass
from typing import Literal

from utils.flags import flag


@dataclass(frozen=True)
class DataOptions:
    """Where the images are, their geometry, and what training does to them."""

    data: str = flag(
        "data",
        "folder with train/, val/, test/ of class folders, one folder of classes, a list of image,labels, or a built-in set (digits)",
        metavar="DIR|CSV|NAME",
    )
    image_size: tuple[int, int] = flag((224, 224), "input height and width", metavar="H W")
    resize: Literal["fit", "crop", "stretch"] = flag("fit", "geometry: fit and pad with black, cover and crop the center, or stretch")
    batch_size: int = flag(32, "images a step, over all processes", short="-b", metavar="N")
    batch: Literal["auto"] | None = flag(None, "in place of --batch_size: the largest batch that fits into the memory of the GPU")
    workers: int | None = flag(
        None, "loader processes for each training process; one a core up to 8 when not given", short="-j", metavar="N"
    )
    val_share: float = flag(0.15, "share held out for validation when one folder of classes is split")
    test_share: float = flag(0.15, "share held out for the test when one folder of classes is split")
    strict: bool = flag(False, "stop at a training image that is unreadable, or that no --distill file knows, instead of a warning")
    aug: str | None = flag(
        None,
        "augment training images: a recipe name, or a spec such as 'flip|crop(0.2)|color(0.3)'",
        const="default",
        metavar="RECIPE|SPEC",
    )
    mixup: bool = flag(False, "mix pairs of training images and their targets")
    mixup_alpha: float = flag(0.2, "mixup: both parameters of the Beta distribution of the mixing share")
    mixup_ratio: float = flag(1.0, "mixup: probability that a batch is mixed")
