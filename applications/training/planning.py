"""--minutes: measures the first steps on this machine, makes the plan of the run from them, and says it."""

import math
import statistics
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import count, pairwise

import torch
from torch import Tensor

from applications import assemble
from applications.contract import Task
from applications.tasks.label_task import LabelTask
from applications.training.probe_head import why_not
from applications.training.time_plan import (
    BATCH_BOXES,
    FORWARD,
    LARGEST_PLACES,
    MOST_PASSES_FROZEN,
    PASSES,
    PASSES_BOXES,
    PASSES_PRETRAINED,
    SHARE_FROZEN,
    SMALL_BELOW,
    STRIDE,
    Costs,
    Plan,
    Speed,
    Wishes,
    candidate_sides,
    make_plan,
    passes_of,
    sizes_of_places,
    stages_of,
    usual_batch,
    with_room,
)
from applications.training.training_parts import TrainingParts, for_trial
from applications.training.usual_shape import usual_shape
from dataloader.loading.sampling import expected_draws
from dataloader.loading.size_schedule import parse_sizes
from dataloader.sample import Batch
from dataloader.targets.boxes import Boxes
from dataloader.targets.mask import Mask
from models.backbone import Network
from optim.batchnorm_recalibration import learning_norms
from optim.param_groups import blocks
from utils.cores import default_workers
from utils.errors import UserError
from utils.logs import log
from utils.program_clock import program_seconds
from utils.randomness import Stream, derive_seed

# A size is measured for this share of the budget, within these seconds, but for this many steps at least.
SHARE, SHORTEST, LONGEST, FEWEST_STEPS = 0.01, 0.5, 6.0, 3
# Steps that choose kernels and start the processes that read, before any is measured.
FIRST_STEPS = 2
# Of the budget, what the steps at the largest size may take; where they would take longer, their time follows from the smallest one.
MOST_OF_BUDGET = 0.15
# How fast checkpoints are written, in bytes a second, and what else happens at the end of an epoch, in seconds, before one was seen.
WRITING, OTHER = 3e8, 0.2
# Validation images that are read to know how long that takes.
FEW_READ = 8
# Seconds of fitting a classifier to what a network says.
HEAD_SECONDS = 3.0


def with_plan(parts: TrainingParts, given: Collection[str]) -> TrainingParts:
    """Return the parts with the settings of a plan for --minutes; without that flag, the same parts.

    Args:
        parts: of a fresh run.
        given: names of the settings that are chosen already, which the plan keeps.

    Raises:
        UserError: the time is too short.
    """
    minutes = parts.config.train.minutes
    if minutes is None:
        return parts
    wishes = _wishes(parts, given)
    sampler = parts.config.data.sampler
    images = len(parts.split) if sampler is None else max(1, round(float(expected_draws(sampler, parts.split).sum())))
    parts, costs, plan = _measured_plan(parts, given, wishes, images=images, minutes=minutes)
    plan = _with_probe_head(parts, given, costs, wishes, plan, images=images)
    log().info(f"plan      {minutes:g} minutes, of which {costs.spent:.0f} s are gone: {plan.describe(images)}")
    log().info(f"          as flags: {plan.flags()}")
    config = parts.config.override(plan.settings())
    preprocess = replace(parts.preprocess, image_size=plan.image_size)
    # The room is no setting: who trains with the settings of this run again gets the run that was planned.
    roomy, ends = with_room(plan, wishes)
    timing: dict[str, object] = {"speed": (costs.training.image, costs.training.pixel)}
    last = plan.sizes().at(plan.epochs - 1)
    timing |= {"end_seconds": costs.end(plan.image_size, roomy.epoch_size or images, batch=plan.batch_size, trained=last)}
    timing |= {} if ends == plan.epochs else {"ends": ends, "epoch_size": roomy.epoch_size}
    return replace(parts, config=config, preprocess=preprocess, timing=timing)


def _measured_plan(
    parts: TrainingParts, given: Collection[str], wishes: Wishes, *, images: int, minutes: float
) -> tuple[TrainingParts, Costs, Plan]:
    """Return the parts with what the plan freezes, what this machine needs for them, and the plan."""
    if frozen := _frozen_blocks(parts, given):
        resting = replace(parts, config=parts.config.override({"freeze": (str(frozen),)}))
        costs = measure_costs(resting, wishes, minutes=minutes)
        plan = make_plan(costs, wishes, images=images, minutes=minutes)
        if passes_of(plan, images) < MOST_PASSES_FROZEN:
            return resting, costs, replace(plan, freeze=(str(frozen),))
    costs = measure_costs(parts, wishes, minutes=minutes)
    return parts, costs, make_plan(costs, wishes, images=images, minutes=minutes)


def _frozen_blocks(parts: TrainingParts, given: Collection[str]) -> int:
    """Return how many blocks a short run keeps as trained weights have them; 0 where it has none such, or the user has settled it."""
    model = parts.config.model
    # Every layer has to learn what rounding takes from it.
    learns_all = "freeze" in given or parts.config.train.quantization_aware
    if learns_all or not (model.pretrained or model.init_from) or not issubclass(parts.kind, LabelTask):
        return 0
    network = parts.kind.build_model(model, parts.catalog.classes)
    return round(SHARE_FROZEN * len(blocks(network)))


