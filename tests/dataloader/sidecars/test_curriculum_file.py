"""Courses: the first threshold that is exceeded decides."""

import numpy as np

from dataloader.sidecars.curriculum_file import assign_courses, label_probabilities


def test_an_image_belongs_to_the_first_threshold_that_it_exceeds() -> None:
    probabilities = np.array([0.9, 0.7, 0.31, 0.3, 0.0, 1.0])
    assert assign_courses(probabilities, (0.7, 0.3, 0.0)).tolist() == [0, 1, 1, 2, 3, 0]


def test_the_probability_is_that_of_the_label() -> None:
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8]])
    assert label_probabilities(probabilities, np.array([1, 1])).tolist() == [0.3, 0.8]


def test_several_labels_count_by_their_mean() -> None:
    probabilities = np.array([[0.75, 0.25, 0.5]])
    assert label_probabilities(probabilities, np.array([[1.0, 0.0, 1.0]])).tolist() == [(0.75 + 0.75 + 0.5) / 3]
