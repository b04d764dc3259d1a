"""The sheet of augmented images: what a person sees is what the network sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import config
from applications import assemble
from applications.dataset import sheets
from applications.dataset.drawn_targets import pixels_of
from applications.dataset.sheets import choose, label_of
from dataloader.opening.open_catalog import open_catalog
from tests.applications.conftest import Call, tiny


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[np.ndarray], list[str]]]:
    """Return what is put on sheets: images and captions."""
    found: list = []
    real = sheets.sheet

    def spy(images: list[np.ndarray], captions: list[str], **layout: int) -> np.ndarray:
        found.append((images, captions))
        return real(images, captions, **layout)

    monkeypatch.setattr(sheets, "sheet", spy)
    return found


def test_the_sheet_holds_the_pixels_of_training(call: Call, colors: Path, drawn: list) -> None:
    flags = tiny(colors, "--aug", "strong", "--seed", 3, action="visual_data")
    outcome = call("--visual_data", "train", *flags)
    assert outcome.code == 0, outcome.err
    with Image.open("runs/visual_data/train/sheet.png") as picture:
        assert picture.width == 8 * 138 + 10
    ((images, captions),) = drawn
    assert captions[::8] == ["blue", "blue", "green", "green", "red", "red"]
    assert captions[1] == "epoch 1, 16x16"
    settings = config.parse([str(part) for part in flags]).config
    split = open_catalog(str(colors), seed=3).splits["train"]
    machine = assemble.open_machine(settings, training=False)
    loader = assemble.build_loader(settings, split, assemble.build_preprocess(settings), machine, augment=assemble.read_augment(settings))
    chosen = choose(split, 6, seed=3)
    for epoch in (0, 4):
        seen = {int(i): image for batch in loader.batches(epoch) for i, image in zip(batch.indices, batch.images, strict=True)}
        for row, index in enumerate(chosen.tolist()):
            assert np.array_equal(images[8 * row + 1 + epoch], seen[index].permute(1, 2, 0).numpy())


def test_mixed_batches_get_a_sheet_with_their_shares(call: Call, colors: Path, drawn: list) -> None:
    assert call("--visual_data", "train", *tiny(colors, "--aug", "--mixup", "--cutmix", "--multi_scale", action="visual_data")).code == 0
    assert Path("runs/visual_data/train/mixed.png").is_file()
    images, captions = drawn[1]
    assert len(images) == 32
    assert any("\n" in caption for caption in captions)
    sizes = [caption.partition("\n")[0] for caption in captions]
    assert len(set(sizes)) > 1, "one row per batch, each of its own size"
    assert len({image.shape for image in images}) == 1, "drawn on equal paper, so that the sizes show"
    for image, size in zip(images, sizes, strict=True):
        height, width = map(int, size.split("x"))
        rows, columns = np.nonzero((image < 255).any(2))
        assert np.ptp(rows) < height
        assert np.ptp(columns) < width


def test_splits_and_held_out_images_are_drawn_too(call: Call, colors: Path, drawn: list) -> None:
    assert call("--visual_data", "train", *tiny(colors, "--aug", "color(0.9,p=1)", "--aug_splits", 3, action="visual_data")).code == 0
    images, _ = drawn[0]
    assert not np.array_equal(images[0], images[1]), "the first split is clean, and not what is shown as augmented"
    assert call("--visual_data", "val", *tiny(colors, "--aug", "strong", "--mixup", action="visual_data")).code == 0
    assert len(drawn) == 2, "validation images are neither augmented nor mixed"
    assert drawn[1][1] == ["blue"] * 5 + ["green"] * 5 + ["red"] * 5


def test_without_augmentation_it_says_what_to_add(call: Call, colors: Path) -> None:
    assert "add --aug" in call("--visual_data", "train", *tiny(colors, action="visual_data")).out


@pytest.mark.parametrize(("flags", "said"), [(["--visual_method", "grad-cam"], "--resume"), (["--visual_data", "all"], "train")])
def test_mistakes_are_explained(call: Call, colors: Path, flags: list[str], said: str) -> None:
    outcome = call("--visual_data", "train", *tiny(colors, *flags, action="visual_data"))
    assert outcome.code == 2
    assert said in outcome.err


def test_labels_are_named_with_their_shares(colors: Path) -> None:
    catalog = open_catalog(str(colors))
    assert label_of(catalog, np.int64(1)) == "green"
    assert label_of(catalog, np.array([0.25, 0.75, 0.0])) == "75% green\n25% blue"
    assert label_of(catalog, np.array([1.0, 0.0, 1.0])) == "red, blue"
    assert label_of(catalog, np.zeros(3)) == "no label"
    assert pixels_of(torch.full((1, 3, 2, 2), 254.7))[0].max() == 255


@pytest.mark.parametrize(("split", "shown"), [("train", 2 * 8), ("val", 2)])
def test_limit_says_how_many_images_are_drawn(call: Call, colors: Path, drawn: list, split: str, shown: int) -> None:
    outcome = call(
        "--visual_data", split, "--limit", 2, *tiny(colors, *(["--aug", "strong"] if split == "train" else []), action="visual_data")
    )
    assert outcome.code == 0, outcome.err
    assert [len(images) for images, _ in drawn] == [shown]
