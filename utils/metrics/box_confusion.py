"""What objects are taken for, with what is found nowhere and what is seen where nothing is."""

import numpy as np

from utils.metrics.box_errors import FOREGROUND, BoxErrors
from utils.metrics.box_overlap import overlapping_pairs


def confusion_of(errors: BoxErrors, classes: int) -> np.ndarray:
    """Return how often each class was answered as each, int64 (C + 1, C + 1), a row a true class, the last of both for nothing.

    Objects that an answer of their class finds are settled first; of the rest, each is taken for the answer of another class that overlaps
    it most, by half or more, each answer for one object.
    """
    matches = errors.matches
    hits, ignored = matches.hits[0, 0], matches.ignored[0, 0]
    truths, answers = matches.truths, matches.answers
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    free_truth = ~truths.crowd
    free_truth[matches.found[0][hits]] = False
    free = ~hits & ~ignored
    np.add.at(matrix, (answers.classes[hits], answers.classes[hits]), 1)
    rows, columns = np.flatnonzero(free), np.flatnonzero(free_truth)
    columns = columns[np.argsort(truths.images[columns], kind="stable")]
    pairs = overlapping_pairs(
        answers.corners[rows], answers.images[rows], truths.corners[columns], truths.images[columns], truths.crowd[columns], FOREGROUND
    )
    for place in np.argsort(-pairs.overlaps, kind="stable").tolist():
        row, column = int(rows[pairs.answers[place]]), int(columns[pairs.truths[place]])
        # Of its own class it can only be a second answer: the object is free as nothing of its class overlaps it enough.
        if free[row] and free_truth[column]:
            free[row] = free_truth[column] = False
            matrix[truths.classes[column], answers.classes[row]] += 1
    matrix[:-1, classes] += np.bincount(truths.classes[free_truth], minlength=classes)
    matrix[classes, :-1] += np.bincount(answers.classes[free], minlength=classes)
    return matrix
