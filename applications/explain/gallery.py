"""The folder that --visual_method writes: one PNG per image, a page of all, and how far each method can be believed."""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from applications.explain.faithfulness import Faithfulness
from utils.drawing.images import data_uri, sheet, write_png
from utils.files import write_csv, write_text
from utils.logs import log
from utils.metrics.statistics import bootstrap
from utils.page import Card, Page, folded, gallery, paragraph, table, tiles
from utils.terminal_tables import print_table

SIDE = 224
# With fewer images the ranking of the methods is mostly noise.
FEW = 20
# Pictures side by side, besides the image itself.
COLUMNS = 5
# Two in a row, so that what is written below the pictures can be read.
HALF_WIDTH = ".gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }"
FULL_WIDTH = ".gallery.wide { grid-template-columns: 1fr; } .gallery.wide .card img { width: auto; max-width: 100%; }"
HEADER = ("method", "insertion - deletion", "insertion", "deletion", "ms per image")


@dataclass(frozen=True)
class ExplainedImage:
    """One image, explained.

    Attributes:
        path: relative to its data set.
        right: whether the answer is.
        truth, found: in words.
        image: as the model sees it, uint8 (H, W, 3).
        labels: (class, probability): the most probable one, then the true one that was missed.
        overlays: for each of the labels, method -> uint8 (H, W, 3).
        empty: for each of the labels, the methods that find nothing which speaks for it: their maps are without color.
    """

    path: str
    right: bool
    truth: str
    found: str
    image: np.ndarray
    labels: tuple[tuple[str, float], ...]
    overlays: tuple[Mapping[str, np.ndarray], ...]
    empty: tuple[Collection[str], ...] = ((), ())

    def lines(self) -> list[str]:
        """Return what the page says below the picture, which holds the answers itself: the file, and maps without color."""
        blank = [
            f"nothing speaks for {label} ({', '.join(methods)}): its map has no color"
            for (label, _), methods in zip(self.labels, self.empty, strict=False)
            if methods
        ]
        return [self.path, *blank]


@dataclass
class MethodScores:
    """Faithfulness and time of each method, added up over the images."""

    methods: Sequence[str]
    seconds: dict[str, float] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    parts: dict[str, list[Faithfulness]] = field(default_factory=dict)

    @contextmanager
    def timed(self, method: str, images: int) -> Iterator[None]:
        """Add the time of the block, which explains this many images."""
        start = time.perf_counter()
        yield
        self.seconds[method] = self.seconds.get(method, 0.0) + time.perf_counter() - start
        self.images[method] = self.images.get(method, 0) + images

    def add(self, method: str, part: Faithfulness) -> None:
        """Add the faithfulness of some images."""
        self.parts.setdefault(method, []).append(part)

    def rows(self) -> list[dict[str, str | float]]:
        """Return the figures of each method, the most faithful first."""
        rows = []
        for method in self.methods:
            parts = self.parts[method]
            whole = Faithfulness(np.concatenate([part.deletion for part in parts]), np.concatenate([part.insertion for part in parts]))
            figures = (whole.gain(), float(whole.insertion.mean()), float(whole.deletion.mean()))
            rows.append(dict(zip(HEADER, (method, *figures, 1e3 * self.seconds[method] / self.images[method]), strict=True)))
        return sorted(rows, key=lambda row: -float(row[HEADER[1]]))

    def rivals(self, best: str) -> list[str]:
        """Return the methods that these images do not tell apart from the best one, by a paired bootstrap over them."""
        gains = {method: np.concatenate([part.insertion - part.deletion for part in self.parts[method]]) for method in self.methods}
        lead = {method: gains[best] - gain for method, gain in gains.items() if method != best}
        count = len(gains[best])
        found = bootstrap(lambda counts: {method: float(counts @ each) / count for method, each in lead.items()}, count)
        return [method for method, interval in found.items() if interval.low <= 0]


