"""What is wrong with the machine is not held against a file."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.checks import examine as module
from dataloader.checks.examine import examine
from dataloader.checks.unreadable import KINDS
from dataloader.images.read import ImageError


@pytest.mark.parametrize("fault", [OSError(errno.EIO, os.strerror(errno.EIO)), MemoryError()], ids=["disk", "memory"])
def test_a_file_that_the_machine_fails_to_read_is_never_one_to_move_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise ImageError("a.png", "the machine failed") from fault

    monkeypatch.setattr(module, "glimpse", fail)
    assert examine(str(tmp_path / "a.png")).problem == "missing"
    assert KINDS["missing"][-1] is False
    assert KINDS["foreign"][-1] is True


def test_whole_images_of_an_unsupported_kind_are_not_called_damaged_nor_moved_away(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 40 * 40, dtype=np.float32).reshape(40, 40)
    Image.fromarray(values).save(tmp_path / "gray.tif")
    Image.fromarray((values * 1e6).astype(np.int32)).save(tmp_path / "long.tif")
    cv2.imwrite(str(tmp_path / "colors.tif"), np.stack([values] * 3, axis=-1))
    for name in ("gray", "long", "colors"):
        facts = examine(str(tmp_path / f"{name}.tif"))
        assert (facts.problem, "whose range is unknown" in facts.reason) == ("unsupported", True), name
    assert KINDS["unsupported"][-1] is False
    (tmp_path / "gray.tif").write_bytes((tmp_path / "gray.tif").read_bytes()[:-2000])
    assert examine(str(tmp_path / "gray.tif")).problem == "damaged"
