"""Shows where a classifier looked: heat maps over the images of a split, right and wrong answers apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from applications.assemble import Machine
from applications.explain.faithfulness import measure
from applications.explain.gallery import ExplainedImage, Gallery, MethodScores
from applications.explain.heat_maps import ExplainedBatch, Explainer, available, heat_maps, load_package
from applications.explain.heat_overlays import BATCH, displayable, normalized, open_explainer
from applications.explain.methods import named_methods
from applications.explain.time_estimate import expected_heat_maps
from applications.settings.options import SingleImageOptions
from applications.tasks.label_answers import decide
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained, open_held_out
from applications.trained.inference import predict_split
from applications.trained.trained_task import build_label_task
from dataloader.batch.targets import dense_array
from dataloader.splits.split import Split
from utils.drawing.images import overlay
from utils.errors import UserError
from utils.files import new_folder, removed_on_error
from utils.logs import log
from utils.progress_bar import progress_bar

DEFAULT_LIMIT = 48
# These ask the network about every channel; one image at a time keeps the bar moving.
SLOW = {"score-cam", "ablation-cam"}


def explain_labels(trained: Trained, options: SingleImageOptions, machine: Machine) -> int:
    """Write heat maps of answers; return the exit code.

    Raises:
        UserError: a method is for models of another kind, or the network cannot give it.
    """
    asked = named_methods(options.visual_method) if options.visual_method else []
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    explainer = open_explainer(trained)
    methods, reasons = available(asked or [explainer.default], explainer)
    if not methods:
        raise UserError(f"--visual_method {options.visual_method or explainer.default}: {reasons[0]}")
    for reason in reasons:
        log().info(f"          left out: {reason}")
    task = build_label_task(trained, machine.device)
    prediction = predict_split(trained, split, task, machine)
    verdicts = judge(prediction, trained.classes, task.chosen.thresholds)
    chosen = choose([verdict.right for verdict in verdicts], prediction.losses.numpy(), limit=options.limit or DEFAULT_LIMIT)
    if chosen and trained.exported is None:
        first = ExplainedBatch(explainer, normalized(trained, [trained.preprocess.apply(split.read(verdicts[chosen[0]].index))]))
        log().info(f"time      {expected_heat_maps(first, methods, len(chosen))}")
    with removed_on_error(new_folder(trained.results_folder(), f"visual-{split.name}")) as folder:
        gallery = Gallery(folder, methods, trained.describe(), f"{split.name} images of {split.display_path}")
        figures = MethodScores(methods)
        with progress_bar("heat maps", len(chosen) * len(methods)) as advance:
            listed = [verdicts[index] for index in chosen]
            for case in _explain_split(trained, explainer, split, task, listed, methods, figures, machine, advance):
                gallery.add(case)
        gallery.write(figures, wrong=sum(not verdict.right for verdict in verdicts), total=len(split))
    return 0


@dataclass(frozen=True)
class JudgedAnswer:
    """What the model said of one image.

    Attributes:
        index: position in the split.
        right: whether it is so.
        truth, found: in words.
        first: the most probable class.
        second: where the answer is wrong, the true class; of several labels, the missed one that was the least probable.
        probabilities: (K,).
    """

    index: int
    right: bool
    truth: str
    found: str
    first: int
    second: int | None
    probabilities: np.ndarray


def judge(prediction: Prediction, classes: Sequence[str], thresholds: tuple[float, ...] | None) -> list[JudgedAnswer]:
    """Compare the answers with the truth, image by image."""
    answers = decide(prediction.probabilities, thresholds).numpy()
    truth = dense_array(prediction.targets.numpy(), len(classes)) >= 0.5
    probabilities = prediction.probabilities.numpy()
    verdicts = []
    for index, named, true, row in zip(prediction.indices.tolist(), answers, truth, probabilities, strict=True):
        missed = np.flatnonzero(true & ~named)
        second = int(missed[row[missed].argmin()]) if len(missed) else None
        words = [", ".join(classes[label] for label in np.flatnonzero(labels).tolist()) or "nothing" for labels in (true, named)]
        verdicts.append(JudgedAnswer(index, bool((named == true).all()), words[0], words[1], int(row.argmax()), second, row))
    return verdicts


def choose(right: Sequence[bool], losses: np.ndarray, *, limit: int) -> list[int]:
    """Return the positions of the images to show: up to half of `limit` wrong ones, the highest losses first; then right ones.

    Right ones are spread evenly, so that all classes are seen.
    """
    hits = np.asarray(right, dtype=bool)
    wrong = np.flatnonzero(~hits)
    wrong = wrong[np.argsort(-losses[wrong], kind="stable")]
    fine = np.flatnonzero(hits)
    count = min(len(wrong), max(limit // 2, limit - len(fine)))
    spread = np.linspace(0, len(fine) - 1, min(len(fine), limit - count)).round().astype(int)
    return [*wrong[:count].tolist(), *fine[spread].tolist()]


def _explain_split(
    trained: Trained,
    explainer: Explainer,
    split: Split,
    task: LabelTask,
    verdicts: Sequence[JudgedAnswer],
    methods: Sequence[str],
    figures: MethodScores,
    machine: Machine,
    advance: Callable[[int], None],
) -> Iterator[ExplainedImage]:
    """Yield the images with their heat maps, and add up how far these can be believed; `advance` is told how many are done."""
    # So that its import is not counted as time of the first method.
    load_package()
    size = 1 if SLOW & set(methods) else BATCH
    for start in range(0, len(verdicts), size):
        part = verdicts[start : start + size]
        pictures = [trained.preprocess.apply(split.read(verdict.index)) for verdict in part]
        look = ExplainedBatch(explainer, normalized(trained, pictures), start)
        # One pass for all methods, whose times leave it out.
        _ = look.seen
        first = torch.tensor([verdict.first for verdict in part], device=machine.device)
        second = torch.tensor([verdict.first if verdict.second is None else verdict.second for verdict in part], device=machine.device)
        asked = bool((first != second).any())
        heat, truly = {}, {}
        for method in methods:
            with figures.timed(method, len(part)):
                heat[method] = heat_maps(method, look, first)
            if asked:
                truly[method] = heat_maps(method, look, second)
            if len(methods) > 1:
                probabilities = lambda x: task.criterion.probabilities(explainer.model(x).float())  # noqa: E731
                figures.add(method, measure(probabilities, look.x, heat[method], first))
            advance(len(part))
        for row, verdict in enumerate(part):
            labels = [verdict.first] if verdict.second is None or verdict.second == verdict.first else [verdict.first, verdict.second]
            picture = displayable(pictures[row])
            yield ExplainedImage(
                split.paths[verdict.index],
                verdict.right,
                verdict.truth,
                verdict.found,
                picture,
                tuple((trained.classes[label], float(verdict.probabilities[label])) for label in labels),
                tuple({m: overlay(picture, source[m][row]) for m in methods} for source in (heat, truly)[: len(labels)]),
                tuple([m for m in methods if not source[m][row].any()] for source in (heat, truly)[: len(labels)]),
            )
