"""What to do when training needs too much memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from applications.settings.options import DataOptions
from utils.errors import UserError


def memory_advice(data: DataOptions) -> str:
    """Return what to lower when training needs too much memory."""
    now = data.batch_size
    return f"lower --batch_size (now {now}; --accumulate N keeps the step the same) or --image_size, or try --precision bf16"


@contextmanager
def small_batch_explained() -> Iterator[None]:
    """Say what to do when batch norm meets a batch of a single image."""
    try:
        yield
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise UserError("batch norm needs two images a process at this --image_size; give a larger --batch_size") from error
