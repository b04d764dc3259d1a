"""What trains, assembled once: a run, the search for a rate and that for a batch size take of it what they need."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from applications import assemble
from applications.assemble import Machine
from applications.assemble.seen_images import NONE, Seen
from applications.contract import Task, Transform
from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.fit import TrainingRun
from applications.engine.norms_before_validation import BatchNormRecalibration
from applications.engine.run_length import RunLength
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.progress import Observer, Progress
from applications.settings.options import RunConfig
from applications.sidecars.apply import apply_sidecars
from applications.training.inherited_images import training_image_hashes
from applications.training.schedule_map import ScheduleMap
from applications.training.teaching import Teaching, build_teaching
from applications.training.time_plan import Speed
from applications.training.timed_length import TimedLength
from dataloader.augment.chain import Augment
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.loading.size_schedule import parse_sizes
from dataloader.splits.catalog import Catalog
from dataloader.splits.integrity import fingerprint
from dataloader.splits.split import Split
from models.depthwise_gradients import speed_up_depthwise_gradients
from models.detectors.anchors import AUTO as AUTO_ANCHORS
from models.fake_quantization import fake_quantize
from models.memory_layout import lay_out
from models.slimming.layer_widths import set_widths
from optim.schedules import Schedule
from optim.stepper import Stepper
from utils.errors import UserError
from utils.logs import log
from utils.program_clock import program_seconds
from utils.runtime import StopSignal
from utils.text import counted


class CountedLater(Sequence[float]):
    """Numbers that are counted when the first of them is asked for."""

    def __init__(self, count: Callable[[], list[float]], length: int) -> None:
        self._count, self._length = count, length

    @cached_property
    def _counts(self) -> list[float]:
        return self._count()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: Any) -> Any:
        return self._counts[place]


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """Everything that trains. A part is built when it is first asked for, with the parts that it rests on, and kept.

    Attributes:
        config: the settings.
        machine: where it computes.
        catalog: the images.
        split: those of training, with what sidecars make of them.
        preprocess: what the network sees of an image.
        augment: what is done to training images.
        content: of the checkpoint whose network goes on; None for starting weights. What else it holds, `build_or_restore.py` restores.
        cached: whether --cache takes effect.
        batches: of one process in an epoch; None for those of the loader.
        timing: with --minutes, what was measured for the plan: `speed` of training, `end_seconds` of an epoch, and where epochs have
            more images than the settings say, in reserve, their `epoch_size`, and at which of them, as a number, the run `ends`.
    """

    config: RunConfig
    machine: Machine
    catalog: Catalog
    split: Split
    preprocess: Preprocess
    augment: Augment
    content: Mapping[str, Any] | None = None
    cached: bool = False
    batches: int | None = None
    timing: Mapping[str, Any] | None = None

    @cached_property
    def class_counts(self) -> Sequence[float]:
        """How many images of an epoch each class has, as the loss sees them; of masks the pixels, of boxes their number."""
        return self._count_classes()

    @cached_property
    def class_shares(self) -> Sequence[float]:
        """The same, with a multi-label image as an equal part of an image for each; of masks and boxes the counts themselves."""
        return self.class_counts if self.split.truths is not None else self._count_classes(spread=True)

    def _count_classes(self, *, spread: bool = False) -> Sequence[float]:
        if (truths := self.split.truths) is not None:
            # It opens every mask, which most losses do not need.
            return CountedLater(lambda: truths.count(self.split.paths).astype(float).tolist(), len(self.catalog.classes))
        return assemble.count_classes(self.split, len(self.catalog.classes), sampler=self.config.data.sampler, spread=spread)

    @cached_property
    def kind(self) -> type[Task]:
        """The row of TASKS that trains."""
        return assemble.choose_task(self.config, self.catalog)

    @cached_property
    def task(self) -> Task:
        return assemble.build_task(
            self.config.loss,
            self.catalog.classes,
            self.preprocess,
            self.machine.device,
            kind=self.kind,
            class_counts=self.class_counts,
            class_shares=self.class_shares,
        )

    @property
    def _plan(self) -> Mapping[str, Any] | None:
        """What --minutes measured for this run, or what the checkpoint has of it; None without that flag."""
        return self.timing if self.timing is not None or self.content is None else self.content.get("plan")

    @cached_property
    def train_loader(self) -> Loader:
        reserve = (self._plan or {}).get("epoch_size")
        config = self.config if reserve is None else self.config.override({"epoch_size": reserve})
        return assemble.build_loader(config, self.split, self.preprocess, self.machine, augment=self.augment, cached=self.cached)

    @cached_property
    def val_loader(self) -> Loader:
        held_out = self.catalog.splits["val"]
        return assemble.build_loader(self.config, held_out, self.preprocess, self.machine, cached=self.cached, tolerant=True)

    @property
    def batches_per_epoch(self) -> int:
        """Of one process."""
        return len(self.train_loader.plan) if self.batches is None else self.batches

    @cached_property
    def model(self) -> nn.Module:
        """The bare network on its device, with its starting weights; those of a checkpoint are not loaded yet."""
        config, machine = self.config, self.machine
        starts = config if self.content is None else replace(config, model=replace(config.model, pretrained=False, init_from=None))
        steps = max(1, self.batches_per_epoch)
        model = assemble.build_network(starts, self.kind, self.catalog.classes, steps, self.class_counts, images=len(self.split))
        if self.content is not None:
            set_widths(model, self.content["channels"])
        else:
            self._fit_to_images(model)
        if config.runtime.sync_bn:
            model = assemble.prepare_sync_bn(model, machine)
        if machine.device.type == "cpu" and machine.precision.name == "bf16":
            speed_up_depthwise_gradients(model)
        if config.train.quantization_aware:
            _round_layers(model, config.model.arch, self.preprocess.image_size)
        return lay_out(model.to(machine.device), machine.precision.memory_format)

    def _fit_to_images(self, model: nn.Module) -> None:
        """Give a fresh network what its options leave to the training images."""
        options = self.config.model
        if options.init_from:
            assemble.measure_folded_norms(model, self.split, self.preprocess)
        if options.anchors == AUTO_ANCHORS:
            assemble.set_auto_anchors(model, self.split, self.preprocess, seed=self.config.runtime.seed)

    @cached_property
    def length(self) -> RunLength:
        """How far the run goes: to its epochs, or with --minutes as far as the time allows."""
        config, minutes = self.config, self.config.train.minutes
        if minutes is None:
            return RunLength(config.train.epochs)
        state, timing = None if self.content is None else self.content["plan"], self._plan
        assert timing is not None, "with_plan comes before"
        steps = assemble.count_steps(config.optim, self.batches_per_epoch)
        plan, data = ScheduleMap(steps * config.train.epochs, steps), config.data
        if "ends" in timing:
            plan = plan.ending(0, max(1, round(steps * timing["ends"])))
        return TimedLength(
            minutes,
            plan,
            parse_sizes(data.size_schedule or str(data.image_size[1]), data.image_size, config.train.epochs),
            Speed(*timing["speed"]),
            images=self.train_loader.plan.samples / steps,
            accumulate=config.optim.accumulate,
            end_seconds=timing["end_seconds"],
            epoch_size=timing.get("epoch_size"),
            clock=program_seconds,
            world=self.machine.world,
            state=state,
        )

    @cached_property
    def progress(self) -> Progress:
        return Progress()

    @cached_property
    def teaching(self) -> Teaching:
        return build_teaching(
            self.config, self.model, self.task, self.catalog, self.progress, self.machine,
            images=len(self.split), done=lambda: self.length.done(self.progress),
        )  # fmt: skip

    @cached_property
    def mixes(self) -> Sequence[Transform]:
        """What is done to training batches on the device, apart from the pace of a curriculum."""
        return assemble.build_transforms(self.config, len(self.catalog.classes))

    @property
    def transforms(self) -> Sequence[Transform]:
        """What is done to training batches on the device, in order."""
        return [*self.teaching.transforms(), *self.mixes]

    @cached_property
    def network(self) -> nn.Module:
        """The network as training calls it: compiled and distributed when asked for."""
        return assemble.wrap_network(self.config, self.teaching.network, self.machine)

    @cached_property
    def stepper(self) -> Stepper:
        """The stepper of a run that is validated."""
        return assemble.build_stepper(
            self.config, self.model, self.network, self.machine, self.batches_per_epoch, position=self.length.schedule_position,
            extra_modules=self.teaching.extra_modules, figures=self.task.metric_names,
        )  # fmt: skip

    def trial_stepper(self, schedule: Schedule | None = None) -> Stepper:
        """Return the stepper of a throw-away network on one process; a schedule takes the place of the run's own."""
        network, extra_modules = self.teaching.network, self.teaching.extra_modules
        return assemble.build_stepper(
            self.config, self.model, network, self.machine, self.batches_per_epoch, schedule=schedule, extra_modules=extra_modules
        )

    @cached_property
    def data_fingerprint(self) -> str:
        """A hash of the training images, by which a resumed run notices that they have changed."""
        return fingerprint(self.split)

    @cached_property
    def seen(self) -> Seen:
        """The images that the checkpoints of the run name as its training images; only the first process writes any."""
        first = self.machine.world.is_first
        return training_image_hashes(self.config, self.catalog, self.split, self.content) if first else Seen(NONE, NONE)

    def training_run(
        self,
        *,
        observers: Sequence[Observer],
        saver: CheckpointSaver,
        norms: BatchNormRecalibration,
        validate: Callable[[], Mapping[str, float]],
        stop: StopSignal,
        left_out: UnreadableHeldOutImages,
    ) -> TrainingRun:
        """Return the run that `fit` trains, with what watches and keeps it."""
        config = self.config
        return TrainingRun(
            model=self.network,
            task=self.task,
            objective=self.teaching.objective,
            loader=self.train_loader,
            transforms=self.transforms,
            stepper=self.stepper,
            progress=self.progress,
            observers=observers,
            saver=saver,
            norms=norms,
            validate=validate,
            world=self.machine.world,
            device=self.machine.device,
            stop=stop,
            seed=config.runtime.seed,
            length=self.length,
            accumulate=config.optim.accumulate,
            print_freq=config.output.print_freq,
            left_out=left_out,
        )

    def checkpoint_content(self) -> dict[str, Any]:
        """Return everything that a checkpoint holds besides the progress."""
        taught = self.teaching.state_dict()
        return assemble.checkpoint_content(
            self.config, self.task, self.model, self.stepper, taught, self.catalog, self.preprocess, self.data_fingerprint, self.seen,
            self.length.state_dict(),
        )  # fmt: skip


