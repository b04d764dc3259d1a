"""RunConfig: the tree of all Options, to and from plain values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from criterions.options import LossOptions
from dataloader.doctor.options import CheckOptions
from dataloader.options import DataOptions
from models.options import ModelOptions
from optim.options import OptimOptions
from utils.errors import UserError, nearest
from utils.flags import cast, flag


@dataclass(frozen=True)
class TrainOptions:
    """How long to train, and what to keep."""

    epochs: int = flag(30, "passes over the training images")
    patience: int | None = flag(None, "stop when validation has not improved for this many epochs", metavar="EPOCHS")
    max_minutes: float | None = flag(None, "stop after this time, with a checkpoint to go on from", metavar="M")
    save_minutes: float = flag(10.0, "minutes between checkpoints inside an epoch", metavar="M")
    resume: str | None = flag(
        None, "run folder or checkpoint: training goes on where it stopped; other actions read the model from it", metavar="RUN|FILE"
    )


@dataclass(frozen=True)
class RuntimeOptions:
    """Machine, precision, processes."""

    seed: int = flag(0, "everything random follows from this number")
    device: Literal["auto", "cpu", "cuda"] = flag("auto", "where to compute")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag("auto", "training precision; auto takes bf16 where the hardware has it")
    compile: bool = flag(False, "compile the model with torch.compile")
    sync_bn: bool = flag(False, "batch-norm statistics over all GPUs")
    nproc: int | None = flag(None, "training processes on this machine, started through torchrun", metavar="N")
    gpus: int | None = flag(None, "the same, one process a GPU", short="-g", metavar="N")
    nodes: int = flag(1, "machines of the run", short="-n", metavar="N")
    rank: int = flag(0, "number of this machine in a run over several")
    init_method: str | None = flag(None, "address of machine 0 in a run over several", metavar="tcp://HOST:PORT")


@dataclass(frozen=True)
class OutputOptions:
    """Where results go and what is said meanwhile."""

    logdir: str = flag("runs", "parent of all run folders", metavar="DIR")
    name: str | None = flag(None, "name of the run folder (default: time and model); a number is added when it exists")
    print_freq: int = flag(50, "steps between two reports", short="-p", metavar="STEPS")
    split: Literal["train", "val", "test"] | None = flag(
        None, "images that --evaluation and --jit look at (default: test, else val; for --jit val)"
    )


@dataclass(frozen=True)
class RunConfig:
    """Every setting of a run. Names are unique over the sections, so a config file is flat."""

    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    train: TrainOptions = field(default_factory=TrainOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    check: CheckOptions = field(default_factory=CheckOptions)

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
        return cls().override(values, source=source)

    def _keys(self) -> Iterator[tuple[str, str]]:
        for section in fields(self):
            for item in fields(getattr(self, section.name)):
                yield section.name, item.name


SECTIONS = {
    "model": ("model", ModelOptions),
    "data": ("data", DataOptions),
    "loss": ("loss", LossOptions),
    "optimizer and schedule": ("optim", OptimOptions),
    "training": ("train", TrainOptions),
    "machine": ("runtime", RuntimeOptions),
    "output": ("output", OutputOptions),
    "data check": ("check", CheckOptions),
}


def run_folder_parent(config: RunConfig, task: str) -> Path:
    """Return the folder in which the runs of `task` lie."""
    return Path(config.output.logdir) / task


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        action: name of an application.
        config: defaults, config file and flags put together.
        given: only what the config file and the flags said; it outranks what a checkpoint says.
        subject: the value of the action's flag, where it takes one (--list models).
    """

    action: str
    config: RunConfig
    given: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""
