"""What is known of a file is true, and what is wrong with the machine is not held against it."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.checks import examine as module
from dataloader.checks.examine import SIDE, examine, glimpse
from dataloader.checks.unreadable import KINDS
from dataloader.images.read import ImageError, read_image
from tests.dataloader.checks.faulty_images import bomb, save, scene, turned


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


def test_facts_of_a_file(tmp_path: Path) -> None:
    image = scene(1, (90, 60))
    facts = examine(str(save(image, tmp_path / "a.png")))
    pixels = np.asarray(image) / 255
    assert (facts.problem, facts.form, facts.mode, facts.width, facts.height) == ("", "PNG", "RGB", 90, 60)
    assert facts.mean == pytest.approx(pixels.mean((0, 1)))
    assert facts.square == pytest.approx((pixels**2).mean((0, 1)))
    assert facts.spread == pytest.approx(pixels.std((0, 1)).max())


def test_a_turned_image_is_measured_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(turned(scene(1, (90, 60))))
    facts = examine(str(path))
    assert (facts.width, facts.height, facts.turned) == (60, 90, True)
    assert glimpse(str(path), SIDE).size == (60, 90)
    np.testing.assert_array_equal(np.asarray(glimpse(str(path), SIDE)), read_image(path))


def test_large_jpegs_are_decoded_small_and_look_the_same(tmp_path: Path) -> None:
    image = scene(2, (2400, 1600))
    path = save(image, tmp_path / "a.jpg", quality=92)
    assert glimpse(str(path), SIDE).size == (600, 400)
    facts = examine(str(path))
    assert (facts.width, facts.height) == (2400, 1600)
    assert facts.mean == pytest.approx((np.asarray(image) / 255).mean((0, 1)), abs=0.01)


def test_a_truncated_large_jpeg_is_damaged(tmp_path: Path) -> None:
    path = save(scene(2, (2400, 1600)), tmp_path / "a.jpg", quality=92)
    path.write_bytes(path.read_bytes()[:-2000])
    assert examine(str(path)).problem == "damaged"


def test_a_bomb_is_not_decoded(tmp_path: Path) -> None:
    for side in (10_000, 30_000):
        (tmp_path / "a.png").write_bytes(bomb(side, side))
        assert examine(str(tmp_path / "a.png")).problem == "bomb"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert examine(str(tmp_path / "a.jpg")).problem == "special"
    assert examine(str(tmp_path / "none.jpg")).problem == "missing"
