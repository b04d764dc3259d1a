"""Files are looked at once each, whatever happens to the process that does it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataloader.checks import many_files
from dataloader.checks.examine import FileFacts
from dataloader.checks.many_files import FEW, look_at_all
from tests.dataloader.checks.faulty_images import save, scene
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
    monkeypatch.setattr(many_files, "_look_at_good_one", crash_always)
    with pytest.raises(UserError, match="a process crashed on 0, and another one on a good image: usually the machine is out of memory"):
        look_at_all(["0", "1"], workers=2, look=crash_always)


def test_processes_give_the_facts_that_one_gives(tmp_path: Path) -> None:
    files = [str(save(scene(number, (40, 30)), tmp_path / f"{number}.png")) for number in range(8)] * (FEW // 8 + 1)
    assert look_at_all(files, workers=1) == look_at_all(files, workers=0)


def test_a_process_that_examines_files_does_not_wait_for_torch() -> None:
    code = f"import sys, {many_files.__name__}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
