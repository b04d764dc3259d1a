"""Options of the data."""

from dataclasses import dataclass
from typing import Literal

from dataloader.truth_reading import TruthReading
from utils.flags import flag
from utils.spec import parse_specs


@dataclass(frozen=True)
class DataOptions:
    """Where the images are, their geometry, and what training does to them."""

    data: str = flag(
        "data",
        "folder with train/, val/, test/ of class folders, one folder of classes, a list of image,labels (.csv, .txt, .json), tar shards, "
        "or a data set by name (digits, cifar10, ...: --list sources)",
        metavar="DIR|FILE|NAME",
        used_for="data held_out compare write_matrix",
    )
    image_size: tuple[int, int] = flag(
        (224, 224), "input height and width", metavar="H W", used_for="data model compare info", resumed="plan"
    )
    resize: Literal["fit", "crop", "stretch"] = flag(
        "fit",
        "geometry: fit and pad with black, cover and crop the center, or stretch",
        used_for="training probe visual_data model compare",
    )
    mean_std: str | None = flag(
        None,
        "mean and standard deviation of the channels from this JSON file, such as --prepare writes",
        metavar="FILE",
        used_for="training visual_data shard knowledge make_curriculum probe",
        resumed="start",
    )
    batch_size: int = flag(
        32,
        "images per step, over all processes",
        short="-b",
        metavar="N",
        used_for="training model compare serve probe",
        above=0,
        resumed="position plan",
    )
    batch: Literal["auto"] | None = flag(
        None, "in place of --batch_size: the largest batch that fits into the memory of the GPU", used_for="train", resumed="free start"
    )
    workers: int | None = flag(
        None,
        "loader processes for each training process; one per core up to 8 when not given",
        short="-j",
        metavar="N",
        used_for="data model compare serve",
        least=0,
        resumed="free",
    )
    val_share: float | None = flag(
        None,
        "share held out for validation; default: 0.15 of one folder of classes, nothing of a split without val/",
        metavar="SHARE",
        used_for="data knowledge make_curriculum",
    )
    test_share: float = flag(
        0.15, "share held out for the test when one folder of classes is split", used_for="data knowledge make_curriculum"
    )
    split_seed: int | None = flag(
        None,
        "the images are divided by this number (default: --seed), so that runs of several seeds share their splits",
        metavar="N",
        used_for="data",
        resumed="position",
    )
    group_by: str | None = flag(
        None,
        "never separate images of one group: a regular expression for the path, or a list of image,group",
        metavar="REGEX|CSV",
        used_for="data",
    )
    cache: Literal["off", "ram", "disk"] = flag(
        "off",
        "keep decoded images: ram for this run, disk for later runs too, in --cache_dir; made once, before training",
        used_for="training visual_data",
        resumed="free",
    )
    cache_dir: str | None = flag(
        None, "folder of --cache disk (default: ~/.cache/darkroom/images)", metavar="DIR", used_for="train", resumed="free"
    )
    cache_size: int | None = flag(
        None,
        "with --aug, shorter side of the images in the cache (default: twice the model's size)",
        metavar="PIXELS",
        used_for="training visual_data",
        above=0,
        resumed="free",
    )
    exact_decode: bool = flag(
        False,
        "decode every pixel of training images; without it large JPEG files come at a lower scale, twice the model's size or more",
        used_for="training visual_data",
    )
    strict: bool = flag(
        False,
        "stop at an unreadable image, or a training image that no --distill file knows, instead of a warning",
        used_for="training held_out compare prepare probe",
    )
    aug: str | None = flag(
        None,
        "augment training images: the name of a preset, a spec such as 'flip|crop(0.2)|color(0.3)', or none (default: none; of detectors "
        "mosaics, colors and flips)",
        const="default",
        metavar="PRESET|SPEC",
        used_for="training visual_data",
        spec=True,
    )
    aug_config: str | None = flag(
        None,
        "augment by a .json, .yaml or .py file of ordered 'name: {arguments}', in place of --aug",
        metavar="FILE",
        used_for="training visual_data",
    )
    aug_splits: int = flag(
        1,
        "copies of every image in a batch: the clean one and N-1 augmented ones, for --jsd",
        used_for="training visual_data",
        above=0,
        resumed="position",
    )
    aug_repeats: int = flag(
        1,
        "times that every image is in a batch, each augmented differently; an epoch then has 1/N of the images (repeated augmentation)",
        used_for="training visual_data",
        above=0,
        resumed="position",
    )
    mixup: bool = flag(False, "mix pairs of training images and their targets", used_for="training visual_data")
    mixup_alpha: float = flag(0.2, "mixup: both parameters of the Beta distribution of the mixing share", used_for="training visual_data")
    mixup_ratio: float = flag(
        1.0, "mixup, cutmix: probability that a batch is mixed; a pair or an image with --mix_mode", used_for="training visual_data"
    )
    cutmix: bool = flag(
        False, "put a rectangle of one training image into another; with --mixup, one of the two at random", used_for="training visual_data"
    )
    cutmix_alpha: float = flag(
        1.0, "cutmix: both parameters of the Beta distribution of the area that stays", used_for="training visual_data"
    )
    mix_mode: Literal["batch", "pair", "elem"] = flag(
        "batch",
        "mixup, cutmix: one share for a batch, for each pair of images that are mixed with each other, or for each image",
        used_for="training visual_data",
    )
    mix_off_epochs: int = flag(0, "last epochs in which nothing is mixed", metavar="EPOCHS", used_for="training visual_data", least=0)
    plain_epochs: int | None = flag(
        None,
        "last epochs in which no images are put together (mosaic, box_mixup), and YOLOX adds its late loss (default: 15 percent of the "
        "run, 15 at most)",
        metavar="EPOCHS",
        used_for="training visual_data",
        least=0,
    )
    multi_scale: bool = flag(False, "resize every training batch at random, by up to 15 percent", used_for="training visual_data")
    size_schedule: str | None = flag(
        None,
        "small images first: '128:0.5,160:0.8,224' is width:share of the epochs; validation keeps --image_size",
        metavar="W:SHARE,...",
        used_for="training visual_data",
        resumed="plan",
    )
    sampler: str | None = flag(
        None,
        "how often each image is drawn: balanced, repeat(0.01), file(weights.csv); else once an epoch",
        metavar="SPEC",
        used_for="training visual_data",
        resumed="position",
        spec=True,
    )
    epoch_size: int | None = flag(
        None,
        "images per epoch; the next epoch continues where this one stopped",
        metavar="N",
        used_for="training visual_data",
        above=0,
        resumed="position plan",
    )
    fold: str | None = flag(
        None, "cross-validation: I/K validates on part I, from 0, of K parts of train and val", metavar="I/K", used_for="data model compare"
    )

    def check_names(self) -> None:
        """Check that augmentations and sampler can be read and are known, without importing them.

        Raises:
            UserError: they are not.
        """
        from dataloader import SAMPLERS
        from dataloader.augment.check_names import named_operations

        named_operations(self.aug or "")
        for spec in parse_specs(self.sampler) if self.sampler is not None else ():
            SAMPLERS.check(spec.name)


