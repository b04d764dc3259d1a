"""Scales the 16-bit images of a data set by the range that their values use, and says so."""

from dataloader.images.sixteen_bit import FULL
from dataloader.images.white_value import find_white, shown
from dataloader.splits.catalog import Catalog
from utils.cores import default_workers
from utils.logs import log
from utils.progress import progress_bar


def ranged(catalog: Catalog, workers: int | None) -> Catalog:
    """Return the catalog with its 16-bit files scaled by their range; say it once where it is less than 16 bits can hold."""
    with progress_bar("range of 16-bit images", None) as advance:
        white, largest = find_white(catalog, workers=default_workers() if workers is None else workers, advance=advance)
    if white is not None and white < FULL:
        found = f"values of 16-bit images end at {largest:,}"
        log().info(f"range     {found}: taken as {white.bit_length()} bits, {white:,} is white in all of them")
    return shown(catalog, white)
