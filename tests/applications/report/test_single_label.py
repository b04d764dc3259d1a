"""Coverage, and the accuracy that is certified for other images."""

import numpy as np
import pytest

from applications.report import single_label


def test_answers_of_one_probability_are_accepted_together() -> None:
    confidence = np.array([1.0] * 50 + [0.6] * 10)
    right = np.array([True] * 45 + [False] * 5 + [True] * 10)
    threshold, coverage, accuracy = single_label.coverage_curve(confidence, right)
    assert threshold.tolist() == [1.0, 0.6]
    assert coverage.tolist() == pytest.approx([50 / 60, 1.0])
    assert accuracy.tolist() == pytest.approx([0.9, 55 / 60])


def test_a_wished_accuracy_is_one_of_other_images_too() -> None:
    confidence = np.array([1.0] * 100 + [0.6] * 100)
    right = np.arange(200) < 150
    # 100 right answers of 100 prove 97% at 95% confidence, and not 98%.
    assert single_label.certified_coverage(0.97, confidence, right) == ["50.0%", "1.0000", "100.0%"]
    assert single_label.certified_coverage(0.98, confidence, right)[0].startswith("none: about ")
    assert single_label.certified_coverage(0.5, confidence, right) == ["100.0%", "0.6000", "75.0%"]
    assert single_label.certified_coverage(0.9, confidence, ~right) == ["none", "-", "-"]


@pytest.mark.parametrize(("threshold", "above", "shown"), [(0.99998, 0.5, "0.9999"), (0.99998, 0.99996, "0.99998"), (0.5, 0.0, "0.5000")])
def test_a_shown_threshold_accepts_what_it_is_said_to(threshold: float, above: float, shown: str) -> None:
    assert single_label.rounded_down(threshold, above=above) == shown
    assert above < float(shown) <= threshold
