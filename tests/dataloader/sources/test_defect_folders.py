"""Good parts and defects are found in every layout; what cannot be learned from is told in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.sources import weave
from dataloader.sources.defect_folders import DefectTruths
from dataloader.sources.weave import KINDS, open_weave, piece
from dataloader.splits.catalog import Catalog
from dataloader.targets.defect import GOOD, Defect, DefectBatch
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.plane_change import scaled
from utils.errors import UserError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes tiny images of these paths, each of its own color, and returns the folder."""

    def images(*paths: str) -> Path:
        for number, path in enumerate(paths):
            place = tmp_path / "set" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L" if "ground_truth" in path else "RGB", (6, 4), number).save(place)
        return tmp_path / "set"

    return images


def names(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.png" for number in range(count)]


MVTEC = [
    *names("train/good", 10),
    *names("test/good", 3),
    *names("test/crack", 2),
    "ground_truth/crack/0_mask.png",
    "ground_truth/crack/1.png",
]


def kinds(catalog: Catalog, split: str) -> list[str]:
    found = catalog.splits[split]
    return [found.target(index).kind for index in range(len(found))]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_layout_of_mvtec_is_known_by_itself(write: Write) -> None:
    catalog = open_catalog(str(write(*MVTEC)))
    assert catalog.target is Defect
    assert (catalog.classes, catalog.notes, catalog.split_origin) == ((GOOD, "defect"), (), "seeded")
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 8, "val": 2, "test": 5}
    assert kinds(catalog, "test") == [GOOD] * 3 + ["crack"] * 2
    assert not set(catalog.splits["train"].paths) & set(catalog.splits["val"].paths)


def test_masks_are_read_and_good_images_have_empty_ones(write: Write) -> None:
    test = open_catalog(str(write(*MVTEC[:-1]))).splits["test"]
    good, marked, unknown = (test.target(index).mask.ids for index in (0, 3, 4))  # pyright: ignore[reportAttributeAccessIssue]
    assert (good.shape, good.max()) == ((4, 6), 0)
    assert (marked == 1).all(), "every number above 0 is a defect"
    assert (unknown == IGNORE).all()


def test_an_orientation_that_does_not_exist_turns_no_mask(write: Write) -> None:
    root = write(*MVTEC)
    exif = Image.Exif()
    exif[0x0112] = 9
    Image.new("RGB", (6, 4)).save(root / "test/good/0.png", exif=exif)
    good = open_catalog(str(root)).splits["test"].target(0)
    assert good.mask.ids.shape == (4, 6)  # pyright: ignore[reportAttributeAccessIssue]


def test_masks_that_are_missing_or_of_no_image_are_noted(write: Write) -> None:
    (missing, lone) = open_catalog(str(write(*MVTEC[:-1], "ground_truth/crack/7_mask.png"))).notes
    assert "1 image with a defect has no mask in ground_truth/, such as test/crack/1.png" in missing
    assert "1 mask belongs to no image with a defect, such as ground_truth/crack/7_mask.png" in lone


def test_masks_are_found_by_the_folders_below_the_kind(write: Write) -> None:
    images = [f"test/crack/{side}/0.png" for side in ("left", "right")]
    masks = [f"ground_truth/crack/{side}/0_mask.png" for side in ("left", "right")]
    root = write(*names("train/good", 4), *images, *masks)
    truths = open_catalog(str(root), target=Defect).splits["test"].truths
    assert isinstance(truths, DefectTruths)
    assert dict(truths.masks) == {image: root / mask for image, mask in zip(images, masks, strict=True)}


def test_a_mask_that_two_images_claim_is_noted_and_used_for_neither(write: Write) -> None:
    catalog = open_catalog(str(write(*MVTEC, *names("val/good", 2), "val/crack/0.png")), target=Defect)
    truths = catalog.splits["test"].truths
    assert isinstance(truths, DefectTruths)
    assert list(truths.masks) == ["test/crack/1.png"]
    assert any("1 mask is claimed by several images and not used, such as ground_truth/crack/0_mask.png" in each for each in catalog.notes)


@pytest.mark.parametrize(
    "paths",
    [names("ok", 12) + names("ng", 4), names("Good", 12) + names("scratch", 4)],
    ids=["ok and ng", "good and a kind"],
)
def test_a_folder_of_good_and_bad_parts_is_divided_without_learning_from_bad_ones(write: Write, paths: list[str]) -> None:
    catalog = open_catalog(str(write(*paths)), target=Defect)
    assert set(kinds(catalog, "train") + kinds(catalog, "val")) == {GOOD}
    assert sum(kind != GOOD for kind in kinds(catalog, "test")) == 4
    assert GOOD in kinds(catalog, "test")


def test_a_folder_of_good_images_alone_has_no_test(write: Write) -> None:
    catalog = open_catalog(str(write(*names(".", 10))), target=Defect)
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 8, "val": 2}


