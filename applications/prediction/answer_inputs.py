"""Walks what --predict looks at, and ends what is written: whole, up to an interruption, or not at all."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from applications.assemble import Machine
from applications.prediction.input_chunks import InputChunk, TellsMissing, read_inputs
from applications.settings.options import SingleImageOptions
from applications.trained.checkpoint import Trained
from dataloader.sources.inputs import Inputs
from utils.errors import UserError


class AnswerWriter(TellsMissing, Protocol):
    """Writes the answers for images into a folder."""

    @property
    def folder(self) -> Path:
        """Where to."""
        ...

    @property
    def missed(self) -> Sequence[tuple[str, str]]:
        """Images that cannot be read, each with the reason."""
        ...

    @property
    def answered(self) -> int:
        """How many images were answered."""
        ...

    def close(self) -> int:
        """Write the tables; return the exit code."""
        ...


def answer_inputs(
    trained: Trained,
    inputs: Inputs,
    options: SingleImageOptions,
    machine: Machine,
    writer: AnswerWriter,
    answer: Callable[[InputChunk], None],
) -> int:
    """Have all inputs answered, and what was answered written; return 0, or 1 when some could not be read.

    Args:
        trained, inputs, options, machine: as `read_inputs` takes them.
        writer: of the answers.
        answer: gives the writer the answers of a chunk.

    Raises:
        UserError: no image can be read.
        KeyboardInterrupt: passed on, after what was answered until then is written; without any, the folder is removed.
    """
    try:
        for chunk in read_inputs(trained, inputs, options, machine, writer):
            answer(chunk)
    except KeyboardInterrupt:
        # How a camera is ended.
        if writer.answered:
            writer.close()
        else:
            shutil.rmtree(writer.folder, ignore_errors=True)
        raise
    if writer.missed and not writer.answered:
        path, reason = writer.missed[0]
        several = f"none of {len(writer.missed):,} images can be read, such as {path}" if len(writer.missed) > 1 else f"cannot read {path}"
        raise UserError(f"--predict: {several}: {reason}")
    return writer.close()
