"""What became of an export, for people and for programs: parity-FORMAT.md and parity-FORMAT.json beside the file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from applications.export.parity import Allowed, Parity
from applications.formats.facts import KERNEL, Facts
from utils.files import write_text
from utils.timing import Timing


@dataclass(frozen=True)
class Record:
    """An export and its comparison.

    Attributes:
        facts: what the file was to say of itself.
        split, data: the images of the comparison.
        allowed: what it may differ by.
        bytes: of all files that belong to it.
        threads: of the runtime.
        model_ms: median time of PyTorch for one image.
        refusal: why the file was not kept, or ''.
        parity: the comparison; None where the runtime failed.
        timing: of the file for one image.
        open_seconds: until it had answered one image.
        diverging: the first layer that differs, where it was looked for and found.
        notes: what the user should know.
        floating: layers of a file of 8 bits that stay in floating point.
        plain: timing of the same file before it was brought to 8 bits, for one image.
    """

    facts: Facts
    split: str
    data: str
    allowed: Allowed
    bytes: int
    threads: int
    model_ms: float
    refusal: str
    parity: Parity | None = None
    timing: Timing | None = None
    open_seconds: float | None = None
    diverging: str | None = None
    notes: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()
    plain: Timing | None = None

    def gain(self) -> float | None:
        """Return how many times as fast as in full precision a file of 8 bits is; None where that was not measured."""
        return None if self.timing is None or self.plain is None else self.plain.median / self.timing.median

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "kept": not self.refusal,
            **{name: value for name, value in asdict(self).items() if name not in ("facts", "timing", "plain")},
            "timing": None if self.timing is None else self.timing.to_dict(),
            "full_precision": None if self.plain is None else self.plain.to_dict(),
            "file": json.loads(self.facts.to_json()),
        }

    def to_markdown(self, destination: Path) -> str:
        """Return a page of it."""
        facts, parity = self.facts, self.parity
        verdict = f"Not kept: {self.refusal}." if self.refusal else f"Kept as `{destination.name}`."
        rows = [("size", f"{self.bytes / 1e6:.1f} MB"), ("precision", facts.precision)]
        if parity is not None and self.timing is not None:
            compared = f"{parity.words.answered} that agree, on {parity.images} {self.split} images"
            rows += [
                (compared, f"{parity.agreeing:,} of {parity.answers:,}"),
                (f"largest difference of a {parity.words.value}, one image at a time", f"{parity.largest:.1e}"),
                ("the same, several images at a time", f"{parity.batched:.1e}"),
                ("allowed", f"{self.allowed.difference:.0e}" if self.allowed.difference < 1 else "any"),
                (parity.words.mean, f"{parity.mean:.1e}"),
                ("the same of the image in which it is largest", f"{parity.worst_mean:.1e}"),
                *([("allowed", f"{self.allowed.mean:.0e}")] if self.allowed.mean is not None else []),
                (f"{parity.headline}, file", f"{100 * parity.file:.2f}%"),
                (f"{parity.headline}, model", f"{100 * parity.model:.2f}%"),
                *([(f"{parity.headline} lost, in points", f"{100 * parity.drop:.2f}")] if self.allowed.drop is not None else []),
                *([("lost points allowed", f"{100 * self.allowed.drop:.2f}")] if self.allowed.drop is not None else []),
                (f"one image, median, {self.threads} threads", str(self.timing)),
                *([("the same file in full precision", str(self.plain))] if self.plain is not None else []),
                ("the same by PyTorch", f"{self.model_ms:.1f} ms"),
                ("until the file had answered one image", f"{self.open_seconds:.2f} s"),
            ]
        table = "\n".join(f"| {name} | {value} |" for name, value in rows)
        doubt = self.timing.doubt() if self.timing is not None else ""
        geometry = "done in the file" if facts.any_size else "left to the caller"
        height, width = facts.preprocess.image_size
        lines = [
            f"# {facts.arch} as {facts.exported_as}",
            f"{verdict} Compared with {facts.source} on {self.data}; the file was opened by its own runtime in a fresh process, and read "
            "the image files themselves.",
            f"| | |\n|---|---|\n{table}",
            f"Times: {doubt}." if doubt else "",
            f"Geometry ({facts.preprocess.resize} to {height} x {width}): {geometry}; kernel: {KERNEL}.",
            self._floating(),
            *(f"Note: {note}." for note in self.notes),
            self._classes(),
        ]
        return "\n\n".join(line for line in lines if line) + "\n"

    def _floating(self) -> str:
        if self.facts.precision != "int8":
            return ""
        return f"Layers in floating point: {', '.join(f'`{name}`' for name in self.floating) or 'none'}."

    def _classes(self) -> str:
        """Return what is lost of each class, where something may be."""
        if self.allowed.drop is None or self.parity is None:
            return ""
        rows = [
            f"| {row.name} | {row.number:,} | {100 * row.model:.1f}% | {100 * row.file:.1f}% | {100 * (row.model - row.file):.1f} |"
            for row in self.parity.classes
        ]
        words = self.parity.words
        header = f"| class | {words.counted} | {words.figure} by the model | by the file | lost points |"
        return "\n".join([header, "|---|---|---|---|---|", *rows]) if rows else ""


def write_record(record: Record, destination: Path) -> None:
    """Write the page and the figures beside `destination`."""
    precision = "" if record.facts.precision == "fp32" else f"-{record.facts.precision}"
    stem = destination.with_name(f"parity-{record.facts.exported_as}{precision}")
    write_text(stem.with_suffix(".json"), json.dumps(record.to_dict(), indent=2, default=str) + "\n")
    write_text(stem.with_suffix(".md"), record.to_markdown(destination))
