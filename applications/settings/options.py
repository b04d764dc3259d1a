"""RunConfig: the tree of all Options, to and from plain values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from criterions.options import LossOptions
from dataloader.checks.options import CheckOptions
from dataloader.options import DataOptions, PrepareOptions, TruthOptions
from models.options import ModelOptions
from optim.options import OptimOptions
from utils.errors import UserError, nearest
from utils.flags import cast, flag

# The value of --resume that finds the run by itself.
AUTO = "auto"


@dataclass(frozen=True)
class TrainOptions:
    """How long to train, and what to keep."""

    task: str | None = flag(
        None, "what the images' targets mean (--list tasks); by default what the data can only mean", metavar="NAME", used_for="data"
    )
    recipe: str | None = flag(
        None,
        "named settings under your own flags (--list recipes): quick, standard, strong, finetune, core, a3, toolbox",
        metavar="NAME",
        used_for="training print_schedule visual_data",
        resumed="start",
    )
    epochs: int = flag(30, "passes over the training images", used_for="training print_schedule visual_data", above=0, resumed="free plan")
    patience: int | None = flag(
        None, "stop when validation has not improved for this many epochs", metavar="EPOCHS", used_for="train", above=0, resumed="free"
    )
    minutes: float | None = flag(
        None,
        "train for this long, in place of --epochs: a plan is made from what this machine does in its first steps, and kept",
        metavar="M",
        used_for="train",
        above=0,
        resumed="plan",
    )
    hours: float | None = flag(None, "the same in hours", metavar="H", used_for="train", above=0, resumed="plan")
    probe_head: bool = flag(
        False,
        "fit the classifier to the frozen trained network before the first step, then train everything (arXiv 2202.10054)",
        used_for="train",
        resumed="start",
    )
    quantization_aware: bool = flag(
        False,
        "fine-tune trained weights (--init_from) with weights and inputs of layers rounded to 8 bits, for files of --export FORMAT --int8",
        used_for="training",
    )
    max_minutes: float | None = flag(
        None,
        "stop this call after this time, wherever the run is, with a checkpoint to go on from",
        metavar="M",
        used_for="train",
        above=0,
        resumed="call",
    )
    save_minutes: float = flag(10.0, "minutes between checkpoints inside an epoch", metavar="M", used_for="train", above=0, resumed="free")
    save_every: int | None = flag(
        None, "keep a checkpoint to go on from every N epochs, epoch-NNNN.pt", metavar="N", used_for="train", above=0, resumed="free"
    )
    keep: int | None = flag(
        None, "keep checkpoints of the N best epochs, best-epoch-NNNN.pt", metavar="N", used_for="train", above=0, resumed="free"
    )
    resume: str | None = flag(
        None,
        "run folder or checkpoint: training goes on where it stopped; other actions read the model from it, or ask an exported file; "
        "auto: training goes on with the newest run of --name, or of this command, else begins one",
        metavar="RUN|FILE|auto",
        used_for="train model",
        resumed="call start",
    )


@dataclass(frozen=True)
class TeachOptions:
    """Teachers and curricula: what to learn from besides the labels, and in which order."""

    distill: bool = flag(
        False,
        "learn from the mean of all distill*.txt of the data folder, which --knowledge writes, instead of the labels",
        used_for="training",
    )
    sidecar_dir: str | None = flag(
        None,
        "where distill*.txt, label.txt and curriculum.txt are written and read (default: the data folder)",
        metavar="DIR",
        used_for="training knowledge make_curriculum",
    )
    teacher: tuple[str, ...] = flag(
        (), "learn from the answers of these models: runs, checkpoints, exported files", metavar="RUN|FILE", used_for="training"
    )
    distill_loss: str = flag(
        "kd",
        "distance to the teacher (--list distillations): kd, hard, 'dkd(alpha=1,beta=8)'",
        metavar="SPEC",
        used_for="training",
        spec=True,
    )
    distill_temperature: float = flag(
        4.0, "distillation temperature: divides the logits of teacher and student", metavar="T", used_for="training"
    )
    distill_weight: float = flag(
        0.5, "share of --teacher in the loss; the rest is left to the labels", metavar="SHARE", used_for="training"
    )
    distill_features: Literal["mse", "cosine"] | None = flag(
        None, "compare the last feature maps too (bare: cosine)", const="cosine", used_for="training"
    )
    distill_feature_weight: float = flag(1.0, "factor of the distance between feature maps", used_for="training")
    curriculum_learning: bool = flag(
        False,
        "fixed weights: weigh training images by curriculum.txt, which --make_curriculum writes; unlisted ones by 0",
        used_for="training",
    )
    curriculum: str | None = flag(
        None,
        "self-paced weights: weigh training images anew every epoch, by their losses (--list curricula): 'selfpaced(start=0.5,until=0.7)'",
        metavar="SPEC",
        used_for="training",
        spec=True,
    )
    curriculum_thresholds: tuple[float, ...] = flag(
        (0.7, 0.5, 0.3, 0.0),
        "--make_curriculum: probabilities of the label above which an image belongs to a course",
        metavar="P",
        used_for="make_curriculum",
    )
    curriculum_weights: tuple[float, ...] = flag(
        (1.0, 0.7, 0.4, 0.1), "--make_curriculum: weight of each course", metavar="W", used_for="make_curriculum"
    )

    def courses(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return thresholds and weights of the courses.

        Raises:
            UserError: the number of weights differs, they do not fall, or a value is out of range.
        """
        thresholds, weights = self.curriculum_thresholds, self.curriculum_weights
        shown = f"--curriculum_thresholds {' '.join(f'{value:g}' for value in thresholds)}"
        also = f"--curriculum_weights {' '.join(f'{value:g}' for value in weights)}"
        if len(thresholds) != len(weights):
            raise UserError(f"{shown} and {also}: write one weight for each threshold, not {len(weights)} for {len(thresholds)}")
        if not all(0 <= value < 1 for value in thresholds) or any(a <= b for a, b in pairwise(thresholds)):
            raise UserError(f"{shown}: write probabilities from 0 up to, not including, 1, the largest first")
        if not all(0 <= value < float("inf") for value in weights) or any(a < b for a, b in pairwise(weights)):
            raise UserError(f"{also}: write numbers of 0 or more, the largest first; to turn the order round, edit the file")
        if not any(value > 0 for value in weights):
            raise UserError(f"{also}: no weight is positive, so no image would be trained on")
        return thresholds, weights


