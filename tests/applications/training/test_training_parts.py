"""What trains is assembled when it is asked for, and once."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from applications.training.training_parts import TrainingParts
from criterions.weighted import build_criterion
from utils.spec import parse_specs


def test_masks_are_counted_once_and_only_for_a_loss_that_weighs_classes() -> None:
    counted = []

    def count(paths: Any) -> np.ndarray:
        counted.append(paths)
        return np.array([90, 10])

    split: Any = SimpleNamespace(truths=SimpleNamespace(count=count), paths=("a.png",))
    given: Any = None
    catalog: Any = SimpleNamespace(classes=("road", "car"))
    parts = TrainingParts(given, given, catalog, split, given, given)
    facts: Any = {"classes": catalog.classes, "class_counts": parts.class_counts, "class_shares": parts.class_shares}
    build_criterion(parse_specs("softmax|ohm"), **facts)
    assert counted == []
    build_criterion(parse_specs("softmax|class_weights"), logit_adjust=1.0, **facts)
    assert list(parts.class_counts) == list(parts.class_shares) == [90, 10]
    assert counted == [("a.png",)]
