"""What is wrong with the machine is not held against a file."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from dataloader.doctor import examine as module
from dataloader.doctor.examine import examine
from dataloader.doctor.unreadable import KINDS
from dataloader.read import ImageError


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