@dataclass(frozen=True)
class RuntimeOptions:
    """Machine, precision, processes."""

    seed: int = flag(0, "everything random follows from this number", used_for="data held_out compare print_schedule", resumed="position")
    device: Literal["auto", "cpu", "cuda"] = flag(
        "auto", "where to compute", used_for="training info processes explain predict serve probe", resumed="free"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto",
        "training precision; auto takes bf16 where the hardware has it",
        used_for="training processes explain predict serve probe",
        resumed="free",
    )
    compile: Literal["off", "on", "auto"] = flag(
        "off",
        "compile the steps with torch.compile; auto measures both and compiles where the run is long enough to pay for it",
        const="on",
        used_for="train",
        resumed="free",
    )
    checkpointing: bool = flag(
        False,
        "compute the activations of every block again in the backward pass instead of keeping them: less memory, slower steps",
        used_for="train",
        resumed="free",
    )
    sync_bn: bool = flag(False, "batch-norm statistics over all GPUs", used_for="training")
    nproc: int | None = flag(
        None,
        "training processes on this machine, started through torchrun",
        metavar="N",
        used_for="processes",
        above=0,
        resumed="call",
    )
    gpus: int | None = flag(None, "the same, one process per GPU", short="-g", metavar="N", used_for="processes", above=0, resumed="call")
    nodes: int = flag(1, "machines of the run", short="-n", metavar="N", used_for="processes", above=0, resumed="call")
    rank: int = flag(0, "number of this machine in a run over several", used_for="processes", resumed="call")
    init_method: str | None = flag(
        None, "address of machine 0 in a run over several", metavar="tcp://HOST:PORT", used_for="processes", resumed="call"
    )


@dataclass(frozen=True)
class SweepOptions:
    """How --sweep searches."""

    trials: int = flag(
        27, "--sweep: settings to try; of each three the best goes on, trained three times as long", used_for="sweep", above=0
    )
    jobs: int | None = flag(
        None,
        "--sweep: trainings at a time (default: one per GPU; on a CPU one per core, as memory allows)",
        metavar="N",
        used_for="sweep",
        above=0,
    )


