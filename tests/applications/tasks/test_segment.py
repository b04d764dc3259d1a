"""Masks are counted exactly, whatever the batches and processes, and measured at the size of the original images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torch import Tensor, nn

from applications.tasks.mask_answers import bands_of
from applications.tasks.mask_meter import MaskMeter
from applications.tasks.mask_rows import MaskRows
from applications.tasks.segment import Segment
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.mask import IGNORE
from dataloader.targets.whole_mask import WholeMask
from models.segmenters.segmenter import AUXILIARY_WEIGHT, SegmenterOutput
from utils.errors import UserError
from utils.spec import parse_specs

CLASSES = ("ground", "a", "b", "never")
CPU = torch.device("cpu")


def build(spec: str = "softmax", **more: object) -> Segment:
    return Segment(CLASSES, Segment.build_criterion(parse_specs(spec), classes=CLASSES), Preprocess((8, 12), **more), CPU)  # pyright: ignore[reportArgumentType]


def made(seed: int = 0, count: int = 4, size: tuple[int, int] = (8, 12)) -> tuple[Batch, Tensor]:
    """Return a batch without the last class, some of whose pixels are ignored, and logits for it."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 3, (count, *size), generator=generator, dtype=torch.uint8)
    truth[torch.rand(truth.shape, generator=generator) < 0.1] = IGNORE
    images = torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)
    logits = torch.randn(count, 4, *size, generator=generator)
    return Batch(images, truth, torch.ones(count), torch.arange(count)), logits


def test_figures_are_those_of_scikit_learn_over_the_classes_that_occur() -> None:
    batch, logits = made()
    meter = build().meter(4)
    meter.update(batch, logits)
    known = batch.targets.flatten() != IGNORE
    truth, said = batch.targets.flatten()[known].numpy(), logits.argmax(1).flatten()[known].numpy()
    figures, occurring = meter.figures(), [0, 1, 2]
    assert tuple(sorted(figures)) == tuple(sorted(Segment.metric_names))
    np.testing.assert_array_equal(meter.matrix, confusion_matrix(truth, said, labels=range(4)))
    assert figures["mIoU"] == pytest.approx(jaccard_score(truth, said, labels=occurring, average="macro"))
    assert figures["dice"] == pytest.approx(f1_score(truth, said, labels=occurring, average="macro"))
    assert figures["pixel_accuracy"] == pytest.approx((truth == said).mean())
    assert figures["loss"] == pytest.approx(nn.functional.cross_entropy(logits, batch.targets.long(), ignore_index=IGNORE).item())


def test_processes_and_padding_change_no_count() -> None:
    batch, logits = made(count=5)
    whole, first, second = (MaskMeter(CLASSES, "softmax") for _ in range(3))
    whole.update(batch, logits)
    first.update(replace(batch, images=batch.images[:2], targets=batch.targets[:2], indices=batch.indices[:2]), logits[:2])
    rest = replace(batch, images=batch.images[2:], targets=batch.targets[2:], indices=torch.tensor([2, 3, 4]))
    padded = replace(rest, targets=torch.cat([rest.targets, rest.targets[:1]]), indices=torch.tensor([2, 3, 4, -1]))
    second.update(padded, torch.cat([logits[2:], logits[2:3]]))
    first.merge(second.state())
    np.testing.assert_array_equal(first.matrix, whole.matrix)
    assert first.figures() == pytest.approx(whole.figures(), rel=1e-12)


def test_one_answer_to_everything_is_noticed() -> None:
    batch, _ = made()
    meter = build().meter(4)
    meter.update(batch, torch.tensor([0.0, 1, 0, 0])[None, :, None, None].expand(4, 4, 8, 12))
    assert meter.one_answer() == "all pixels are answered 'a'"


