"""Heat maps of a detector: for images of a split, what its surest box hangs on, and what spoke for a missed object or for a false box."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.explain.d_rise import MASKS, Asked, d_rise
from applications.explain.gallery import ExplainedImage, Gallery, MethodScores
from applications.explain.heat_overlays import displayable
from applications.explain.labels import choose
from applications.explain.methods import BOX_METHODS, named_methods
from applications.settings.options import SingleImageOptions
from applications.tasks.box_meter import BoxRows
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained, open_held_out
from applications.trained.inference import measure_split
from applications.trained.trained_task import build_trained_task
from criterions.detection.assignment import overlaps
from dataloader.splits.split import Split
from dataloader.targets.plane_change import PlaneChange
from utils.drawing.box_pictures import framed
from utils.drawing.images import overlay
from utils.drawing.mask_pictures import class_colors
from utils.errors import UserError
from utils.files import new_folder, removed_on_error
from utils.logs import log
from utils.metrics.box_matching import Matches, match_boxes
from utils.progress_bar import progress_bar
from utils.text import counted

METHOD = "d-rise"
# A map asks the network about every mask.
DEFAULT_LIMIT = 12
OVERLAP = 0.5
EXPLANATION = (
    "Each row: the image as the model sees it with the boxes that it answers, then what its surest box hangs on; beside it what speaks for "
    "an object that it misses, or else for a false box. Red is warmest: where the box is no longer found once this is hidden."
)


def explain_boxes(trained: Trained, options: SingleImageOptions, machine: Machine) -> int:
    """Write the heat maps of a detector; return the exit code.

    Raises:
        UserError: another method is asked for, or an exported file, or there is nothing to explain.
    """
    methods = named_methods(options.visual_method or METHOD, BOX_METHODS)
    if trained.exported is not None:
        raise UserError(f"--visual_method {METHOD} asks a run what every place says of its boxes; name the run, not {trained.path}")
    task = build_trained_task(trained, machine.device)
    assert isinstance(task, Detect)
    set_choice(task, trained)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    meter = BoxRows(task.classes, task.measured, split.target, trained.preprocess)
    measure_split(trained, split, task, machine, meter=meter)
    confident = meter.answers.rows(meter.answers.scores >= np.float32(task.confidence))
    images = judge(match_boxes(meter.truths, confident, np.array([OVERLAP])), len(split))
    wrong, images = sum(not each.right for each in images), [each for each in images if _targets(each)]
    if not images:
        raise UserError(f"{split.display_path}: no {split.name} image has an object or an answered box, so there is nothing to explain")
    chosen = choose([each.right for each in images], np.array([each.mistakes for each in images]), limit=options.limit or DEFAULT_LIMIT)
    # Scores as the network says them: a temperature makes one number of objectness and class.
    task.temperature = 1.0
    detector = ImageDetector(trained, task, machine)
    log().info(f"masks     {MASKS:,} of each of {counted(len(chosen), 'image')}")
    with removed_on_error(new_folder(trained.results_folder(), f"visual-{split.name}")) as folder:
        gallery = Gallery(folder, methods, trained.describe(), f"{split.name} images of {split.display_path}", explanation=EXPLANATION)
        with progress_bar("heat maps", len(chosen)) as advance:
            for case in _explained(detector, split, [images[number] for number in chosen], advance):
                gallery.add(case)
        gallery.write(MethodScores(methods), wrong=wrong, total=len(split))
    return 0


@dataclass(frozen=True)
class JudgedBoxes:
    """What a detector answers for an image, in pixels of its file.

    Attributes:
        index: position in the split.
        corners, scores, classes, found: of the answers, the surest first: (K, 4) and (K,); `found`: whether each finds an object.
        missed, missed_classes: objects that no answer finds, the largest first, (L, 4) and (L,).
        objects: classes of all objects.
    """

    index: int
    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    missed_classes: np.ndarray
    objects: np.ndarray

    @property
    def mistakes(self) -> int:
        """Missed objects and false boxes."""
        return len(self.missed) + int((~self.found).sum())

    @property
    def right(self) -> bool:
        return not self.mistakes


def judge(matches: Matches, count: int) -> list[JudgedBoxes]:
    """Return the answers and the missed objects of every image; crowds are neither, nor are answers that lie in them."""
    answers, truths = matches.answers, matches.truths
    lost = ~matches.uncounted[0]
    lost[matches.found[0][matches.hits[0, 0]]] = False
    images = []
    for index in range(count):
        own = np.flatnonzero((answers.images == index) & ~matches.ignored[0, 0])
        own = own[np.argsort(-answers.scores[own], kind="stable")]
        here = np.flatnonzero(lost & (truths.images == index))
        here = here[np.argsort(-truths.areas[here], kind="stable")]
        objects = truths.classes[(truths.images == index) & ~matches.uncounted[0]]
        answered = (answers.corners[own], answers.scores[own], answers.classes[own], matches.hits[0, 0][own])
        images.append(JudgedBoxes(index, *answered, truths.corners[here], truths.classes[here], objects))
    return images


def _explained(
    detector: ImageDetector, split: Split, images: list[JudgedBoxes], advance: Callable[[int], None]
) -> Iterator[ExplainedImage]:
    """Yield the images, which have something to explain, with their heat maps."""
    trained, classes = detector.trained, detector.task.classes
    hidden = torch.tensor(trained.preprocess.mean).expand(trained.preprocess.bands) * 255
    colors = class_colors(len(classes)).tolist()
    for each in images:
        image = split.read(each.index)
        pixels = trained.preprocess.apply(image)
        change = trained.preprocess.change((image.shape[0], image.shape[1]))

        def placed(corners: np.ndarray, change: PlaneChange = change) -> np.ndarray:
            return change.move_points(corners.reshape(-1, 2).astype(np.float64)).reshape(-1, 4)

        targets = _targets(each)
        said = detector.look(pixels[None])[0].cpu()
        shown = displayable(pixels)
        scale = np.array([shown.shape[1], shown.shape[0]] * 2) / np.array([pixels.shape[2], pixels.shape[1]] * 2)
        corners = torch.from_numpy(placed(np.stack([corners for corners, _, _ in targets]))).float()
        asked = Asked(corners, torch.tensor([label for _, label, _ in targets]))
        heat = d_rise(detector.look, pixels, hidden, asked, seed=each.index)
        drawn = framed(shown, placed(each.corners) * scale, [colors[label] for label in each.classes.tolist()])
        yield ExplainedImage(
            split.paths[each.index],
            each.right,
            in_words(each.objects, classes),
            in_words(each.classes, classes),
            drawn,
            tuple((f"{classes[label]}, {what}", _score_at(said, placed(corners)[0], label)) for corners, label, what in targets),
            tuple(
                {METHOD: framed(overlay(shown, one), placed(corners) * scale, [colors[label]])}
                for one, (corners, label, _) in zip(heat, targets, strict=True)
            ),
        )
        advance(1)


def _targets(judged: JudgedBoxes) -> list[tuple[np.ndarray, int, str]]:
    """Return corners, class and kind of the boxes to explain: the surest answer; then a missed object, or else a false box."""
    targets = [(judged.corners[0], int(judged.classes[0]), "found" if judged.found[0] else "false")] if len(judged.corners) else []
    false = np.flatnonzero(~judged.found)
    if len(judged.missed):
        targets.append((judged.missed[0], int(judged.missed_classes[0]), "missed"))
    elif len(false) and false[0] > 0:
        targets.append((judged.corners[false[0]], int(judged.classes[false[0]]), "false"))
    return targets


def _score_at(said: Tensor, corners: np.ndarray, label: int) -> float:
    """Return the highest score of a class among the places that say a box like this one; 0 without any."""
    near = overlaps(said[:, :4], torch.from_numpy(corners).float()) >= OVERLAP
    scores = said[near, 4] * said[near, 5 + label]
    return float(scores.max()) if len(scores) else 0.0


def in_words(labels: np.ndarray, classes: tuple[str, ...]) -> str:
    """Return '2 cat, 1 dog'; 'nothing' for no boxes."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return ", ".join(f"{count} {name}" for count, name in zip(counts, classes, strict=True) if count) or "nothing"
