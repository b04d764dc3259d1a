"""Shows where a trained model looked: heat maps over the images of a split, right and wrong answers apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from applications import assemble
from applications.assemble import Machine
from applications.cam_gallery import Case, Figures, Gallery
from applications.cam_methods import Eye, Look, available, heat_maps, load_package
from applications.contract import Prediction, Task, decide
from applications.evaluate import predict_split
from applications.faithfulness import measure
from applications.options import Request
from applications.trained import Trained, build_trained_task, load_trained, open_held_out
from applications.visual_methods import named_methods
from applications.waits import expected_heat_maps
from dataloader.catalog import Split
from dataloader.preprocess import Normalize
from models.backbone import Backbone
from utils.errors import UserError
from utils.files import new_folder, removed_on_error
from utils.images import enlarged, overlay
from utils.logs import log
from utils.progress import progress_bar
from utils.runtime import choose_precision

DEFAULT_METHOD = "grad-cam"
DEFAULT_LIMIT = 48
BATCH = 32
# These ask the network about every channel; one image at a time keeps the bar moving.
SLOW = {"score-cam", "ablation-cam"}
# Pixels of the longer side that a small image is enlarged to.
SIDE = 224


def run(request: Request) -> int:
    """Explain answers of the model of --resume; return the exit code."""
    machine = assemble.open_machine(request.config, training=False)
    options = request.config.look
    methods = named_methods(options.visual_method or DEFAULT_METHOD)
    trained = load_trained(request, machine.device)
    if request.subject:
        trained = replace(trained, config=replace(trained.config, output=replace(trained.config.output, split=request.subject)))
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.root}: {len(split)} {split.name} images")
    eye = open_eye(trained)
    methods, reasons = available(methods, eye)
    if not methods:
        raise UserError(f"--visual_method {options.visual_method}: {reasons[0]}; take grad-cam")
    for reason in reasons:
        log().info(f"          left out: {reason}")
    task = build_trained_task(trained, machine.device)
    prediction = predict_split(trained, split, task, machine)
    verdicts = judge(prediction, trained.classes, task.thresholds)
    chosen = choose([verdict.right for verdict in verdicts], prediction.losses.numpy(), limit=options.limit or DEFAULT_LIMIT)
    if chosen:
        first = Look(eye, normalized(trained, [trained.preprocess.apply(split.read(verdicts[chosen[0]].index))]))
        log().info(f"time      {expected_heat_maps(first, methods, len(chosen))}")
    with removed_on_error(new_folder(trained.results_folder(), f"visual-{split.name}")) as folder:
        gallery = Gallery(folder, methods, trained.describe(), f"{split.name} images of {split.root}")
        figures = Figures(methods)
        with progress_bar("heat maps", len(chosen) * len(methods)) as advance:
            shown = [verdicts[index] for index in chosen]
            for case in _explain_split(trained, eye, split, task, shown, methods, figures, machine, advance):
                gallery.add(case)
        gallery.write(figures, wrong=sum(not verdict.right for verdict in verdicts), total=len(split))
    return 0


def open_eye(trained: Trained) -> Eye:
    """Return the network of a trained model, prepared for looking: in half precision where the hardware has it, but for fp32 runs."""
    assert isinstance(trained.model, Backbone)
    wanted = "fp32" if trained.config.runtime.precision == "fp32" else "auto"
    precision = choose_precision(wanted, next(trained.model.parameters()).device)
    return Eye(trained.model, trained.config.model.arch, trained.preprocess.image_size, precision.dtype)


def explain(trained: Trained, images: Sequence[np.ndarray], classes: Sequence[int], method: str = DEFAULT_METHOD) -> list[np.ndarray]:
    """Return each image as the model sees it, with the heat of a class laid over, uint8 (H, W, 3).

    Args:
        trained: the model.
        images: uint8 (h, w, 3), RGB, of any sizes.
        classes: the class of each image whose heat is wanted.
        method: a row of METHODS.

    Raises:
        UserError: the method is unknown, or the network cannot give it.
    """
    (name,) = named_methods(method)
    eye, found = open_eye(trained), []
    for start in range(0, len(images), BATCH):
        pictures = [trained.preprocess.apply(image) for image in images[start : start + BATCH]]
        look = Look(eye, normalized(trained, pictures), start)
        heat = heat_maps(name, look, torch.tensor(classes[start : start + BATCH], device=look.x.device))
        found += [overlay(shown(picture), each) for picture, each in zip(pictures, heat, strict=True)]
    return found


def normalized(trained: Trained, pictures: Sequence[Tensor]) -> Tensor:
    """Return images, uint8 (3, H, W) each, as the network takes them: (N, 3, H, W) on its device."""
    device = next(trained.model.parameters()).device
    normalize = Normalize(trained.preprocess.mean, trained.preprocess.std).to(device)
    return normalize(torch.stack(list(pictures)).to(device).contiguous(memory_format=torch.channels_last))


def shown(picture: Tensor) -> np.ndarray:
    """Return an image, uint8 (3, H, W), as a person can see it, uint8 (H', W', 3): small ones are enlarged."""
    import cv2

    image = enlarged(picture.permute(1, 2, 0).numpy(), SIDE)
    factor = SIDE / max(image.shape[:2])
    return image if factor <= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Verdict:
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


def judge(prediction: Prediction, classes: Sequence[str], thresholds: tuple[float, ...] | None) -> list[Verdict]:
    """Compare the answers with the truth, image by image."""
    answers = decide(prediction.probabilities, thresholds).numpy()
    truth = prediction.targets.numpy()
    if truth.ndim == 1:
        truth = np.eye(len(classes))[truth]
    truth = truth >= 0.5
    probabilities = prediction.probabilities.numpy()
    verdicts = []
    for index, named, true, row in zip(prediction.indices.tolist(), answers, truth, probabilities, strict=True):
        missed = np.flatnonzero(true & ~named)
        second = int(missed[row[missed].argmin()]) if len(missed) else None
        words = [", ".join(classes[label] for label in np.flatnonzero(labels).tolist()) or "nothing" for labels in (true, named)]
        verdicts.append(Verdict(index, bool((named == true).all()), words[0], words[1], int(row.argmax()), second, row))
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
    eye: Eye,
    split: Split,
    task: Task,
    verdicts: Sequence[Verdict],
    methods: Sequence[str],
    figures: Figures,
    machine: Machine,
    advance: Callable[[int], None],
) -> Iterator[Case]:
    """Yield the images with their heat maps, and add up how far these can be believed; `advance` hears how many are done."""
    # So that its import is not counted as time of the first method.
    load_package()
    size = 1 if SLOW & set(methods) else BATCH
    for start in range(0, len(verdicts), size):
        part = verdicts[start : start + size]
        pictures = [trained.preprocess.apply(split.read(verdict.index)) for verdict in part]
        look = Look(eye, normalized(trained, pictures), start)
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
                probabilities = lambda x: task.criterion.probabilities(eye.model(x).float())  # noqa: E731
                figures.add(method, measure(probabilities, look.x, heat[method], first))
            advance(len(part))
        for row, verdict in enumerate(part):
            labels = [verdict.first] if verdict.second is None or verdict.second == verdict.first else [verdict.first, verdict.second]
            picture = shown(pictures[row])
            yield Case(
                split.paths[verdict.index],
                verdict.right,
                verdict.truth,
                verdict.found,
                picture,
                tuple((trained.classes[label], float(verdict.probabilities[label])) for label in labels),
                tuple({m: overlay(picture, source[m][row]) for m in methods} for source in (heat, truly)[: len(labels)]),
            )