def _round_layers(model: nn.Module, arch: str, image_size: tuple[int, int]) -> None:
    """Let the layers of a network compute in 8 bits, and say so."""
    count, others = fake_quantize(model, image_size)
    if not count:
        raise UserError(f"--quantization_aware: {arch} has no convolution or linear layer that could be rounded; leave it out")
    log().info(f"rounding  {counted(count, 'layer')} compute in 8 bits, in training and validation; what is saved has full precision")
    if others:
        log().info(f"          {others} more do not, whose weights the network uses without calling them; files round these, too")


def open_parts(
    config: RunConfig,
    machine: Machine,
    catalog: Catalog,
    augment: Augment,
    content: Mapping[str, Any] | None = None,
    *,
    cached: bool = False,
) -> TrainingParts:
    """Return what trains on a catalog, with what sidecars say of its images.

    Raises:
        UserError: a sidecar is missing or wrong.
    """
    config = assemble.with_usual_settings(config, catalog)
    preprocess = assemble.build_preprocess(config, content, white=catalog.splits["train"].white)
    split = apply_sidecars(config, catalog, assemble.activation_of(config.loss))
    return TrainingParts(config, machine, catalog, split, preprocess, augment, content, cached)


def for_trial(parts: TrainingParts) -> TrainingParts:
    """Return the parts of a network that is thrown away: on this process alone, from starting weights, with nothing kept."""
    config = parts.config
    # It ends when its maker says so, and --minutes has no plan yet when it is measured.
    config = replace(config, runtime=replace(config.runtime, sync_bn=False), train=replace(config.train, minutes=None))
    return replace(parts, config=config, machine=replace(parts.machine, world=assemble.single_process()), content=None, cached=False)
