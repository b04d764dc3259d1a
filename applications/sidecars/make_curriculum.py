"""Writes a curriculum: a weight for every image, by how probable a trained model holds its label; with a summary and pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import numpy as np

from applications import assemble
from applications.assemble.seen_images import write_beside
from applications.settings.options import Request
from applications.sidecars.apply import checked_writable, sidecar_folder
from applications.sidecars.split_predictions import SplitPredictions, predict_named_split
from dataloader.sidecars.curriculum_file import CURRICULUM, assign_courses, label_probabilities
from dataloader.sidecars.format import WEIGHT, write_sidecar
from dataloader.splits.split import Split
from utils.distributed import close_world
from utils.drawing.images import file_uri, sheet, write_png
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_atomically, write_csv
from utils.logs import log
from utils.page import Page, paragraph, picture, table
from utils.terminal_tables import print_table

PICTURES, COLUMNS, SIDE = 24, 8, 112


class Course(NamedTuple):
    """Images that count alike.

    Attributes:
        name: what is said of it.
        threshold: the probability that its images exceed; None for those that exceed none.
        weight: factor of their loss.
        members: their indices.
    """

    name: str
    threshold: float | None
    weight: float
    members: np.ndarray


def run(request: Request) -> int:
    """Write the curriculum of the split that --make_curriculum names, judged by the model of --resume."""
    thresholds, weights = request.config.teach.courses()
    machine = assemble.open_machine(request.config, training=False)
    try:
        opinions = predict_named_split(request, request.subject, machine)
        if machine.world.is_first:
            _write(request, opinions, thresholds, weights)
        return 0
    finally:
        close_world(machine.world)


def _write(request: Request, opinions: SplitPredictions, thresholds: Sequence[float], weights: Sequence[float]) -> None:
    split = opinions.split
    probabilities = label_probabilities(opinions.probabilities, split.targets)
    places = assign_courses(probabilities, thresholds)
    # What exceeds no threshold is listed with weight 0, so that a person finds it in the file.
    by_place = np.array([*weights, 0.0])
    if not (by_place[places] > 0).any():
        remedy = f"the model is surer of none than {min(thresholds):g}; lower --curriculum_thresholds"
        raise UserError(f"no {split.name} image would have a positive weight: {remedy}")
    facts = {"model": str(opinions.source.resolve()), "split": split.name, "thresholds": list(thresholds), "weights": list(weights)}
    folder = checked_writable(sidecar_folder(request.config.teach, split))
    with kept_copy(folder / CURRICULUM):
        write_sidecar(folder / CURRICULUM, [WEIGHT], split.paths, by_place[places][:, None], facts=facts)
    write_beside(folder / CURRICULUM, opinions.seen)
    courses = group(places, thresholds, weights)
    print_summary(courses, len(split))
    with removed_on_error(new_folder(opinions.results, f"curriculum-{split.name}")) as pictures:
        page = write_summary(courses, opinions, probabilities, pictures)
    log().info(f"written   {folder / CURRICULUM}, {len(split)} images; pictures of every course in {page}")
    if doubt := opinions.doubt():
        log().warning(doubt)
    more = "" if request.config.teach.sidecar_dir is None else f" --sidecar_dir {quote(str(folder))}"
    log().info(f"next: python main.py {opinions.flags} --curriculum_learning{more}  # look at the file and edit it before")


@contextmanager
def kept_copy(file: Path) -> Iterator[None]:
    """Keep a copy of a file that the block overwrites: a person may have edited it. Nothing is kept when the block fails."""
    if not file.is_file():
        yield
        return
    number, copy = 1, file.with_name(f"{file.stem}-old{file.suffix}")
    while copy.exists():
        number += 1
        copy = file.with_name(f"{file.stem}-old-{number}{file.suffix}")
    earlier = file.read_bytes()
    write_atomically(copy, lambda place: place.write_bytes(earlier))
    try:
        yield
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    if file.read_bytes() == earlier:
        copy.unlink()
    else:
        log().info(f"kept      the earlier curriculum as {copy}")


def group(places: np.ndarray, thresholds: Sequence[float], weights: Sequence[float]) -> list[Course]:
    """Return the courses; one without threshold stands at the end when there are images that exceed none."""
    found = [
        Course(f"course {place + 1}", threshold, weight, np.flatnonzero(places == place))
        for place, (threshold, weight) in enumerate(zip(thresholds, weights, strict=True))
    ]
    rest = np.flatnonzero(places == len(thresholds))
    return [*found, Course("left out", None, 0.0, rest)] if len(rest) else found


def rows(courses: Sequence[Course], images: int) -> list[list[str]]:
    """Return the summary: a header, then a row a course."""
    lines = [
        [
            course.name,
            "-" if course.threshold is None else f"{course.threshold:g}",
            f"{course.weight:g}",
            str(len(course.members)),
            f"{len(course.members) / images:.1%}",
        ]
        for course in courses
    ]
    return [["course", "probability above", "weight", "images", "share"], *lines]


def print_summary(courses: Sequence[Course], images: int) -> None:
    header, *lines = rows(courses, images)
    print_table(header, lines)


def write_summary(courses: Sequence[Course], opinions: SplitPredictions, probabilities: np.ndarray, folder: Path) -> Path:
    """Write courses.csv, a sheet of pictures a course and the page that shows them; return the page."""
    split = opinions.split
    lines = rows(courses, len(split))
    write_csv(folder / "courses.csv", lines)
    page = Page(f"Curriculum of {len(split)} {split.name} images", f"{split.display_path}, judged by {opinions.source}")
    page.section(
        "Courses",
        table(lines[0], lines[1:]),
        paragraph("An image belongs to the first course whose threshold the probability of its label exceeds."),
    )
    for number, course in enumerate(courses, start=1):
        if len(course.members) == 0:
            continue
        # Spread over the course from the surest image to the least sure.
        ordered = course.members[np.argsort(-probabilities[course.members], kind="stable")]
        chosen = ordered[np.linspace(0, len(ordered) - 1, min(PICTURES, len(ordered))).round().astype(int)]
        captions = [f"{label_text(split, index, opinions.classes)}\n{probabilities[index]:.3f}" for index in chosen.tolist()]
        file = folder / f"course-{number}.png"
        write_png(sheet([split.show(index) for index in chosen.tolist()], captions, columns=COLUMNS, side=SIDE), file)
        text = f"{len(chosen)} of {len(ordered)} images, the surest first, with the probability of their label"
        page.section(f"{course.name.capitalize()}: weight {course.weight:g}", picture(file_uri(file), alt=course.name, caption=text))
    file = folder / "curriculum.html"
    page.write(file)
    return file


def label_text(split: Split, index: int, classes: Sequence[str]) -> str:
    """Return the label of an image, or its labels."""
    target = split.targets[index]
    if split.targets.ndim == 1:
        return classes[int(target)]
    return ", ".join(classes[label] for label in np.flatnonzero(target).tolist()) or "no label"
