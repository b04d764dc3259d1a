"""How masks are read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TruthReading:
    """How masks are read.

    Attributes:
        labels: the table of the classes; None finds labels.csv beside the masks.
        ignore: names or ids of what counts for nothing, in addition to 255.
        empty: whether an image without a mask shows the first class alone.
    """

    labels: str | None = None
    ignore: tuple[str, ...] = ()
    empty: bool = False


# 255 is ignored, and every image needs its mask.
USUAL = TruthReading()
