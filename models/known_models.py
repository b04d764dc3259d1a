"""What every network of the table costs, and what is claimed of its published weights, read from a file without building anything.

`python -m benchmarks.models_table` measures them and writes them, here and into docs/models.md.
"""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

KNOWN_MODELS = Path(__file__).with_name("known_models.csv")


@dataclass(frozen=True)
class KnownModel:
    """A row of known_models.csv.

    Attributes:
        name: in the table of models.
        parameters: learned numbers, with a classifier of 1,000 classes.
        multiply_adds: in the convolutions and matrix products of one image.
        height, width: of that image, in pixels: the size of the published weights, else 224 x 224.
        top1: share of ImageNet's validation images in percent that the publisher of the weights claims; None where nothing is claimed.
        license: of the weights, as an SPDX identifier; '' where none is named.
    """

    name: str
    parameters: int
    multiply_adds: int
    height: int
    width: int
    top1: float | None
    license: str

    def cells(self) -> tuple[str, ...]:
        """Name, parameters, multiply-adds, input, top-1 and license, as tables show them."""
        top1 = "" if self.top1 is None else f"{self.top1:.1f}%"
        size = f"{self.height}x{self.width}"
        return self.name, f"{self.parameters / 1e6:.2f} M", f"{self.multiply_adds / 1e9:.2f} G", size, top1, self.license


HEADER = ("name", "parameters", "multiply-adds", "input", "top-1", "license")


def read_known_models() -> dict[str, KnownModel]:
    """Return the rows by name, in the order of the file."""
    with KNOWN_MODELS.open(encoding="utf-8", newline="") as file:
        return {row["name"]: _read(row) for row in csv.DictReader(file)}


def write_known_models(found: list[KnownModel]) -> None:
    """Replace the file."""
    with KNOWN_MODELS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(KnownModel)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in found)


def _read(row: dict[str, str]) -> KnownModel:
    top1 = float(row["top1"]) if row["top1"] else None
    counts = {key: int(row[key]) for key in ("parameters", "multiply_adds", "height", "width")}
    return KnownModel(name=row["name"], **counts, top1=top1, license=row["license"])
