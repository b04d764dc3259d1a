"""Image sizes that a network has to accept."""

from applications.settings.options import RunConfig
from dataloader.batch.multi_scale import possible_sizes
from dataloader.loading.size_schedule import parse_sizes
from models.backbone import Pretrainable
from utils.errors import UserError


def seen_sizes(config: RunConfig) -> list[tuple[int, int]]:
    """Return the image sizes that a network must take: that of validation, and those that training gives it."""
    data = config.data
    sizes = [data.image_size]
    if data.size_schedule is not None:
        sizes = parse_sizes(data.size_schedule, data.image_size, config.train.epochs).all()
    return [*sizes, *(found for size in sizes for found in possible_sizes(size))] if data.multi_scale else sizes


def check_sizes(model: Pretrainable, config: RunConfig) -> None:
    """Raise UserError unless the network takes every size that it will see."""
    model.check_size(config.data.image_size)
    for size in dict.fromkeys(seen_sizes(config)):
        try:
            model.check_size(size)
        except UserError as error:
            raise UserError(f"{error}; leave --multi_scale and --size_schedule out, or choose sizes that it takes") from error