def _with_probe_head(parts: TrainingParts, given: Collection[str], costs: Costs, wishes: Wishes, plan: Plan, *, images: int) -> Plan:
    """Return the plan of a run with --probe_head, which fits its classifier before the first step; without that flag the plan itself.

    Raises:
        UserError: the time is too short for both.
    """
    optim, minutes = parts.config.optim, parts.config.train.minutes
    if minutes is None or not parts.config.train.probe_head or why_not(parts):
        return plan
    took = HEAD_SECONDS + images * FORWARD * costs.training.seconds(plan.image_size)
    later = make_plan(replace(costs, spent=costs.spent + took), wishes, images=images, minutes=minutes)
    # A fitted classifier needs no higher rate than the rest.
    return replace(later, probe_head=True, freeze=plan.freeze, head_lr=optim.head_lr if "head_lr" in given else optim.lr)


def _wishes(parts: TrainingParts, given: Collection[str]) -> Wishes:
    """Return what the user has settled, and which sizes the network takes."""
    data, model = parts.config.data, parts.config.model
    trained = bool(model.pretrained or model.init_from)
    target = parts.catalog.target
    boxes, places, masks = target is Boxes, target.is_spatial, target is Mask
    sizes, in_stages = _sizes(parts, given)
    return Wishes(
        sizes,
        # --image_size is that of validation, as without a plan; smaller training images are a matter of time.
        # What trained weights know of large images is lost on small ones before a classifier has learned anew, and so are small objects. A
        # decoder begins anew anyhow, and learns more from many small images; pieces of images are as large as they are.
        stages=((masks and not parts.config.truths.crop) or (not trained and not places)) and in_stages,
        size_schedule=data.size_schedule,
        batch_size=data.batch_size if "batch_size" in given else BATCH_BOXES if boxes else None,
        epoch_size=data.epoch_size,
        # A recipe counts its warm-up in epochs of its own run.
        warmup=parts.config.optim.warmup if "warmup" in given else None,
        passes=PASSES_PRETRAINED if trained else PASSES_BOXES if boxes else PASSES,
        processes=parts.machine.world.size,
        small_below=SMALL_BELOW if masks and in_stages and not parts.config.truths.crop else 0.0,
    )