def test_a_list_names_the_kind_of_each_image(write: Write) -> None:
    folder = write(*names("a", 8))
    lines = [f"a/{number}.png,{'good' if number < 6 else 'dent'}" for number in range(8)]
    (folder / "all.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    catalog = open_catalog(str(folder / "all.csv"), target=Defect)
    assert kinds(catalog, "test")[-2:] == ["dent", "dent"]
    (folder / "all.csv").write_text("image,label,split\na/0.png,good,train\na/7.png,dent,train\n")
    with pytest.raises(UserError, match=r"line 3: a defect \(dent\) in train"):
        open_catalog(str(folder / "all.csv"), target=Defect)


def test_the_split_of_a_run_is_found_again(write: Write, tmp_path: Path) -> None:
    folder = write(*MVTEC)
    first = open_catalog(str(folder), seed=3)
    save_split(first, tmp_path / "split.csv")
    again = open_catalog(str(folder), seed=4, split_file=tmp_path / "split.csv", classes=first.classes)
    assert {name: split.paths for name, split in again.splits.items()} == {name: split.paths for name, split in first.splits.items()}


def test_images_that_came_after_the_fit_are_measured_or_noted(write: Write, tmp_path: Path) -> None:
    first = open_catalog(str(write(*MVTEC)))
    save_split(first, tmp_path / "split.csv")
    folder = write("train/good/new.png", *names("test/dent", 2))
    again = open_catalog(str(folder), split_file=tmp_path / "split.csv")
    assert again.splits["train"].paths == first.splits["train"].paths
    assert kinds(again, "test") == [GOOD] * 3 + ["crack"] * 2 + ["dent"] * 2
    assert any("1 image is not in" in note and "train/good/new.png" in note for note in again.notes)


def test_val_of_the_users_own_is_kept_with_its_defects(write: Write) -> None:
    catalog = open_catalog(str(write(*MVTEC, *names("val/good", 3), *names("val/crack", 2))), target=Defect)
    assert (len(catalog.splits["train"]), kinds(catalog, "val")) == (10, [GOOD] * 3 + ["crack"] * 2)


@pytest.mark.parametrize("group_by", [None, r"(\d)\.png"], ids=["images", "groups"])
def test_folds_deal_good_images_alone(write: Write, group_by: str | None) -> None:
    folder = write(*MVTEC, *names("val/good", 2), *names("val/scratch", 4))
    catalog, held = open_catalog(str(folder), target=Defect, group_by=group_by), []
    for number in range(4):
        fold = take_fold(catalog, f"{number}/4", seed=0)
        assert set(kinds(fold, "train")) == {GOOD}
        assert kinds(fold, "val").count("scratch") == 4
        held += [path for path in fold.splits["val"].paths if "good" in path]
    assert sorted(held) == sorted([*names("train/good", 10), *names("val/good", 2)])


def test_groups_stay_together(write: Write) -> None:
    paths = [f"train/good/{part}-{shot}.png" for part in range(8) for shot in range(3)]
    catalog = open_catalog(str(write(*paths)), target=Defect, group_by=r"(\d+)-")
    train, val = (set(catalog.splits[name].groups) for name in ("train", "val"))
    assert not train & val


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([*MVTEC, "train/crack/0.png"], "train holds the folder crack/: anomaly detection learns from good images alone"),
        (names("train/good", 1) + names("test/crack", 2), "1 good image to learn from: anomaly detection needs 3 or more"),
        (names("test/crack", 2), "no good images"),
    ],
    ids=["defects in train", "one good image", "no good image"],
)
def test_what_cannot_be_learned_from_is_one_line(write: Write, paths: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        open_catalog(str(write(*paths)), target=Defect)
    assert "\n" not in str(raised.value)


def test_defects_move_with_the_image_and_are_stacked_with_their_kinds() -> None:
    made = piece(7, kind="hole")
    target = Defect("hole", Mask(made.defect.astype(np.uint8)))
    small = target.moved(scaled((96, 96), (48, 48)))
    batch = Defect.stack([small, small.nothing()])
    assert isinstance(batch, DefectBatch)
    assert (batch.kinds, tuple(batch.masks.shape)) == (("hole", GOOD), (2, 48, 48))
    assert abs(float(batch.masks[0].float().mean()) - made.defect.mean()) < 0.01
    assert (batch.masks[1] == IGNORE).all()


def test_the_cloth_is_the_same_everywhere_and_its_defects_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weave, "GOOD", {"train": 4, "test": 2})
    monkeypatch.setattr(weave, "DEFECTIVE", 1)
    catalog = open_catalog(str(open_weave(tmp_path)))
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 3, "val": 1, "test": 5}
    assert sorted(set(kinds(catalog, "test"))) == sorted([GOOD, *KINDS])
    for kind in KINDS:
        good, bad = piece(5), piece(5, kind=kind)
        changed = (good.image != bad.image).any(2)
        assert changed[bad.defect].mean() > 0.95
        assert not changed[~bad.defect].any()
    assert int(piece(3).image.astype(np.int64).sum()) == int(piece(3).image.astype(np.int64).sum())