@dataclass(frozen=True)
class TruthOptions:
    """How masks and boxes are read, and large images cut."""

    labels: str | None = flag(
        None,
        "table of the classes in masks, with columns name and id, or name,r,g,b (default: labels.csv beside them, else their numbers); "
        "of boxes in text files, in place of data.yaml",
        metavar="FILE",
        used_for="data held_out",
    )
    ignore: tuple[str, ...] = flag(
        (),
        "classes, by name or id, that count for nothing in training and evaluation, in addition to 255",
        metavar="NAME|ID",
        used_for="data held_out",
    )
    missing_is_empty: bool = flag(
        False,
        "images without a mask show the first class alone, and those without a file of boxes nothing; without this flag they are an error",
        also=("--empty_masks",),
        used_for="data held_out",
    )
    crop: bool = flag(
        False,
        "train on crops of --image_size, at the images' own scale, every second one around a class that is drawn first (for large images)",
        used_for="training visual_data",
    )

    def reading(self) -> TruthReading:
        """Return how masks and boxes are read."""
        return TruthReading(self.labels, self.ignore, self.missing_is_empty)


@dataclass(frozen=True)
class PrepareOptions:
    """What --prepare and --shard write."""

    smaller_side: int = flag(256, "--prepare: smaller side of the written images, in pixels", used_for="prepare", above=0)
    center_crop: bool = flag(False, "--prepare: cut each image to its centered square", used_for="prepare")
    shard_size: float = flag(1000.0, "--shard: megabytes of images per archive", metavar="MB", used_for="shard", above=0)