@dataclass(frozen=True)
class OutputOptions:
    """Where results go and what is said meanwhile."""

    logdir: str = flag(
        "runs",
        "parent of all run folders",
        metavar="DIR",
        used_for="training print_schedule visual_data check convert_labels model compare table benchmark probe",
        resumed="place",
    )
    name: str | None = flag(
        None,
        "name of the run folder (default: time and model); a number is added when it exists",
        used_for="training print_schedule visual_data check convert_labels compare table prune benchmark probe",
        resumed="place",
    )
    print_freq: int = flag(50, "steps between two reports", short="-p", metavar="STEPS", used_for="train", above=0, resumed="free")
    log_level: Literal["info", "warning", "error"] = flag("info", "what the terminal shows of the lines of log.txt", resumed="call")
    filter: str | None = flag(
        None,
        "show only the names of --list that match this shell pattern, such as 'res*'",
        metavar="PATTERN",
        used_for="list",
        resumed="call",
    )
    split: Literal["train", "val", "test"] | None = flag(
        None,
        "images that --evaluation and --export look at (default: test, else val; for --export val)",
        used_for="held_out compare",
    )


@dataclass(frozen=True)
class EvaluationOptions:
    """How --evaluation looks at a model."""

    report: bool = flag(True, "let --evaluation write report.html too; --no_report leaves it out", used_for="evaluation")
    report_ok_ng: bool = flag(
        False,
        "let --evaluation of a detector also write ok.xlsx and ng.xlsx, with pictures and heat maps, and summary.xlsx (package openpyxl)",
        used_for="evaluation",
    )
    tta: str | None = flag(
        None,
        "average the answers over views of each image: hflip, vflip, scale(FACTORS); bare: hflip (--predict: of boxes alone)",
        const="hflip",
        metavar="VIEWS",
        used_for="evaluation predict",
    )
    tiles: bool = flag(
        False,
        "look at images in overlapping tiles of --image_size, at their own scale, instead of bringing each to that size (masks and boxes; "
        "a model of --crop does so by itself)",
        used_for="evaluation predict",
    )
    target: str | None = flag(
        None,
        "choose thresholds of every class on val, such as 'miss<=0.01', 'error<=0.02', 'coverage>=0.9'; the least score of boxes by "
        "'miss<=0.1' or 'false_alarm<=0.1'",
        metavar="PROMISE",
        used_for="evaluation",
    )
    calibrate: bool = flag(
        False, "fit temperature and thresholds on val again and store them in the checkpoint of --resume", used_for="evaluation"
    )


@dataclass(frozen=True)
class SingleImageOptions:
    """What looking at single images writes: --visual_data and --predict."""

    visual_method: str | None = flag(
        None,
        "heat maps of what the model of --resume looked at: grad-cam, layer-cam, cam and others (docs/explain.md), several with commas, "
        "or all, which also measures how far each can be believed",
        metavar="NAME|all",
        used_for="explain visual_data serve",
    )
    limit: int | None = flag(
        None,
        "most images that --visual_data (default 48, of augmented training images 6 in a row each) and --predict (default all, of a "
        "camera 10) look at",
        metavar="N",
        used_for="explain visual_data predict",
        above=0,
    )
    top_k: int = flag(5, "classes that --predict writes for each image", metavar="K", used_for="predict", above=0)
    reject: float | None = flag(
        None,
        "--predict and --serve give no answer below this probability (default: what --calibrate stored)",
        metavar="P",
        used_for="predict serve",
    )
    annotate: bool = flag(False, "--predict also writes copies of the images with the labels or boxes on them", used_for="predict")
    embed: bool = flag(
        False, "--predict also writes features.npz: the vector that the classifier reads, for every image", used_for="predict"
    )
    frames: float = flag(1.0, "frames per second that --predict takes from a video or a camera", metavar="F", used_for="predict", above=0)