class Echo(nn.Module):
    """Logits that an image's red channel says; in training with an auxiliary answer when asked for."""

    def __init__(self, auxiliary: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.auxiliary = auxiliary

    def forward(self, x: Tensor) -> Tensor | SegmenterOutput:
        logits = x[:, :1] * torch.tensor([0.5, 1.0, -1.0, 0.1])[None, :, None, None] * self.scale
        return SegmenterOutput(logits, 2 * logits) if self.auxiliary and self.training else logits


def test_a_step_counts_known_pixels_and_weighs_the_auxiliary_answer() -> None:
    task, (batch, _) = build(), made()
    plain, both = (task.training_step(Echo(auxiliary), batch) for auxiliary in (False, True))
    x = task.normalize(batch.images)[:, :1] * torch.tensor([0.5, 1.0, -1.0, 0.1])[None, :, None, None]
    loss, extra = (nn.functional.cross_entropy(factor * x, batch.targets.long(), ignore_index=IGNORE) for factor in (1, 2))
    assert plain.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert both.loss.item() == pytest.approx((loss + AUXILIARY_WEIGHT * extra).item(), rel=1e-5)
    known = batch.targets != IGNORE
    assert float(plain.sums["pixel_accuracy"]) / 4 == pytest.approx(float((x.argmax(1) == batch.targets)[known].float().mean()))
    nothing = replace(batch, targets=torch.full_like(batch.targets, IGNORE))
    assert task.training_step(Echo(), nothing).loss.item() == 0


@pytest.mark.parametrize("resize", ["fit", "stretch"])
@pytest.mark.parametrize("size", [(8, 12), (16, 24), (31, 17), (5, 40)])
def test_logits_follow_the_way_back_to_the_original_image(resize: str, size: tuple[int, int]) -> None:
    preprocess = Preprocess((32, 48), resize=resize)
    back = preprocess.change(size).undone(size)
    # A plane of logits that rises evenly: its value at a place is known exactly.
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    found = torch.cat([band.logits for band in bands_of(torch.stack([x, y]), back)], dim=1).numpy()
    columns, rows = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    points = preprocess.change(size).move_points(np.stack([columns.ravel(), rows.ravel()], axis=1))
    expected = points.T.reshape(2, *size).clip(0.5, [[[47.5]], [[31.5]]])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bands_of_a_large_image_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, logits = made()
    size = (37, 41)
    back = Preprocess((8, 12)).change(size).undone(size)
    (whole,) = bands_of(logits[0], back)
    monkeypatch.setattr("applications.tasks.mask_answers.BAND", 4 * 41 * 5)
    bands = list(bands_of(logits[0], back))
    assert [len(range(37)[band.rows]) for band in bands] == [5] * 7 + [2]
    torch.testing.assert_close(torch.cat([band.logits for band in bands], dim=1), whole.logits)


def test_figures_are_those_of_the_original_masks_not_of_the_networks_size() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, size).astype(np.uint8) for size in ((16, 24), (9, 30), (20, 20))]
    masks[1][:, :3] = IGNORE
    task, (batch, logits) = build(), made(count=3)
    parts = [MaskRows(CLASSES, "softmax", Preprocess((8, 12))) for _ in range(2)]
    for part, rows in zip(parts, ([0, 1], [2]), strict=True):
        told = WholeMask.stack([WholeMask(masks[row]) for row in rows])
        part.update(replace(batch, indices=torch.tensor(rows), targets=told), logits[rows])
    parts[0].merge(parts[1].state())
    changes = [Preprocess((8, 12)).change(mask.shape).undone(mask.shape) for mask in masks]
    answers = task.postprocess(logits, changes)
    known = [mask != IGNORE for mask in masks]
    truth = np.concatenate([mask[seen] for mask, seen in zip(masks, known, strict=True)])
    said = np.concatenate([answer[seen] for answer, seen in zip(answers, known, strict=True)])
    figures = parts[0].figures()
    assert figures["mIoU"] == pytest.approx(jaccard_score(truth, said, labels=[0, 1, 2], average="macro"))
    assert figures["pixel_accuracy"] == pytest.approx((truth == said).mean())
    counts, confidence, right = parts[0].bins
    assert counts.sum() == len(truth)
    assert right.sum() == (truth == said).sum()
    assert 0.25 < confidence.sum() / len(truth) < 1
    positions, rows = parts[0].table_of_rows()
    assert positions == [0, 1, 2]
    np.testing.assert_array_equal(rows[1, 1], np.bincount(masks[1][known[1]], minlength=4))


def test_what_is_rendered_exists_and_a_class_that_does_not_occur_has_no_figure(tmp_path: Path) -> None:
    task, (batch, logits) = build(), made()
    meter = task.meter(4)
    meter.update(batch, logits)
    files = task.render(meter, [], tmp_path)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    table = task.table(meter)
    assert [row[0] for row in table[1:]] == list(CLASSES)
    assert table[-1][1:3] == ["", ""]


def test_geometry_that_leaves_pixels_without_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="--resize crop cuts off parts"):
        build(resize="crop")
