"""Scales the 16-bit images of a data set by the range that their values use, and says so."""

from dataloader.images.sixteen_bit import FULL
from dataloader.splits.catalog import Catalog
from dataloader.splits.white_value import find_white, with_white
from utils.cores import default_workers
from utils.logs import log
from utils.progress_bar import progress_bar


def scale_sixteen_bit_range(catalog: Catalog, workers: int | None) -> Catalog:
    """Return the catalog with its 16-bit files scaled by their range; say it once, and warn where a few files darken all others."""
    with progress_bar("range of 16-bit images", None) as advance:
        found = find_white(catalog, workers=default_workers() if workers is None else workers, advance=advance)
    if found.white is not None:
        reach = f"values of 16-bit images {'need all bits' if found.white == FULL else f'end at {found.largest:,}'}"
        log().info(f"range     {reach}: taken as {found.white.bit_length()} bits, {found.white:,} is white in all of them")
    if found.is_stretched():
        log().warning(
            f"most 16-bit images end at {found.usual:,} or below, but {found.brightest} reaches {found.largest:,}: scaled by its range, "
            f"the others are nearly black. If it is damaged or of another camera, remove it or scale it to {found.usual.bit_length()} bits"
        )
    return with_white(catalog, found.white)