@dataclass(frozen=True)
class BoxOptions:
    """Which boxes a detector answers."""

    conf: float | None = flag(
        None,
        "least score of an answered box, from 0 to 1 (default: that of the best F1 on val); AP looks at all boxes from 0.001 on",
        metavar="P",
        used_for="evaluation predict exports benchmark serve",
    )
    nms: float | None = flag(
        None,
        "of two boxes that overlap more than this the surer one is answered; 1 keeps both (default: 0.65)",
        metavar="IOU",
        used_for="evaluation predict exports benchmark serve",
    )
    max_detections: int | None = flag(
        None,
        "most boxes that are answered for an image (default: 300)",
        metavar="N",
        used_for="evaluation predict exports benchmark serve",
        above=0,
    )
    agnostic: bool = flag(
        False, "let a box drop those that it overlaps of other classes, too", used_for="evaluation predict exports benchmark serve"
    )
    cut_out_boxes: bool = flag(False, "--predict also writes what every answered box shows, a folder a class", used_for="predict")


@dataclass(frozen=True)
class ExportOptions:
    """What --export and --jit write."""

    dynamic_size: bool = flag(
        True,
        "take images of any size, with the geometry in the file, where the format has room for it; --no_dynamic_size: images of the "
        "network's own size alone",
        used_for="exports",
    )
    half: bool = flag(False, "write the network in 16-bit floating point", used_for="exports")
    int8: bool = flag(
        False,
        "write the network in 8-bit integers (onnx, openvino), with layers that cost accuracy left in floating point",
        used_for="exports",
    )
    int8_images: int = flag(300, "--int8: training images that choose the ranges of values", metavar="N", least=1, used_for="exports")
    max_drop: float = flag(
        0.005, "--int8: how much of the accuracy on validation images may be lost, as a share", metavar="X", least=0, used_for="exports"
    )
    nms_inside: bool = flag(
        True,
        "choose among boxes in the file, where the format has room for it (onnx, openvino); --no_nms_inside: the file answers every place",
        used_for="exports",
    )
    with_features: bool = flag(False, "let the file also answer the vector that the classifier reads", used_for="exports")
    with_cam: bool = flag(False, "let the file also answer the class map: what speaks for each class, place by place", used_for="exports")
    opset: int | None = flag(None, "version of the operators of ONNX (default: the exporter's)", metavar="N", used_for="exports")
    tolerance: float | None = flag(
        None,
        "how far a probability or score of the file may lie from the model's (default: by task and "
        "precision; with --int8 any); the mean that --half allows masks stays as it is",
        metavar="P",
        used_for="exports",
    )
    min_accuracy: float | None = flag(
        None,
        "--benchmark and --export best: least accuracy, as a share, of what may win (default for --export best: the model's, less "
        "--max_drop)",
        metavar="A",
        used_for="benchmark export",
    )
    max_ms: float | None = flag(
        None,
        "--export best: most milliseconds for one image of what may win",
        metavar="T",
        above=0,
        used_for="export",
    )


@dataclass(frozen=True)
class ServeOptions:
    """Where --serve listens, and what a request may cost."""

    host: str = flag(
        "127.0.0.1",
        "address that --serve listens on; 127.0.0.1 is this machine alone, 0.0.0.0 all its addresses, which asks for a token",
        metavar="ADDRESS",
        used_for="serve",
    )
    port: int = flag(8000, "port that --serve listens on; 0 takes any that is free", metavar="P", used_for="serve", least=0)
    token: str | None = flag(
        None, "what requests must carry (default: none on this machine alone, else one that is made and printed)", used_for="serve"
    )
    max_mb: float = flag(64.0, "most megabytes of a request to --serve", metavar="MB", used_for="serve", above=0)
    max_images: int = flag(64, "most images of a request to --serve", metavar="N", used_for="serve", above=0)
    max_megapixels: float = flag(50.0, "most megapixels of an image that --serve decodes", metavar="MP", used_for="serve", above=0)
    decode_seconds: float = flag(10.0, "most seconds that --serve spends on decoding a file", metavar="S", used_for="serve", above=0)
    wait_ms: float = flag(
        4.0, "milliseconds that an image waits for others, up to --batch_size, to go together", metavar="MS", used_for="serve", least=0
    )


