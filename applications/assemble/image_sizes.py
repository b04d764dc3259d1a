"""Image sizes that a network has to accept."""

from applications.settings.options import RunConfig
from dataloader.batch.multi_scale import possible_sizes
from dataloader.loading.size_schedule import parse_sizes
from models.backbone import Pretrainable
from models.detectors import LARGEST_STRIDE, is_object_detector
from utils.errors import UserError


def seen_sizes(config: RunConfig) -> list[tuple[int, int]]:
    """Return the image sizes that a network must take: that of validation, and those that training gives it."""
    data = config.data
    sizes = [data.image_size]
    if data.size_schedule is not None:
        sizes = parse_sizes(data.size_schedule, data.image_size, config.train.epochs).all()
    if not data.multi_scale:
        return sizes
    return [*sizes, *(found for size in sizes for found in possible_sizes(size, scale_multiple(config.model.arch)))]


def scale_multiple(arch: str) -> int | None:
    """Return of what the sizes of --multi_scale are multiples: the largest stride of a detector, whose places are then whole; else None."""
    return LARGEST_STRIDE if is_object_detector(arch) else None


def check_sizes(model: Pretrainable, config: RunConfig) -> None:
    """Raise UserError unless the network takes every size that it will see."""
    model.check_size(config.data.image_size)
    for size in dict.fromkeys(seen_sizes(config)):
        try:
            model.check_size(size)
        except UserError as error:
            raise UserError(f"{error}; leave --multi_scale and --size_schedule out, or choose sizes that it takes") from error
