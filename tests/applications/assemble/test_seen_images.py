"""Models remember what they were trained on: no figure on such images comes without a warning."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from applications.assemble.seen_images import BESIDE, TRAINED_ON, Seen, read_beside, read_seen, write_beside
from tests.applications.conftest import NETS, Call, Outcome, tiny
from utils.errors import UserError

OWN = ("--arch", f"{NETS}:TinyNet")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two classes of 40 images each, whose labels mean nothing."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for number in range(80):
        file = root / "data" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    return root / "data"


def places(run: Path) -> dict[str, str]:
    """Return path -> split of a run."""
    with (run / "split.csv").open(newline="") as lines:
        return {row["path"]: row["split"] for row in csv.DictReader(lines)}


def shared(run: Path, parent: Path, split: str) -> tuple[int, int]:
    """Return how many images of a split of a run its parent was trained on, and how many there are."""
    mine = [path for path, place in places(run).items() if place == split]
    return sum(places(parent)[path] == "train" for path in mine), len(mine)


def trained(call: Call, data: Path, *more: object) -> Outcome:
    outcome = call(*tiny(data, "--epochs", 1, "--test_share", 0.3, *more))
    assert outcome.code == 0, outcome.err
    return outcome


def leaks(outcome: Outcome) -> list[str]:
    return [line for line in (outcome.out + outcome.err).splitlines() if "leakage" in line]


def evaluated(call: Call, run: Path, *more: object) -> Outcome:
    outcome = call("--evaluation", "--resume", run, *OWN, "--no_report", *more)
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.mark.parametrize("flag", ["--init_from", "--teacher"])
def test_a_run_with_the_split_of_another_seed_is_told_what_its_parent_has_seen(call: Call, noise: Path, flag: str) -> None:
    parent = trained(call, noise, "--name", "parent")
    assert leaks(parent) == []
    place = parent.run / "best.pt" if flag == "--init_from" else parent.run
    # Alone, as it is passed on: the checkpoint knows, not the folder.
    if flag == "--init_from":
        place = Path(shutil.copy(place, "passed_on.pt"))
    child = trained(call, noise, "--seed", 1, flag, place, "--name", "child")
    (line,) = leaks(child)
    for split in ("val", "test"):
        count, total = shared(child.run, parent.run, split)
        assert 0 < count < total
        assert f"{count} of {total} {split} images" in line
    # The child's own checkpoint carries it on, to evaluations and to a child of its own with its very split.
    count, total = shared(child.run, parent.run, "test")
    evaluation = evaluated(call, child.run)
    (line,) = leaks(evaluation)
    assert f"{count} of {total} test images were training images of the models that this model began from or learned from" in line
    (line,) = leaks(trained(call, noise, "--seed", 1, "--init_from", child.run / "best.pt"))
    assert f"{count} of {total} test images" in line


def test_a_parent_of_the_same_split_gives_no_warning(call: Call, noise: Path) -> None:
    parent = trained(call, noise)
    assert leaks(trained(call, noise, "--init_from", parent.run / "best.pt")) == []
    assert leaks(evaluated(call, parent.run)) == []
    resumed = call("--resume", parent.run, "--epochs", 2, *OWN)
    assert resumed.code == 0
    assert leaks(resumed) == []
    content = torch.load(parent.run / "best.pt", weights_only=True)
    assert len(content[TRAINED_ON]["own"]) == sum(split == "train" for split in places(parent.run).values())
    assert len(content[TRAINED_ON]["parents"]) == 0


def test_other_data_that_holds_training_images_is_told(call: Call, noise: Path, tmp_path: Path) -> None:
    run = trained(call, noise).run
    seen = [path for path, split in places(run).items() if split == "train"][:7]
    new = [path for path, split in places(run).items() if split == "test"][:5]
    for path in (*seen, *new):
        # Under another name, which a list of paths would not notice.
        target = tmp_path / "other" / Path(path).parent / f"copy-of-{Path(path).name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(noise / path, target)
    (line,) = leaks(evaluated(call, run, "--data", tmp_path / "other"))
    assert "7 of 12 test images were training images of this model" in line
    compared = call("--compare", run, run, "--data", tmp_path / "other", *OWN)
    assert compared.code == 0, compared.err
    assert len([line for line in leaks(compared) if "7 of 12 compared images" in line]) == 2


def test_the_report_says_it_first(call: Call, noise: Path) -> None:
    run = trained(call, noise).run
    outcome = call("--evaluation", "--resume", run, "--split", "train", *OWN)
    assert outcome.code == 0, outcome.err
    page = (run / "evaluation-train" / "report.html").read_text()
    assert "were training images of this model: its figures on them are too good" in page


@pytest.mark.parametrize(("write", "learn"), [("--knowledge", "--distill"), ("--make_curriculum", "--curriculum_learning")])
def test_files_of_a_model_carry_what_it_has_seen(call: Call, noise: Path, write: str, learn: str) -> None:
    parent = trained(call, noise)
    assert call(write, "train", "--resume", parent.run, *OWN, "--sidecar_dir", "files").code == 0
    same = trained(call, noise, learn, "--sidecar_dir", "files")
    assert leaks(same) == []
    other = trained(call, noise, learn, "--sidecar_dir", "files", "--seed", 1)
    (line,) = leaks(other)
    count, total = shared(other.run, parent.run, "test")
    assert f"{count} of {total} test images" in line
    (line,) = leaks(evaluated(call, other.run))
    assert f"{count} of {total} test images were training images of the models" in line


def test_hashes_of_another_version_are_not_known(call: Call, noise: Path) -> None:
    parent = trained(call, noise)
    content = torch.load(parent.run / "best.pt", weights_only=True)
    for place, version in (("earlier.pt", None), ("later.pt", 99)):
        content[TRAINED_ON] = {**content[TRAINED_ON], "version": version}
        torch.save(content, place)
        assert read_seen(content) is None
    child = trained(call, noise, "--seed", 1, "--init_from", "earlier.pt")
    assert "--init_from earlier.pt does not say which images it was trained on" in child.out
    shutil.copy("later.pt", parent.run / "best.pt")
    assert leaks(evaluated(call, parent.run, "--split", "train")) == []


def test_hashes_beside_a_file_are_those_of_this_version_or_none(tmp_path: Path) -> None:
    file, seen = tmp_path / "distill.txt", Seen(np.array([3, 5]), np.array([5, 7]))
    assert read_beside(file) is None
    write_beside(file, seen)
    found = read_beside(file)
    assert found is not None
    assert found.tolist() == [3, 5, 7]
    place = file.with_suffix(BESIDE)
    np.savez(place, version=99, hashes=np.array([3]))
    assert read_beside(file) is None
    for damaged in (b"", b"PK no archive", place.read_bytes()[:100]):
        place.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged"):
            read_beside(file)


def test_weights_that_do_not_say_are_said_to(call: Call, noise: Path) -> None:
    parent = trained(call, noise)
    torch.save(torch.load(parent.run / "best.pt", weights_only=True)["state_dict"], "bare.pth")
    child = trained(call, noise, "--init_from", "bare.pth")
    assert "--init_from bare.pth does not say which images it was trained on" in child.out
    assert leaks(child) == []
