"""Images are looked at once each, whatever happens to the process that does it; what is known of a file is true."""

import os
from pathlib import Path

import numpy as np
import pytest

from dataloader.checks import survey
from dataloader.checks.examine import SIDE, FileFacts, examine, glimpse
from dataloader.checks.survey import FEW, look_at_all
from dataloader.images.read import read_image
from tests.dataloader.checks.faulty_images import bomb, save, scene, turned
from utils.errors import UserError


def crash_on_some(file: str) -> FileFacts:
    """End the process at two of the files, as a broken decoder would."""
    if file in ("7", "150"):
        os._exit(1)
    return FileFacts(size=int(file))


def test_a_file_that_crashes_the_decoder_is_named_and_costs_no_other() -> None:
    told: list[int] = []
    facts = look_at_all([str(number) for number in range(FEW + 60)], workers=2, look=crash_on_some, advance=told.append)
    assert [number for number, each in enumerate(facts) if each.problem == "crash"] == [7, 150]
    assert all(each.size == number for number, each in enumerate(facts) if not each.problem)
    assert sum(told) == FEW + 60


def test_of_a_few_files_the_one_that_crashes_is_named_too() -> None:
    facts = look_at_all([str(number) for number in range(9)], workers=2, look=crash_on_some)
    assert [number for number, each in enumerate(facts) if each.problem == "crash"] == [7]


def crash_always(file: str) -> FileFacts:
    """End the process, as it ends where there is no memory left."""
    os._exit(len(file))


def test_no_file_is_blamed_where_a_good_image_ends_a_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_look_at_good_one", crash_always)
    with pytest.raises(UserError, match="a process crashed on 0, and another one on a good image: usually the machine is out of memory"):
        look_at_all(["0", "1"], workers=2, look=crash_always)


def test_processes_give_the_facts_that_one_gives(tmp_path: Path) -> None:
    files = [str(save(scene(number, (40, 30)), tmp_path / f"{number}.png")) for number in range(8)] * (FEW // 8 + 1)
    assert look_at_all(files, workers=1) == look_at_all(files, workers=0)


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
