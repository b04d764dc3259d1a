"""How masks and boxes are read: TruthReading."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TruthReading:
    """How masks and boxes are read.

    Attributes:
        labels: the table of the classes; None finds labels.csv, or data.yaml, beside the files.
        ignore: names or ids of what counts for nothing, in masks in addition to 255.
        empty: whether an image without a mask shows the first class alone, and one without a file of boxes nothing.
    """

    labels: str | None = None
    ignore: tuple[str, ...] = ()
    empty: bool = False


# 255 is ignored, and every image needs its mask or its file of boxes.
USUAL = TruthReading()
