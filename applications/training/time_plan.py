"""The plan of --minutes: from what this machine needs for an image to epochs, image sizes, batch size and warm-up. Pure arithmetic.

Small images first and a rate that falls to its end reach more in a given time than full-sized images from the start (Tan and Le,
arXiv 2104.00298; Touvron et al., arXiv 1906.06423), so a plan has both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from shlex import join

from applications.engine.norms_before_validation import batches_to_count
from dataloader.loading.size_schedule import SizeSchedule, parse_sizes
from utils.errors import UserError
from utils.text import counted

# Of the budget, what the ends of epochs (validation, checkpoints) may take; and what is left free for the end of the program, in which
# Python puts torch away: a share of the budget, at least so many seconds, but of a very short one no more than the second share.
SHARE_OF_ENDS = 0.15
RESERVE, LEAVING, MOST_RESERVE = 0.01, 1.5, 0.03
# A run is looked at this often at least, where its budget allows it, and not more often than the second number.
FEWEST_EPOCHS, MOST_EPOCHS = 5, 300
# The data is taken once an epoch where that fills the budget to this share.
CLOSE = 0.97
# Passes over the images that are worth more than larger images: from random weights, and from trained ones.
PASSES, PASSES_PRETRAINED = 8, 0.7
SMALLEST, LARGEST, STRIDE = 96, 224, 32
# Where single places are answered, small things must stay visible: shares of the images' own size, and the largest size.
PLACE_SHARES, LARGEST_PLACES = (0.5, 0.75, 1.0), 640
# A detector learns from few places of an image, and needs many steps.
PASSES_BOXES, BATCH_BOXES = 30, 8
USUAL_BATCH, SMALL_BATCH = 32, 16
# Trained weights that see all images fewer times than this keep their first blocks, this share of all, as they are: a step then takes
# less than half of the time, and what they know of edges and textures needs no change.
MOST_PASSES_FROZEN, SHARE_FROZEN = 20, 0.35
# A decoder that sees all images fewer times than this learns from smaller ones throughout: what it lacks are images.
SMALL_BELOW = 12
# Of a training step, how much a forward pass takes.
FORWARD = 0.35
# A run of so few epochs is half through one when it ends, and can grow: another epoch would be too long, with its validation.
FEW_EPOCHS = 4
# With fewer steps than this, smaller batches give more of them.
FEW_STEPS = 100
WARMUP_STEPS, WARMUP_SHARE, LONGEST_WARMUP = 50, 0.05, 2000


@dataclass(frozen=True)
class Speed:
    """Seconds that an image takes: a part of its own, and one for every pixel that the network sees."""

    image: float
    pixel: float

    def seconds(self, size: tuple[int, int]) -> float:
        """Return the seconds of an image of this height and width."""
        return self.image + self.pixel * size[0] * size[1]

    @classmethod
    def fitted(cls, measured: Mapping[tuple[int, int], float]) -> "Speed":
        """Return the speed by what the smallest and the largest measured size took."""
        points = sorted((height * width, took) for (height, width), took in measured.items())
        (small, fast), (large, slow) = points[0], points[-1]
        # No more than all of it can grow with the pixels, however the two measurements came out.
        slope = min(max(0.0, slow - fast) / (large - small), slow / large) if large > small else slow / large
        return cls(slow - slope * large, slope)


@dataclass(frozen=True)
class Costs:
    """What this machine needs, in seconds.

    Attributes:
        training: an image of a training step, reading included.
        scoring: an image of validation.
        scored: images of validation.
        saving: the rest of the end of an epoch: checkpoints, and beginning the next one.
        spent: gone before training begins.
        norms: images that batch-norm statistics are measured on before a validation, where an epoch has as many.
    """

    training: Speed
    scoring: Speed
    scored: int
    saving: float
    spent: float = 0.0
    norms: int = 0

    def end(self, size: tuple[int, int], images: float, *, batch: int = 1, trained: tuple[int, int] | None = None) -> float:
        """Return the seconds of the end of an epoch.

        Args:
            size: of validation images.
            images: of the epoch.
            batch: images of a training step: statistics are measured on whole ones.
            trained: size of its images, on which statistics are measured; None for that of validation.
        """
        batches = max(1, int(images) // batch)
        counted = batches_to_count(self.norms, batch_size=batch, image_size=size, batches_per_epoch=batches) if self.norms else 0
        measuring = batch * counted * FORWARD * self.training.seconds(trained or size)
        return self.scored * self.scoring.seconds(size) + measuring + self.saving


@dataclass(frozen=True)
class Wishes:
    """What the user has settled; None leaves it to the plan.

    Attributes:
        sizes: heights and widths of validation images to choose from, ascending.
        stages: whether training may begin with smaller images.
        size_schedule, batch_size, epoch_size, warmup: the flags of these names.
        passes: over the images that are worth more than larger images.
        processes: that share a batch.
        small_below: a run with fewer passes at these sizes trains on smaller images throughout.
    """

    sizes: tuple[tuple[int, int], ...]
    stages: bool = True
    size_schedule: str | None = None
    batch_size: int | None = None
    epoch_size: int | None = None
    warmup: float | None = None
    passes: float = PASSES
    processes: int = 1
    small_below: float = 0.0


@dataclass(frozen=True)
class Plan:
    """How a time is used. Its fields are flags of these names, but for one.

    Attributes:
        seconds: that the run will take, with those spent before.
    """

    epochs: int
    epoch_size: int | None
    image_size: tuple[int, int]
    size_schedule: str | None
    batch_size: int
    warmup: float
    seconds: float
    probe_head: bool = False
    head_lr: float | None = None
    freeze: tuple[str, ...] | None = None

    def settings(self) -> dict[str, object]:
        """Return the settings that follow the plan, by name."""
        # Without a fitted classifier, its rate is that of the settings.
        left_out = {"seconds", *(() if self.probe_head else ("probe_head", "head_lr")), *(() if self.freeze else ("freeze",))}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def flags(self) -> str:
        """Return the same as flags of a command."""
        words = []
        for name, value in self.settings().items():
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            words += [] if value is None else [f"--{name}", *(f"{part:g}" if isinstance(part, float) else str(part) for part in values)]
        return join(words)

    def sizes(self) -> SizeSchedule:
        """Return the size of the training images in every epoch."""
        return parse_sizes(self.size_schedule or str(self.image_size[1]), self.image_size, self.epochs)

    def describe(self, images: int) -> str:
        """Return the plan in words, for data of this many training images."""
        sizes = list(dict.fromkeys(f"{height}x{width}" if height != width else str(width) for height, width in self.sizes().all()))
        shown = " and ".join(filter(None, [", ".join(sizes[:-1]), sizes[-1]]))
        each = f" of {counted(self.epoch_size, 'image')} ({self.epoch_size / images:.2g} of all)" if self.epoch_size else ""
        resting = f", the first {counted(int(self.freeze[0]), 'block')} frozen" if self.freeze else ""
        return (
            f"{counted(self.epochs, 'epoch')}{each} at {shown} pixels, batch {self.batch_size}, warm-up {self.warmup:.2g} epochs{resting}"
        )


def usable_seconds(minutes: float) -> float:
    """Return the seconds of a time until training has to be at its end, so that the program is at its end in time."""
    return 60 * minutes - max(RESERVE * 60 * minutes, min(LEAVING, MOST_RESERVE * 60 * minutes))


def candidate_sides(largest: int) -> tuple[int, ...]:
    """Return the shorter sides that a plan chooses from: up to `largest`, that which most images have, and 224."""
    top = min(LARGEST, max(STRIDE, STRIDE * math.ceil(largest / STRIDE)))
    return tuple(range(min(SMALLEST, top), top + 1, STRIDE))


def sizes_of_places(largest: int) -> tuple[tuple[int, int], ...]:
    """Return the square sizes that a plan for masks or boxes chooses from, by the shorter side that most images have."""
    top = min(LARGEST_PLACES, max(STRIDE, STRIDE * math.ceil(largest / STRIDE)))
    sides = sorted({max(STRIDE, STRIDE * round(share * top / STRIDE)) for share in PLACE_SHARES})
    return tuple((side, side) for side in sides)


def make_plan(costs: Costs, wishes: Wishes, *, images: int, minutes: float) -> Plan:
    """Return how to use a time on data of `images` training images.

    The largest size is taken at which all images are seen often enough; where none is, the smallest.

    Raises:
        UserError: the time is too short for a step and a validation; the message says what is not.
    """
    plans = [_of_size(costs, wishes, size, images=images, minutes=minutes) for size in wishes.sizes]
    found = [plan for plan in plans if plan is not None]
    if not found:
        raise UserError(_refusal(costs, wishes, images=images, minutes=minutes))
    enough = [plan for plan in found if passes_of(plan, images) >= wishes.passes]
    return enough[-1] if enough else found[0]


def usual_batch(wishes: Wishes, images: int) -> int:
    """Return the images of a step: as many as are wished for, or the usual ones that there are and that all processes share equally."""
    return wishes.batch_size or max(1, min(USUAL_BATCH, max(2, images)) // wishes.processes) * wishes.processes


def passes_of(plan: Plan, images: int) -> float:
    """Return how often a run of this plan sees each of so many training images."""
    return plan.epochs * (plan.epoch_size or images) / images


def with_room(plan: Plan, wishes: Wishes) -> tuple[Plan, float]:
    """Return the plan with epochs that are longer than the run needs, where it has few; and at which of them, as a number, it ends.

    The schedule comes to its end there. So a machine that turns out faster has images to go on with, without one more validation.
    """
    grows = len({plan.sizes().at(epoch) for epoch in range(plan.epochs)}) > 1
    if plan.epoch_size is None or wishes.epoch_size is not None or grows or plan.epochs > FEW_EPOCHS:
        return plan, plan.epochs
    images = plan.epochs * plan.epoch_size
    longer = round(images / (math.ceil(plan.epochs / 2) - 0.5))
    return replace(plan, epoch_size=longer), images / longer


def stages_of(size: tuple[int, int], epochs: int) -> str | None:
    """Return --size_schedule for a run of so many epochs: 0.6 and 0.8 of the width for four tenths of the epochs each; None without.

    Two epochs have one smaller stage, and images of less than 96 pixels have none.
    """
    width = size[1]
    if epochs < 2 or width < SMALLEST:
        return None
    shares = {_near(0.7, width): 0.5} if epochs == 2 else {_near(0.6, width): 0.4, _near(0.8, width): 0.8}
    return ",".join([*(f"{smaller}:{share}" for smaller, share in shares.items() if smaller < width), str(width)])


def small_throughout(size: tuple[int, int]) -> str | None:
    """Return --size_schedule for training at 0.6 of the width and validation at all of it; None for images of less than 96 pixels."""
    width = size[1]
    return f"{_near(0.6, width)}:1,{width}" if width >= SMALLEST else None


def _near(share: float, width: int) -> int:
    return max(2 * STRIDE, STRIDE * round(share * width / STRIDE))


def _of_size(costs: Costs, wishes: Wishes, size: tuple[int, int], *, images: int, minutes: float) -> Plan | None:
    """Return the plan whose validation images have this size; None where the time is too short for it."""
    plan = _in_stages(costs, wishes, size, images=images, minutes=minutes)
    schedule = small_throughout(size) if wishes.size_schedule is None else None
    if plan is None or schedule is None or passes_of(plan, images) >= wishes.small_below:
        return plan
    return _in_stages(costs, replace(wishes, size_schedule=schedule), size, images=images, minutes=minutes)


def _in_stages(costs: Costs, wishes: Wishes, size: tuple[int, int], *, images: int, minutes: float) -> Plan | None:
    """Return the plan of this size by the wished stages; None where the time is too short for it."""
    seconds = usable_seconds(minutes) - costs.spent
    batch = usual_batch(wishes, images)
    end = costs.end(size, wishes.epoch_size or images, batch=batch)
    each = _mean_cost(costs, wishes, size, 2 * FEWEST_EPOCHS) * (wishes.epoch_size or images) + end
    passes = max(0, math.floor(seconds / each))
    if wishes.epoch_size is not None:
        while passes and passes * (_mean_cost(costs, wishes, size, passes) * wishes.epoch_size + end) > seconds:
            passes -= 1
        return _built(costs, wishes, size, passes, images, wishes.epoch_size, batch) if passes else None
    for epochs in range(min(MOST_EPOCHS, max(FEWEST_EPOCHS, passes)), 0, -1):
        each = _mean_cost(costs, wishes, size, epochs)
        end = costs.end(size, max(1, seconds / epochs / each), batch=batch, trained=_last(wishes, size, epochs))
        if epochs > 1 and epochs * end > SHARE_OF_ENDS * seconds:
            continue
        room = (seconds - epochs * end) / (epochs * each)
        if CLOSE * room <= images <= room:
            return _built(costs, wishes, size, epochs, images, None, batch)
        least = max(1, SMALL_BATCH // wishes.processes) * wishes.processes if wishes.batch_size is None else batch
        if room * epochs / batch < FEW_STEPS and room >= least:
            batch = min(batch, least)
        if room >= min(batch, images):
            return _built(costs, wishes, size, epochs, images, max(1, int(room) // batch * batch or int(room)), batch)
    return None


def _mean_cost(costs: Costs, wishes: Wishes, size: tuple[int, int], epochs: int) -> float:
    """Return the seconds of a training image, the mean over a run of so many epochs."""
    sizes = parse_sizes(_stages(wishes, size, epochs) or str(size[1]), size, epochs)
    ends = [0, *(min(end, epochs) for end, _ in sizes.stages), epochs]
    lasting = [(last - first) * costs.training.seconds(sizes.at(first)) for first, last in pairwise(ends) if last > first]
    return sum(lasting) / epochs


def _last(wishes: Wishes, size: tuple[int, int], epochs: int) -> tuple[int, int]:
    """Return the size of the last training images."""
    return parse_sizes(_stages(wishes, size, epochs) or str(size[1]), size, epochs).at(epochs - 1)


def _stages(wishes: Wishes, size: tuple[int, int], epochs: int) -> str | None:
    return wishes.size_schedule or (stages_of(size, epochs) if wishes.stages else None)


def _built(costs: Costs, wishes: Wishes, size: tuple[int, int], epochs: int, images: int, epoch_size: int | None, batch: int) -> Plan:
    """Return the plan with its warm-up: 50 steps or a twentieth of the run, at most a tenth of it."""
    each = epoch_size or images
    steps = max(1, each // batch)
    warm = int(min(steps * epochs / 10, LONGEST_WARMUP, max(WARMUP_STEPS, WARMUP_SHARE * steps * epochs)))
    warmup = math.ceil(1e4 * warm / steps) / 1e4 if wishes.warmup is None else wishes.warmup
    seconds = costs.spent + epochs * (
        each * _mean_cost(costs, wishes, size, epochs) + costs.end(size, each, batch=batch, trained=_last(wishes, size, epochs))
    )
    return Plan(epochs, epoch_size, size, _stages(wishes, size, epochs), batch, warmup, seconds)


def _refusal(costs: Costs, wishes: Wishes, *, images: int, minutes: float) -> str:
    """Return what does not fit into the time, and what would."""
    size = wishes.sizes[0]
    batch = min(images, wishes.epoch_size or wishes.batch_size or SMALL_BATCH)
    steps, end = (wishes.epoch_size or batch) * costs.training.seconds(size), costs.end(size, wishes.epoch_size or batch, batch=batch)
    needed = (costs.spent + steps + end) / (1 - MOST_RESERVE) / 60
    what = f"an epoch of --epoch_size {wishes.epoch_size}" if wishes.epoch_size else f"a step of {counted(batch, 'image')}"
    least = math.ceil(1.1 * needed * 10) / 10
    # At times that allow for more images than a step, norms are measured on more of them, and stages may end with larger ones.
    while all(_of_size(costs, wishes, each, images=images, minutes=least) is None for each in wishes.sizes):
        least = math.ceil(1.1 * least * 10) / 10
    parts = f"starting took {costs.spent:.3g} s, {what} takes {steps:.3g} s and measuring the validation images {end:.3g} s"
    return (
        f"--minutes {minutes:g} is too short: {parts}, at {size[0]}x{size[1]} pixels. Give --minutes {least:g} or more"
        f"{', a smaller --epoch_size' if wishes.epoch_size else ''}, fewer validation images, or smaller ones with --image_size"
    )
