"""Figures of defects are those of scikit-learn, AUPRO that of its definition; a threshold keeps its promise."""

import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import nn

from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import DefectMeter
from applications.tasks.defect_pixels import PixelMeter
from applications.tasks.defect_threshold import above, best_f1, parse_promise, promised, provable, usual
from applications.tasks.moved_heat import moved_heat
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.defect import GOOD, Defect, DefectBatch
from dataloader.targets.mask import IGNORE
from dataloader.targets.plane_change import cropped, scaled
from dataloader.targets.whole_mask import WholeMask
from utils.errors import UserError
from utils.metrics.statistics import wilson

SIDE = 48


def made(count: int = 24, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return maps (N, H, W) in [0, 1], masks, and kinds: a third good, the others with up to three defects."""
    rng = np.random.default_rng(seed)
    masks, kinds = np.zeros((count, SIDE, SIDE), np.uint8), []
    for number, mask in enumerate(masks):
        kinds.append((GOOD, "hole", "stain")[number % 3])
        for _ in range(rng.integers(1, 4) if number % 3 else 0):
            top, left = rng.integers(4, SIDE - 12, 2)
            mask[top : top + rng.integers(1, 12), left : left + rng.integers(1, 12)] = 1
        mask[:3] = IGNORE
    maps = 1 / (1 + np.exp(2 - rng.normal(0, 1, masks.shape) - 1.5 * (masks == 1)))
    return maps.astype(np.float32), masks, kinds


def measured(maps: np.ndarray, masks: np.ndarray, kinds: list[str], threshold: float | None = 0.9, *, first: int = 0) -> DefectMeter:
    meter = DefectMeter(threshold)
    images, indices = torch.zeros(len(maps), 3, 1, 1), torch.arange(first, first + len(maps))
    batch = Batch(images, DefectBatch(tuple(kinds), torch.from_numpy(masks)), torch.ones(len(maps)), indices)
    meter.update(batch, (torch.from_numpy(maps.max((1, 2))), torch.from_numpy(maps)))
    return meter


def test_figures_are_those_of_scikit_learn() -> None:
    maps, masks, kinds = made()
    scores, bad, known = maps.max((1, 2)), np.array([kind != GOOD for kind in kinds]), masks != IGNORE
    threshold = float(np.median(scores))
    figures = measured(maps, masks, kinds, threshold).figures()
    expected = {
        "AUROC": roc_auc_score(bad, scores),
        "AP": average_precision_score(bad, scores),
        "F1": f1_score(bad, scores >= threshold),
        "pixel_AUROC": roc_auc_score(masks[known] == 1, maps[known]),
        "false_alarms": (scores[~bad] >= threshold).mean(),
        "missed": (scores[bad] < threshold).mean(),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name


def plain_aupro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """Return AUPRO by its definition, at every threshold."""
    regions = []
    for scores, mask in zip(maps, masks, strict=True):
        numbers, count = ndimage.label(mask == 1, np.ones((3, 3)))
        regions += [np.sort(scores[numbers == number]) for number in range(1, count + 1)]
    good, thresholds = np.sort(maps[masks == 0]), np.unique(maps)[::-1]
    rate = 1 - np.searchsorted(good, thresholds) / len(good)
    found = np.mean([1 - np.searchsorted(each, thresholds) / len(each) for each in regions], axis=0)
    rate, found = np.append(0, rate), np.append(0, found)
    inside = rate <= limit
    rates, founds = np.append(rate[inside], limit), np.append(found[inside], np.interp(limit, rate, found))
    return float(np.trapezoid(founds, rates) / limit)


def test_the_overlap_of_regions_is_that_of_its_definition() -> None:
    maps, masks, kinds = made()
    assert measured(maps, masks, kinds).figures()["AUPRO"] == pytest.approx(plain_aupro(maps, masks), abs=1e-6)


def test_kinds_are_measured_against_all_good_images() -> None:
    maps, masks, kinds = made()
    meter, mine = measured(maps, masks, kinds), np.array([kind in (GOOD, "hole") for kind in kinds])
    row = next(each for each in meter.by_kind() if each.kind == "hole")
    bad = np.array([kind == "hole" for kind in kinds])[mine]
    assert row.auroc == pytest.approx(roc_auc_score(bad, maps[mine].max((1, 2))))
    assert row.aupro == pytest.approx(plain_aupro(maps[mine], masks[mine]), abs=1e-6)


def test_images_whose_defect_nobody_has_marked_count_as_images_alone() -> None:
    maps, masks, kinds = made()
    blind = masks.copy()
    blind[1] = IGNORE
    meter, without = measured(maps, blind, kinds), np.arange(len(kinds)) != 1
    known = masks[without] != IGNORE
    assert len(meter.images.scores) == len(kinds)
    assert meter.figures()["pixel_AUROC"] == pytest.approx(roc_auc_score(masks[without][known] == 1, maps[without][known]), abs=1e-6)


def test_processes_together_count_what_one_does() -> None:
    maps, masks, kinds = made()
    whole, first, second = measured(maps, masks, kinds), measured(maps[:9], masks[:9], kinds[:9]), None
    second = measured(maps[9:], masks[9:], kinds[9:], first=9)
    first.merge(second.state())
    assert first.figures() == pytest.approx(whole.figures())
    assert first.images.kinds == whole.images.kinds


def test_without_defects_only_false_alarms_are_told() -> None:
    maps, masks, kinds = made()
    good = [number for number, kind in enumerate(kinds) if kind == GOOD]
    meter = measured(maps[good], masks[good], [GOOD] * len(good))
    assert set(meter.figures()) == {"false_alarms"}
    assert set(meter.intervals()) == {"false_alarms"}


def test_intervals_hold_the_figures() -> None:
    maps, masks, kinds = made()
    meter = measured(maps, masks, kinds)
    figures = meter.figures()
    for name, each in meter.intervals().items():
        assert each.low <= figures[name] + 1e-9, name
        assert each.high >= figures[name] - 1e-9, name
        assert each.low < each.high, name


def of_scores(good: np.ndarray, bad: np.ndarray, threshold: float) -> DefectMeter:
    """Return a meter of images that have scores alone, no pixels."""
    meter = DefectMeter(threshold)
    scores = np.concatenate([good, bad]).tolist()
    meter.rows = {index: (score, GOOD if index < len(good) else "crack") for index, score in enumerate(scores)}
    return meter


def test_intervals_are_around_the_figures_of_scikit_learn() -> None:
    good, bad = np.array([0.1, 0.2, 0.2, 0.4, 0.6, 0.7]), np.array([0.2, 0.5, 0.7, 0.9])
    truth, scores = np.arange(10) >= 6, np.concatenate([good, bad])
    found = of_scores(good, bad, 0.5).intervals()
    expected = {
        "AUROC": roc_auc_score(truth, scores),
        "AP": average_precision_score(truth, scores),
        "F1": f1_score(truth, scores >= 0.5),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
        assert found[name].low < value < found[name].high, name


def test_few_bad_images_say_little_however_many_good_ones_there_are() -> None:
    good = np.linspace(0.0, 0.8, 60)
    few, many = (of_scores(good, np.tile([0.55, 0.95], pairs), 0.7).intervals() for pairs in (1, 10))
    for name in ("AUROC", "AP", "F1"):
        widths = [each[name].high - each[name].low for each in (few, many)]
        assert widths[0] > 0.85, name
        assert widths[1] < 0.7, name


def test_all_right_or_all_wrong_is_as_sure_as_the_bad_images_are_many() -> None:
    good, bad = np.linspace(0.0, 0.6, 48), np.array([0.7, 0.8])
    found, right, wrong = of_scores(good, bad, 0.9).intervals(), wilson(2, 2), wilson(0, 2)
    for name, value, expected in (("AUROC", 1.0, right), ("AP", 1.0, right), ("F1", 0.0, wrong)):
        assert (found[name].value, found[name].low, found[name].high) == (value, expected.low, expected.high), name
    assert of_scores(good, bad[:1], 0.9).intervals()["AUROC"].low < 0.3


@pytest.mark.parametrize(("count", "limit"), [(60, 0.05), (200, 0.05), (120, 0.1)])
def test_the_promise_of_a_threshold_is_broken_once_in_twenty_at_most(count: int, limit: float) -> None:
    rng, broken = np.random.default_rng(0), 0
    for _ in range(2000):
        # The share of all good images above a threshold on uniform scores.
        broken += 1 - promised(rng.random(count), limit).value > limit
    assert broken / 2000 <= 0.06


def test_a_promise_is_not_stricter_than_it_must_be() -> None:
    scores = np.random.default_rng(1).random(1000)
    found = promised(scores, 0.05)
    assert 30 <= found.alarms <= 50
    assert found.alarms == (scores >= found.value).sum()


def test_too_few_images_promise_what_they_can_or_say_how_many_could() -> None:
    scores = np.linspace(0.1, 0.4, 20)
    found = usual(scores)
    assert (found.limit, found.alarms) == (pytest.approx(provable(20)), 0)
    assert found.value > scores.max()
    with pytest.raises(UserError, match=r"20 held-out good images cannot prove it at 95% confidence, 299 could; they prove 13.9% at best"):
        promised(scores, 0.01)
    assert usual(np.linspace(0, 0.4, 500)).limit == 0.05


def test_with_defects_the_threshold_has_the_largest_f1() -> None:
    rng = np.random.default_rng(2)
    good, bad = rng.normal(0.3, 0.1, 60), rng.normal(0.5, 0.1, 20)
    truth, scores = np.arange(80) >= 60, np.concatenate([good, bad])
    best = max(f1_score(truth, scores >= each) for each in scores)
    assert f1_score(truth, scores >= best_f1(good, bad).value) == pytest.approx(best)


@pytest.mark.parametrize("text", ["false_alarm", "miss<=0.1", "false_alarm>=0.1", "false_alarm<=0", "false_alarm<=1", "false_alarm<=.."])
def test_a_promise_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"--target") as raised:
        parse_promise(text)
    assert "\n" not in str(raised.value)


def test_shares_may_be_written_in_percent() -> None:
    assert parse_promise("false_alarm<=1%") == parse_promise(" false_alarm <= 0.01 ") == 0.01


def test_pixels_take_no_memory_of_each_image_at_full_size() -> None:
    meter = PixelMeter()
    for number in range(3):
        meter.add(number, GOOD, np.full((500, 500), 0.2), np.zeros((500, 500), np.uint8))
    assert sum(each.good.nbytes for each in meter.images.values()) < 20_000
    assert meter.of(GOOD).good.sum() == 3 * 500 * 500


@pytest.mark.parametrize("score", [0.0, 0.3, np.nextafter(np.float32(1), np.float32(0)), 1.0])
def test_the_largest_quiet_score_stays_below_the_threshold(score: float) -> None:
    assert np.float32(above(float(score))) > np.float32(score)
    assert promised(np.full(100, float(score)), 0.05).alarms == 0


def test_the_threshold_of_an_exported_file_claims_no_images() -> None:
    task = Anomaly((GOOD, "defect"), nn.Identity(), Preprocess(), torch.device("cpu"))
    task.load_calibration({"thresholds": (0.25,)})
    assert task.chosen() == "0.2500, as the exported file says"


def test_heat_is_zero_where_the_detector_did_not_look_and_whole_where_it_did() -> None:
    heat = np.full((4, 4), 0.5, np.float32)
    assert (moved_heat(heat, scaled((4, 4), (8, 8))) == 0.5).all()
    outside = moved_heat(heat, cropped(-2, -2, (8, 8)))
    assert (outside[2:6, 2:6] == 0.5).all()
    assert outside.sum() == 8


def test_pixels_are_compared_at_the_size_of_the_files() -> None:
    """A crack of one pixel is one region there, and falls into several, or into none, in a smaller mask."""
    crack = np.zeros((40, 60), np.uint8)
    crack[np.arange(40), 10 + np.arange(40)] = 1
    good = np.zeros((24, 24), np.uint8)
    preprocess = Preprocess((16, 16), "fit")
    maps = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    targets = Defect.stack([Defect(kind, WholeMask(mask)) for kind, mask in (("crack", crack), (GOOD, good))])
    batch = Batch(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), pickle.loads(pickle.dumps(targets)), torch.ones(2), torch.arange(2))
    meter = DefectMeter(None, preprocess)
    meter.update(batch, (torch.from_numpy(maps.max((1, 2))), torch.from_numpy(maps)))
    heats = [moved_heat(heat, preprocess.change(mask.shape).undone(mask.shape)) for heat, mask in zip(maps, (crack, good), strict=True)]
    truth, said = (np.concatenate([each.ravel() for each in some]) for some in ((crack, good), heats))
    figures = meter.figures()
    assert figures["pixel_AUROC"] == pytest.approx(roc_auc_score(truth, said), abs=1e-5)
    assert meter.pixels.of("crack").regions == 1
    assert meter.pixels.of("crack", GOOD).good.sum() + 40 == crack.size + good.size