def _sizes(parts: TrainingParts, given: Collection[str]) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Return the heights and widths to choose from, and whether the network takes the smaller ones in which training may begin."""
    data, network = parts.config.data, parts.kind.build_model(parts.config.model, parts.catalog.classes)
    if "image_size" in given or data.size_schedule is not None:
        choices = [(data.image_size,)]
    else:
        shape = usual_shape(parts.split)
        largest = shape.shorter or LARGEST_PLACES
        sides = candidate_sides(largest)
        squares = tuple((side, side) for side in sides)
        # Where all images have one shape, no pixel of theirs is a margin; a crop is a square.
        shaped = squares if data.resize == "crop" else tuple(shape.with_shorter(side, STRIDE) for side in sides)
        choices = [sizes_of_places(largest)] if parts.catalog.target.is_spatial else [shaped, squares]
    taken, in_stages = (data.image_size,), False
    for sizes in choices:
        taken = tuple(size for size in sizes if _takes(network, [size])) or (data.image_size,)
        stages = [parse_sizes(stages_of(size, epochs) or str(size[1]), size, epochs).all() for size in taken for epochs in (2, 10)]
        in_stages = all(_takes(network, each) for each in stages)
        if taken == sizes and in_stages:
            break
    return taken, in_stages


def _takes(network: torch.nn.Module, sizes: Collection[tuple[int, int]]) -> bool:
    try:
        for size in sizes:
            if isinstance(network, Network):
                network.check_size(size)
    except UserError:
        return False
    return True


def measure_costs(parts: TrainingParts, wishes: Wishes, *, minutes: float) -> Costs:
    """Return what this machine needs, by a few steps of a throw-away copy of the network at the smallest and the largest size."""
    largest = wishes.sizes[-1]
    config, world = parts.config, parts.machine.world
    first = wishes.sizes[0]
    stages = wishes.size_schedule or (stages_of(first, 10) if wishes.stages else None)
    small = min(width for _, width in parse_sizes(stages or str(first[1]), first, 10).all())
    batch = usual_batch(wishes, len(parts.split))
    settings = {"epochs": 2, "image_size": largest, "size_schedule": f"{small}:0.5" if small < largest[1] else None}
    settings |= {"batch_size": max(2, batch // world.size), "batch": None, "cache": "off", "epoch_size": None}
    trial = Trial(replace(parts, config=config.override(settings), preprocess=replace(parts.preprocess, image_size=largest)))
    seconds = min(LONGEST, max(SHORTEST, SHARE * 60 * minutes))
    try:
        measured = trial.training(seconds, most=MOST_OF_BUDGET * 60 * minutes)
        readers = default_workers(world.size) if config.data.workers is None else max(1, config.data.workers)
        # On a CPU the processes that read share the cores with the network.
        scoring = trial.scoring() + trial.reading() / readers
    finally:
        trial.close()
    # Every process has its part of the images; the slowest one sets the pace.
    found = world.gather((measured, scoring, program_seconds()))
    training = {size: max(each[0][size] for each in found) / world.size for size in measured}
    scored = len(parts.catalog.splits["val"])
    saving = OTHER + 4 * sum(value.nbytes for value in trial.model.state_dict().values()) / WRITING
    scores = Speed.fitted({list(measured)[-1]: max(each[1] for each in found) / world.size})
    norms = config.model.bn_images if learning_norms(trial.model) else 0
    return Costs(Speed.fitted(training), scores, scored, saving, found[0][2], norms)


class Trial:
    """Training steps and validation of a network that is thrown away, on images of the data."""

    def __init__(self, parts: TrainingParts) -> None:
        self.parts = for_trial(parts)
        self.loader = self.parts.train_loader
        self.model = self.parts.model
        self.stepper = self.parts.trial_stepper(lambda _: 1e-3)
        self.transforms = self.parts.transforms
        self._steps = 0
        self._last: Batch | None = None

    def close(self) -> None:
        """End the loader's processes."""
        self.loader.close()

    def training(self, seconds: float, *, most: float = math.inf) -> dict[tuple[int, int], float]:
        """Return the size of the images, height and width -> seconds of one, each measured for so many seconds.

        Args:
            seconds: of a size, but for a few steps at least.
            most: seconds for which the steps of the larger size may be expected to take; otherwise it is left out.
        """
        found: dict[tuple[int, int], float] = {}
        for sized_as in (0, 1) if self.parts.config.data.size_schedule else (1,):
            if found and self._expected(found) > most:
                break
            batches = self._endless(sized_as)
            warm = [self._step(next(batches)) for _ in range(FIRST_STEPS)]
            size = (warm[-1].images.shape[-2], warm[-1].images.shape[-1])
            begun, images, steps = time.perf_counter(), 0, 0
            while steps < FEWEST_STEPS or time.perf_counter() - begun < seconds:
                batch = self._step(next(batches))
                images += len(batch) // batch.copies
                steps += 1
            found[size] = (time.perf_counter() - begun) / images
        return found

    def _expected(self, found: Mapping[tuple[int, int], float]) -> float:
        """Return the seconds that steps at the largest size will take by those of another one; all processes have the same answer."""
        ((height, width), took), data, world = next(iter(found.items())), self.parts.config.data, self.parts.machine.world
        images = (FIRST_STEPS + FEWEST_STEPS) * data.batch_size / world.size
        return max(world.gather(images * took * data.image_size[0] * data.image_size[1] / (height * width)))

    def scoring(self) -> float:
        """Return the seconds of an image as large as the last ones in validation, reading excluded."""
        assert self._last is not None, "steps are measured first"
        batch = self._last
        task: Task = self.parts.task
        self.model.eval()
        took = []
        with torch.inference_mode(), self.parts.machine.fp32_autocast() as autocast, autocast:
            until = time.perf_counter() + SHORTEST
            # The first choose kernels, while processes still read training images.
            while len(took) < FEWEST_STEPS or time.perf_counter() < until:
                begun = time.perf_counter()
                task.forward(self.model, batch)
                self._wait()
                took.append((time.perf_counter() - begun) / len(batch))
        return statistics.median(took)

    def reading(self) -> float:
        """Return the seconds in which one process reads a validation image, which is decoded whole: the median of a few."""
        parts, held_out = self.parts, self.parts.catalog.splits["val"]
        some = held_out.subset(range(0, len(held_out), max(1, len(held_out) // FEW_READ))[:FEW_READ])
        alone = parts.config.override({"workers": 0, "batch_size": 1})
        loader = assemble.build_loader(alone, some, parts.preprocess, parts.machine, tolerant=True)
        times = [time.perf_counter(), *(time.perf_counter() for _ in loader.batches(0))]
        return statistics.median(after - before for before, after in pairwise(times))

    def _endless(self, sized_as: int) -> Iterator[Batch]:
        return (batch for epoch in count() for batch in self.loader.batches(epoch, sized_as=sized_as))

    def _step(self, batch: Batch) -> Batch:
        parts, teaching = self.parts, self.parts.teaching
        teaching.network.train()
        batch = batch.to(parts.machine.device)
        self._last = batch
        torch.manual_seed(derive_seed(Stream.MODEL, parts.config.runtime.seed, self._steps, 0))
        for transform in self.transforms:
            batch = transform(batch, self._steps, 0)

        def loss() -> Tensor:
            with self.stepper.forward(sync=True):
                return teaching.objective(teaching.network, batch).loss

        self.stepper.step(loss(), 1.0, closes_group=True, again=loss)
        self._steps += 1
        self._wait()
        return self._last

    def _wait(self) -> None:
        if self.parts.machine.device.type == "cuda":
            torch.cuda.synchronize(self.parts.machine.device)
