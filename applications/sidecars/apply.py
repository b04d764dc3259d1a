"""The files beside the images at work: where they lie, and what they make of the training images."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from applications.settings.options import RunConfig, TeachOptions
from dataloader.sidecars.curriculum_file import CURRICULUM, read_curriculum, with_curriculum
from dataloader.sidecars.format import unknown_images
from dataloader.sidecars.knowledge_file import KNOWLEDGE_PATTERN, find_knowledge, read_knowledge, with_knowledge
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log


def sidecar_folder(teach: TeachOptions, split: Split) -> Path:
    """Return where the files about the images of a split lie: --sidecar_dir, else the data folder."""
    return Path(teach.sidecar_dir).expanduser() if teach.sidecar_dir is not None else split.root


def checked_writable(folder: Path) -> Path:
    """Return the folder, which is made where it is missing.

    Raises:
        UserError: nothing can be written there.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "cannot be written" if folder.is_dir() else "cannot be made a folder"
        raise UserError(f"{folder} {what}; name another folder with --sidecar_dir, here and in training")
    return folder


def apply_sidecars(config: RunConfig, catalog: Catalog, activation: str) -> Split:
    """Return the training split with the soft targets of --distill and the weights of --curriculum_learning.

    Raises:
        UserError: a file is missing or wrong, or with --strict, an image is not in it.
    """
    split = catalog.splits["train"]
    folder = sidecar_folder(config.teach, split)
    if (config.teach.distill or config.teach.curriculum_learning) and not folder.is_dir():
        writer = "--knowledge train" if config.teach.distill else "--make_curriculum train"
        remedy = f"python main.py {writer} --resume RUN --sidecar_dir {quote(str(folder))} makes and fills it"
        raise UserError(f"--sidecar_dir {folder}: there is no such folder; {remedy}")
    if config.teach.distill:
        competing = activation == "softmax"
        multi_label = not catalog.target.is_one_class
        teachers = [read_knowledge(file, catalog.classes, competing=competing, multi_label=multi_label) for file in find_knowledge(folder)]
        split, missing = with_knowledge(split, teachers, len(catalog.classes))
        if len(missing) == len(split):
            remedy = f"they speak of {teachers[0].paths[0]} and others, the data of {split.paths[0]}"
            raise UserError(f"--distill: the files in {folder} know none of the {len(split)} train images; {remedy}")
        if idle := [teacher.file.name for teacher in teachers if not set(teacher.paths) & set(split.paths)]:
            log().info(f"          {', '.join(idle)} of {folder}: lists no train image, so nothing is learned from it")
            teachers = [teacher for teacher in teachers if teacher.file.name not in idle]
        names = ", ".join(f"{teacher.file.name} ({teacher.teacher})" for teacher in teachers)
        log().info(f"distill   the mean of {names}" if len(teachers) > 1 else f"distill   {names}")
        if missing:
            said = f"{len(missing)} of {len(split)} train images are in no {folder / KNOWLEDGE_PATTERN}, such as {missing[0]}"
            if config.data.strict:
                raise UserError(f"{said}; write the knowledge again with --knowledge train, or leave --strict out to keep their labels")
            log().warning(f"{said}; they keep their labels")
        for teacher in teachers:
            _tell_strangers(teacher.file, teacher.paths, catalog)
    if config.teach.curriculum_learning:
        curriculum = read_curriculum(folder / CURRICULUM)
        split, missing = with_curriculum(split, curriculum)
        share = float((split.weights > 0).mean())
        log().info(f"courses   {curriculum.file}: mean weight {split.weights.mean():.3f}, {share:.1%} of the train images count")
        if missing:
            said = f"{len(missing)} of {len(split)} train images are not in {curriculum.file}, such as {missing[0]}"
            log().warning(f"{said}; they weigh 0, so nothing is learned from them")
        _tell_strangers(curriculum.file, curriculum.paths, catalog)
    return split


def _tell_strangers(file: Path, paths: Sequence[str], catalog: Catalog) -> None:
    unknown = unknown_images(paths, catalog.splits)
    if unknown:
        log().warning(f"{file} lists {len(unknown)} images that the data does not have, such as {unknown[0]}")
