"""A segmenter measured on a split, at the size of the original images."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from applications.tasks.mask_rows import MaskRows
from applications.trained.inference import measure_split
from applications.trained.masks import ImageSegmenter
from dataloader.images.read import ImageError
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from dataloader.targets.full_size import AtFullSize
from utils.errors import UserError
from utils.logs import log
from utils.progress_bar import progress_bar
from utils.text import counted


def measure_masks(segmenter: ImageSegmenter, split: Split, *, left_out: Callable[[Sequence[Unreadable]], object] | None = None) -> MaskRows:
    """Return the counts of a split; those of the first process are of the images of all.

    Args:
        segmenter: what is measured, on whole images or in tiles.
        split: the images, with masks.
        left_out: told which images could not be read, and are not counted; without it, such an image is an error.

    Raises:
        UserError: no image can be read.
    """
    trained = segmenter.trained
    if segmenter.tiled:
        height, width = trained.preprocess.image_size
        log().info(f"tiles     {width}x{height}, overlapping by a quarter, at the scale of the images")
        return _measure_tiles(segmenter, split, left_out)
    assert split.truths is not None
    whole = replace(split, truths=AtFullSize(split.truths))
    meter = _new_meter(segmenter)
    measure_split(trained, whole, segmenter.task, segmenter.machine, left_out=left_out, meter=meter)
    return meter


def _new_meter(segmenter: ImageSegmenter) -> MaskRows:
    """Return a meter that compares answers with masks of the size of their images."""
    task = segmenter.task
    return MaskRows(task.classes, task.criterion.activation, segmenter.trained.preprocess)


def _measure_tiles(segmenter: ImageSegmenter, split: Split, left_out: Callable[[Sequence[Unreadable]], object] | None) -> MaskRows:
    """Return the counts of a split that is looked at in tiles.

    Raises:
        UserError: no image can be read.
    """
    world = segmenter.machine.world
    meter = _new_meter(segmenter)
    lost: list[Unreadable] = []
    with progress_bar(f"{split.name} images", -(-len(split) // world.size), shown=world.is_first) as advance:
        for index in range(world.rank, len(split), world.size):
            try:
                image, mask = split.read(index), split.target(index)
                meter.compare(index, segmenter.bands(image), mask)
            except ImageError as error:
                if left_out is None or segmenter.trained.config.data.strict:
                    raise
                lost.append(Unreadable(error.path, error.reason))
            advance(1)
    told = world.gather((len(meter.rows), lost))
    unreadable = [each for _, some in told for each in some]
    if left_out is not None:
        left_out(unreadable)
    if unreadable and not any(count for count, _ in told):
        raise UserError(f"none of {counted(len(unreadable), 'image')} can be read, such as {unreadable[0].path}: {unreadable[0].reason}")
    for state in world.sent_to_first(meter.state):
        meter.merge(state)
    return meter