@dataclass(frozen=True)
class RunConfig:
    """Every setting of a run. Names are unique over the sections, so a config file is flat."""

    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    truths: TruthOptions = field(default_factory=TruthOptions)
    prepare: PrepareOptions = field(default_factory=PrepareOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    teach: TeachOptions = field(default_factory=TeachOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    sweep: SweepOptions = field(default_factory=SweepOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    look: SingleImageOptions = field(default_factory=SingleImageOptions)
    boxes: BoxOptions = field(default_factory=BoxOptions)
    export: ExportOptions = field(default_factory=ExportOptions)
    serve: ServeOptions = field(default_factory=ServeOptions)
    check: CheckOptions = field(default_factory=CheckOptions)

    @property
    def split_seed(self) -> int:
        """The number by which images are divided into splits."""
        return self.runtime.seed if self.data.split_seed is None else self.data.split_seed

    def override(self, values: Mapping[str, Any], *, source: str = "config") -> "RunConfig":
        """Return a config in which the named values are replaced.

        Raises:
            UserError: a key is unknown or a value does not fit.
        """
        owners = {name: section for section, name in self._keys()}
        changed: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name not in owners:
                raise UserError(f"{source}: unknown setting '{name}'.{nearest(name, list(owners))}")
            section = owners[name]
            changed.setdefault(section, {})[name] = cast(type(getattr(self, section)), name, value)
        return replace(self, **{section: replace(getattr(self, section), **new) for section, new in changed.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as one flat dict of plain values, ready for JSON."""
        flat = {name: getattr(getattr(self, section), name) for section, name in self._keys()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in flat.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "config") -> "RunConfig":
        """Return the config that `to_dict` wrote; settings that are not named take their default."""
        return cls().override(with_present_names(values), source=source)

    def _keys(self) -> Iterator[tuple[str, str]]:
        for section in fields(self):
            for item in fields(getattr(self, section.name)):
                yield section.name, item.name


# What settings, and values of them, are called in checkpoints and run folders that were written before.
FORMER_NAMES = {"crops": "cut_out_boxes", "empty_masks": "missing_is_empty"}
FORMER_VALUES = {("aug", "detect"): "mosaic_hsv"}


def with_present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that were saved once, under the names of today."""
    named = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    return {name: FORMER_VALUES.get((name, value), value) if isinstance(value, str) else value for name, value in named.items()}


SECTIONS = {
    "model": ModelOptions,
    "data": DataOptions,
    "masks and boxes": TruthOptions,
    "preparing data": PrepareOptions,
    "loss": LossOptions,
    "optimizer and schedule": OptimOptions,
    "training": TrainOptions,
    "teachers and curricula": TeachOptions,
    "machine": RuntimeOptions,
    "sweep": SweepOptions,
    "output": OutputOptions,
    "evaluation": EvaluationOptions,
    "single images": SingleImageOptions,
    "answered boxes": BoxOptions,
    "export": ExportOptions,
    "serve": ServeOptions,
    "data check": CheckOptions,
}


def flag_metadata(name: str) -> Mapping[str, Any]:
    """Return what `flag` declared of a setting of RunConfig."""
    return next(item.metadata for options in SECTIONS.values() for item in fields(options) if item.name == name)


def settings_where(declared: Callable[[Mapping[str, Any]], bool]) -> tuple[str, ...]:
    """Return the names of the settings whose declaration fulfills a condition."""
    return tuple(item.name for options in SECTIONS.values() for item in fields(options) if declared(item.metadata))


def run_folder_parent(output: OutputOptions, task: str) -> Path:
    """Return the folder in which the runs of `task` lie."""
    return Path(output.logdir) / task


def is_run_folder(folder: Path) -> bool:
    """Whether a run was written there, rather than a checkpoint copied."""
    return (folder / "config.json").is_file()


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        action: name of an application.
        config: defaults, config file and flags put together.
        given: only what the config file and the flags said; it outranks what a checkpoint says.
        subject: the value of the action's flag, where it takes one (--list models).
        subjects: its values, where it takes any number (--compare RUN RUN).
        typed: the flags of the command line, without those of a config file.
        left_out: the settings of the config file that belong to the optimizer which the command line replaces.
    """

    action: str
    config: RunConfig
    given: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""
    subjects: tuple[str, ...] = ()
    typed: frozenset[str] = frozenset()
    left_out: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resume(self) -> str:
        """The model that --resume names, for actions that need one."""
        assert self.config.train.resume, "flag_checks.py asks for --resume"
        return self.config.train.resume
