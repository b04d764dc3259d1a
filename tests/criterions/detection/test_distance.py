"""What a student learns from another detector, against the formula in numpy."""

import numpy as np
import pytest
import torch

from criterions.detection.distance import box_distance
from criterions.distillation import build_distillation
from tests.criterions.detection.scenes import Said, numpy_iou, scene, sigmoid


def divergence(ours: np.ndarray, theirs: np.ndarray, temperature: float) -> np.ndarray:
    """T^2 KL of coins."""
    p, q = sigmoid(theirs / temperature), sigmoid(ours / temperature)
    return temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_classes_and_boxes_count_by_what_the_teacher_is_sure_of(temperature: float) -> None:
    student, teacher = (scene((2, 1), seed=seed).said for seed in (1, 2))
    found = box_distance(student, teacher, build_distillation("kd", "sigmoid"), temperature)
    for image in range(2):
        ours, theirs = (
            [each[image].detach().double().numpy() for each in (said.objectness, said.classes, said.boxes)]
            for said in (student, teacher)
        )  # fmt: skip
        wanted = divergence(ours[0], theirs[0], temperature).sum()
        overlap = np.array([numpy_iou(a, b) for a, b in zip(ours[2], theirs[2], strict=True)])
        wanted += (sigmoid(theirs[0]) * (divergence(ours[1], theirs[1], temperature).sum(1) + 5 * (1 - overlap**2))).sum()
        assert float(found[image].detach()) == pytest.approx(wanted, rel=1e-4)


def test_who_says_the_same_has_nothing_to_learn() -> None:
    said: Said = scene((3,)).said
    found = box_distance(said, Said(*(each if each is None else each.detach() for each in said)), build_distillation("kd", "sigmoid"), 1.0)
    torch.testing.assert_close(found, torch.zeros(1), atol=1e-3, rtol=0.0)
    found.sum().backward()
    assert said.objectness.grad is not None
    assert float(said.objectness.grad.abs().max()) < 1e-5
