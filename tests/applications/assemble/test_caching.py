"""--cache changes how long a run takes, and nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import config
from applications import assemble
from applications.assemble.caching import _wait_for, build_cache_policy
from dataloader.images.preprocess import Preprocess
from dataloader.opening.open_catalog import open_catalog
from dataloader.options import DataOptions
from dataloader.splits.integrity import stamp
from tests.applications.conftest import Call, start, tiny, write_colors
from tests.applications.training.test_resume import assert_equal_runs
from utils.checkpoint import load_checkpoint
from utils.errors import UserError
from utils.logs import NAME

AUGMENTED = ("--aug", "flip|crop|color")


def test_a_run_with_a_cache_equals_the_run_without(call: Call, colors: Path) -> None:
    plain = call(*tiny(colors, *AUGMENTED)).run
    for kind in (("--cache", "ram"), ("--cache", "disk", "--cache_dir", "kept", "-j", 1)):
        outcome = call(*tiny(colors, *AUGMENTED, *kind))
        assert outcome.code == 0
        assert "cache     60 train images: 86 kB in" in outcome.out
        assert "cache     15 val images: 12 kB in" in outcome.out
        assert_equal_runs(plain, outcome.run)


def test_a_cache_on_disk_serves_later_runs_and_can_be_left_out_on_resume(call: Call, colors: Path, tmp_path: Path) -> None:
    kind = ("--cache", "disk", "--cache_dir", tmp_path / "kept")
    first = call(*tiny(colors, *kind, "--epochs", 1))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.*") if path.is_file()}
    assert call(*tiny(colors, *kind, "--epochs", 1)).code == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    again = call("--resume", first.run, "--epochs", 2, "--cache", "off", "--arch", tiny(colors)[3])
    assert (again.code, "cache   " in again.out) == (0, False)


def test_evaluation_fills_no_cache(call: Call, colors: Path, tmp_path: Path) -> None:
    run = call(*tiny(colors, "--cache", "disk", "--cache_dir", tmp_path / "kept", "--epochs", 1)).run
    count = len(list((tmp_path / "kept").iterdir()))
    assert call("--evaluation", "--resume", run, "--arch", tiny(colors)[3]).code == 0
    assert len(list((tmp_path / "kept").iterdir())) == count


@pytest.mark.parametrize("split", ["train", "val"])
def test_with_strict_what_the_cache_knows_to_be_unreadable_is_said_before_the_first_step(call: Call, tmp_path: Path, split: str) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    (data / split / "red" / "1.png").write_text("no image")
    outcome = call(*tiny(data, "--cache", "ram", "--strict"))
    assert outcome.code == 2
    said = f"error: cannot read 1 {split} image, {data}/{split}/red/1.png: not an image, or damaged; fix or remove it, then start again\n"
    assert outcome.err == said
    assert "epoch" not in outcome.out


def test_all_folds_read_their_training_images_from_one_cache(call: Call, colors: Path, tmp_path: Path) -> None:
    kind = ("--cache", "disk", "--cache_dir", tmp_path / "kept", "--epochs", 1)
    for number in range(2):
        plain = call(*tiny(colors, *AUGMENTED, "--epochs", 1, "--fold", f"{number}/3")).run
        outcome = call(*tiny(colors, *AUGMENTED, "--fold", f"{number}/3", *kind))
        assert outcome.code == 0, outcome.err
        assert "cache     50 train images: 72 kB in" in outcome.out
        assert "with those of the other folds 108 kB" in outcome.out
        assert_equal_runs(plain, outcome.run)
    assert len([path for path in (tmp_path / "kept").iterdir() if "train+val" in path.name and path.is_dir()]) == 1


def test_a_process_does_not_wait_for_one_that_has_ended(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(UserError, match=rf"process {ended.pid}, which was to fill .*nothing, has ended"):
        _wait_for(tmp_path / "nothing", ended.pid, None)


def test_evaluation_decodes_every_pixel_and_augmentation_keeps_a_reserve() -> None:
    preprocess = Preprocess((64, 96))
    for data in (DataOptions(), DataOptions(aug="flip")):
        keep = build_cache_policy(data, preprocess, training=False)
        assert (keep.fitted, keep.at_least) == (preprocess, None)
    keep = build_cache_policy(DataOptions(aug="flip"), preprocess, training=True)
    assert (keep.shorter, keep.at_least) == (192, 192)
    keep = build_cache_policy(DataOptions(aug="flip", cache_size=300, exact_decode=True), preprocess, training=True)
    assert (keep.shorter, keep.at_least) == (300, None)
    keep = build_cache_policy(DataOptions(), preprocess, training=True)
    assert (keep.fitted, keep.at_least) == (preprocess, 192)


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_run_with_a_cache_says_which_files_change_and_goes_on(colors: Path, tmp_path: Path, caplog, cache: str) -> None:
    data = shutil.copytree(colors, tmp_path / "data")
    kind = ("--cache", cache, *(("--cache_dir", tmp_path / "kept") if cache == "disk" else ()))
    settings = config.parse([str(part) for part in tiny(data, *kind)]).config
    machine = assemble.open_machine(settings, training=False)
    split = stamp(open_catalog(str(data), seed=0).splits["train"])
    loader = assemble.build_loader(
        settings, split, assemble.build_preprocess(settings), machine, augment=assemble.read_augment(settings), cached=True
    )

    def epoch(number: int) -> tuple[int, list[str]]:
        caplog.clear()
        count = sum(len(batch) for batch in loader.batches(number))
        return count, [record.getMessage() for record in caplog.records]

    with caplog.at_level("WARNING", logger=NAME):
        assert epoch(0) == (len(split), [])
        for index in range(len(split)):
            os.utime(split.file(index), ns=(0, 1))
        Path(split.file(0)).unlink()
        line = f"60 train images changed or vanished on disk, such as {split.file(0)}; the run goes on with the cached pixels"
        assert epoch(1) == (len(split), [line])
        assert epoch(2) == (len(split), [])


@pytest.mark.slow
def test_processes_of_a_machine_share_one_cache(colors: Path, tmp_path: Path) -> None:
    weights = []
    for name, kind in (("ram", ("--cache", "ram")), ("disk", ("--cache", "disk", "--cache_dir", "kept"))):
        process = start(*tiny(colors, "--nproc", 2, "--epochs", 1, "--name", name, *kind), folder=tmp_path)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert out.count("train images:") == 1
        weights.append(load_checkpoint(tmp_path / "runs/classify" / name / "last.pt")["state_dict"])
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
