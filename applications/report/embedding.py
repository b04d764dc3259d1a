"""A map of the images as the model sees them: t-SNE (van der Maaten and Hinton 2008) of the vectors before the classifier."""

import copy
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from applications.report.measured_labels import MeasuredLabels
from applications.report.report_part import ReportPart
from applications.tasks.label_task import LabelTask
from applications.trained.inference import read_by_classifier
from dataloader.sample import Batch
from models.classifier_input import as_vectors
from utils.errors import UserError
from utils.files import write_csv
from utils.logs import log
from utils.page import escaped, paragraph

MOST_IMAGES = 500
FEWEST_IMAGES = 10
PALETTE = (
    *("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8a8580"),
    *("#1b6ca8", "#b35900", "#8c1d24", "#2f7f79", "#2f6b27", "#a58a00", "#6d3f69", "#c2506a", "#5e4433", "#4d4a47"),
)
SIZE, MARGIN = 560, 14


class ClassifierInputRecorder:
    """Records the classifier's input vectors of up to MOST_IMAGES images during evaluation, so that no second pass is needed.

    Args:
        model: the network.
        images: how many there are; those recorded are evenly spaced.

    Attributes:
        vectors: index of an image -> the classifier's input, (D,).
    """

    def __init__(self, model: nn.Module, images: int) -> None:
        self.vectors: dict[int, np.ndarray] = {}
        self._wanted = set(np.linspace(0, images - 1, min(images, MOST_IMAGES)).round().astype(int).tolist())
        self._model = model

    def around(self, task: LabelTask) -> LabelTask:
        """Return the task with a `forward` that records."""
        try:
            with read_by_classifier(self._model):
                pass
        except UserError as error:
            log().info(f"          the report comes without a map of the images: {error}")
            return task
        told = copy.copy(task)

        def forward(model: nn.Module, batch: Batch) -> Tensor:
            with read_by_classifier(self._model) as read:
                outputs = task.forward(model, batch)
            # With --tta there is one vector per view; keep the first view's.
            for index, vector in zip(batch.indices.tolist(), as_vectors(read[0]).cpu().numpy(), strict=True):
                if index in self._wanted:
                    # A copy: a view would keep the whole batch in memory.
                    self.vectors[index] = vector.copy()
            return outputs

        told.forward = forward
        return told


def embedding_map(material: MeasuredLabels, groups: np.ndarray, right: np.ndarray) -> ReportPart:
    """Return the map, one dot per image.

    Args:
        material: the measured model.
        groups: class of every image, int (N,), -1 for none; it gives the color.
        right: whether the answer is right, bool (N,); wrong ones get a ring.
    """
    indices = material.prediction.indices.tolist()
    rows = np.array([row for row, index in enumerate(indices) if index in material.vectors], dtype=int)
    if len(rows) < FEWEST_IMAGES:
        return ReportPart()
    places = _unfold(np.stack([material.vectors[indices[row]] for row in rows]), material.seed)
    names = [material.classes[group] if group >= 0 else "" for group in groups[rows]]
    cells = ([material.file(row), name, f"{x:.4f}", f"{y:.4f}"] for row, name, (x, y) in zip(rows, names, places.tolist(), strict=True))
    write_csv(material.attachments / "embedding.csv", [["image", "class", "x", "y"], *cells])
    part = "" if len(rows) == len(groups) else f" {len(rows)} of {len(groups)} images, evenly chosen."
    note = "Images that the network finds similar lie close together; rings are wrong answers. Distances between clusters mean nothing."
    blocks = [paragraph(note + part, tone="soft"), _scatter(material, rows, places, groups, right)]
    return ReportPart(sections=[("A map of the images", blocks)])


def _unfold(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Return places (N, 2) in [0, 1]."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    vectors = np.nan_to_num(vectors)
    if vectors.shape[1] > 30:
        # At most 50 dimensions, as in the paper: faster, and less noise.
        vectors = PCA(min(30, len(vectors)), svd_solver="randomized", random_state=seed).fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # A dead network gives equal vectors everywhere, which have no first component.
    init = "pca" if vectors.std() > 0 and vectors.shape[1] > 1 else "random"
    places = TSNE(perplexity=perplexity, max_iter=500, init=init, random_state=seed).fit_transform(vectors)
    low, high = places.min(0), places.max(0)
    return (places - low) / np.maximum(high - low, 1e-9)


def _scatter(material: MeasuredLabels, rows: np.ndarray, places: np.ndarray, groups: np.ndarray, right: np.ndarray) -> str:
    dots = []
    # Wrong answers are drawn last, on top.
    for number in np.argsort(~right[rows], kind="stable").tolist():
        row = int(rows[number])
        x, y = (MARGIN + (SIZE - 2 * MARGIN) * place for place in places[number].tolist())
        group = int(groups[row])
        ring = "" if right[row] else ' stroke="var(--ink)" stroke-width="2"'
        label = f"{material.classes[group] if group >= 0 else '-'}: {material.file(row)}"
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_color(group)}"{ring}><title>{escaped(label)}</title></circle>')
    used = [group for group in sorted(set(groups[rows].tolist())) if group >= 0]
    return (
        f'<figure><svg viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" style="max-width:100%;background:var(--card);border-radius:.5rem">'
        f"{''.join(dots)}</svg><figcaption>{_legend(material.classes, used)}</figcaption></figure>"
    )


def _legend(classes: tuple[str, ...], used: Sequence[int]) -> str:
    if len(used) > len(PALETTE):
        return "Colors repeat; point at a dot for its class."
    return " &nbsp; ".join(f'<span style="color:{_color(group)}">●</span> {escaped(classes[group])}' for group in used)


def _color(group: int) -> str:
    return PALETTE[group % len(PALETTE)] if group >= 0 else "#999999"
