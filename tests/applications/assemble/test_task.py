"""Claims about what a loss is told of the training images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from applications.assemble import choose_task, count_classes, with_usual_settings
from applications.settings.options import RunConfig
from criterions.weighted import build_criterion
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from dataloader.targets.label import Label, Labels
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target
from dataloader.targets.unknown import Unknown
from utils.errors import UserError
from utils.spec import parse_specs


def split_of(targets: np.ndarray, weights: np.ndarray | None = None) -> Split:
    paths = tuple(f"{number}.png" for number in range(len(targets)))
    given = {} if weights is None else {"weights": weights}
    return Split("train", Path(), paths, targets.astype(np.float32), **given)


def beside_a_common_label(count: int, also: int) -> np.ndarray:
    """Return targets of images that all have the first label, and `also` of them the second."""
    return np.stack([np.ones(count), np.arange(count) < also], axis=1)


MANY_RARE = np.concatenate([np.tile([1.0, 0, 0, 0, 0, 0], (980, 1)), np.tile([0.0, 1, 1, 1, 1, 1], (20, 1))])
CHANCE = np.random.default_rng(0).random((500, 6)) < np.array([0.6, 0.3, 0.2, 0.1, 0.05, 0.02])
CASES = {"common": beside_a_common_label(1000, 100), "rare together": MANY_RARE, "by chance, some without": CHANCE}


@pytest.mark.parametrize("rule", ["auto", "sqrt", "effective"])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_class_weights_have_mean_one_over_images_with_several_labels(case, weighed, rule):
    targets = CASES[case]
    weights = np.random.default_rng(1).random(len(targets)).astype(np.float32) if weighed else None
    split = split_of(targets, weights)
    classes = targets.shape[1]
    counts, shares = (count_classes(split, classes, spread=spread) for spread in (False, True))
    built = parse_specs(f"bce|class_weights({rule})")
    criterion = build_criterion(built, classes=[str(number) for number in range(classes)], class_counts=counts, class_shares=shares)
    dense = torch.from_numpy(split.targets)
    factors = criterion.weighters["class_weights"](dense, dense, hardness=dense).flatten().numpy()
    assert np.average(factors, weights=weights) == pytest.approx(1, rel=1e-4)
    assert torch.equal(criterion.weighters["class_weights"].retarget(dense), dense), "labels that are all there stay ones"


def data_of(target: type[Target], *classes: str) -> Catalog:
    return Catalog(Path("photos"), classes, {}, target=target)


@pytest.mark.parametrize(("target", "name"), [(Label, "classify"), (Labels, "multilabel")])
def test_data_that_can_only_mean_one_task_chooses_it(target, name):
    assert choose_task(RunConfig(), data_of(target, "a", "b")).name == name
    assert choose_task(RunConfig().override({"task": name}), data_of(target, "a", "b")).name == name


@pytest.mark.parametrize(
    ("task", "catalog", "message"),
    [
        ("multilabel", data_of(Label, "a", "b"), "--task multilabel takes several labels an image, photos has one label; "),
        ("classfy", data_of(Label, "a", "b"), "Did you mean classify"),
        (None, data_of(Label, "a"), "photos holds a single class, a; --task classify needs at least 2"),
        (None, data_of(Unknown, "a"), "no task of this program"),
    ],
)
def test_data_that_contradicts_the_task_is_refused_in_one_line(task, catalog, message):
    with pytest.raises(UserError, match=message) as caught:
        choose_task(RunConfig().override({"task": task}), catalog)
    assert "\n" not in str(caught.value)


def test_one_label_is_enough_for_any_number_of_them():
    assert choose_task(RunConfig(), data_of(Labels, "scratch")).name == "multilabel"


@pytest.mark.parametrize(
    ("given", "rate"),
    [({}, None), ({"init_from": "weights.pth"}, 4e-3), ({"pretrained": True}, 4e-3), ({"pretrained": True, "head_lr": 0.5}, 0.5)],
)
def test_a_decoder_learns_faster_than_the_trained_encoder_beside_it(given: dict[str, object], rate: float | None) -> None:
    config = RunConfig().override({"task": "segment", "lr": 1e-3, **given})
    assert with_usual_settings(config, data_of(Mask, "a", "b")).optim.head_lr == rate