class Gallery:
    """Collects cases and writes them.

    Args:
        folder: where to.
        methods: what is drawn for each image.
        model, data: what they are, in a line.
        explanation: what the pictures show; None for labels.
    """

    def __init__(self, folder: Path, methods: Sequence[str], model: str, data: str, *, explanation: str | None = None) -> None:
        self.folder = folder
        self.methods = tuple(methods)
        self.model = model
        self.data = data
        self.explanation = EXPLANATION if explanation is None else explanation
        self.cards: dict[bool, list[Card]] = {False: [], True: []}
        self.rows: list[list[str]] = []

    def add(self, case: ExplainedImage) -> None:
        """Write the PNG of a case, and keep its card for the page."""
        place = self.folder / ("right" if case.right else "wrong")
        place.mkdir(exist_ok=True)
        picture = draw(case, self.methods)
        name = f"{len(self.cards[case.right]) + 1:04}-{Path(case.path).stem}.png"
        write_png(picture, place / name)
        self.cards[case.right].append(Card(data_uri(picture), case.lines(), "good" if case.right else "bad"))
        cells = [text for label, share in case.labels for text in (label, f"{share:.9g}")]
        self.rows.append([f"{place.name}/{name}", case.path, case.truth, case.found, *cells, *[""] * (4 - len(cells))])

    def write(self, figures: MethodScores, *, wrong: int, total: int) -> None:
        """Write page and tables; say what there is.

        Args:
            figures: of the methods.
            wrong, total: images of the whole split.
        """
        header = ["picture", "path", "true", "predicted", "explained", "probability", "explained too", "its probability"]
        write_csv(self.folder / "images.csv", [header, *self.rows])
        page = Page("What the model looked at", f"{self.model}; {self.data}", style=FULL_WIDTH if len(self.methods) > 2 else HALF_WIDTH)
        shown = sum(map(len, self.cards.values()))
        summary = {"images of the split": f"{total}", "answered wrongly": f"{wrong}", "shown here": f"{shown}"}
        page.section("Summary", tiles(summary), paragraph(self.explanation, tone="soft"))
        if len(self.methods) > 1:
            self._write_figures(figures, page)
        for right, title in ((False, "Wrong"), (True, "Right")):
            cards = self.cards[right]
            page.section(title, gallery(cards, wide=True) if cards else paragraph("No image.", tone="soft"))
        page.write(self.folder / "index.html")
        log().info(f"{wrong} of {total} answers are wrong; {len(self.cards[False])} wrong and {len(self.cards[True])} right ones are shown")
        log().info(f"written   {self.folder} (index.html, images.csv, one PNG per image)")

    def _write_figures(self, figures: MethodScores, page: Page) -> None:
        rows = figures.rows()
        cells = [[str(row[HEADER[0]]), *(f"{row[name]:.4f}" for name in HEADER[1:4]), f"{row[HEADER[4]]:.1f}"] for row in rows]
        write_csv(self.folder / "faithfulness.csv", [HEADER, *cells])
        write_text(self.folder / "faithfulness.json", json.dumps(rows, indent=2) + "\n")
        verdict = trust_sentence(cells, images=sum(map(len, self.cards.values())), rivals=figures.rivals(cells[0][0]))
        page.section("Which map to believe", paragraph(verdict), table(HEADER, cells), folded("How this is measured", paragraph(MEASURE)))
        print_table(HEADER, cells)
        log().info(verdict)


EXPLANATION = (
    "Each row: the image as the model sees it, then where it finds what speaks for the most probable class; where the answer is "
    "wrong, also what speaks for the true one. Red is warmest. A map shows what the answer hangs on, not why."
)
MEASURE = (
    "Deletion blurs the hottest pixels first, insertion brings them back first, out of a blurred image; each figure is the area under "
    "the probability of the answer meanwhile, over the images shown here. A good map has a low deletion and a high insertion. "
    "Random maps are the control: what does not beat them says nothing. Times leave out the one pass that all methods share."
)


def trust_sentence(rows: Sequence[Sequence[str]], *, images: int, rivals: Collection[str] = ()) -> str:
    """Return which methods to believe, in a sentence.

    Args:
        rows: of the table, in their order.
        images: how many they were measured on.
        rivals: methods that these images do not tell apart from the first one.
    """
    names = [row[0] for row in rows]
    doubt = f" These are figures of {images} images, too few to rely on." if images < FEW else ""
    beside = ", ".join(name for name in names[1:] if name in rivals)
    near = f"; these images do not tell {beside} apart from it" if beside else ""
    if "random" not in names:
        return f"Most faithful here: {names[0]}{near}.{doubt}"
    above, below = names[: names.index("random")], names[names.index("random") + 1 :]
    if not above or "random" in rivals:
        return f"No map is clearly more faithful than noise here: believe none.{doubt}"
    tail = f" No better than noise: {', '.join(below)}." if below else ""
    return f"Most faithful here: {above[0]}{near}.{tail}{doubt}"


def draw(case: ExplainedImage, methods: Sequence[str]) -> np.ndarray:
    """Return the picture of a case: the image and its heat maps in a row; of many methods, rows of their own for each label."""
    whole = (case.image, f"is {case.truth}\nsaid {case.found}")
    maps = [
        [(overlays[method], _caption(label, share, method, empty=method in empty)) for method in methods]
        for (label, share), overlays, empty in zip(case.labels, case.overlays, case.empty, strict=False)
    ]
    cells = [whole, *maps[0]]
    for more in maps[1:]:
        if len(methods) == 1:
            cells += more
            continue
        blank = (np.full_like(case.image, 255), "")
        cells += [blank] * (-len(cells) % (COLUMNS + 1)) + [whole, *more]
    return sheet([image for image, _ in cells], [caption for _, caption in cells], columns=COLUMNS + 1, side=SIDE)


def _caption(label: str, share: float, method: str, *, empty: bool) -> str:
    """Return what is written below a map, in lines that fit its width."""
    blank = "\nnothing speaks for this class" if empty else ""
    return f"{label}\n{share:.1%}, {method}{blank}"
