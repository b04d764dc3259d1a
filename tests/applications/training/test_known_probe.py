"""What a fine-tuning says of a probe before it begins."""

import pytest

from applications.training.known_probe import better_by_probe


@pytest.mark.parametrize(
    ("images", "epoch_size", "epochs", "classes", "expected"),
    [
        (60, None, 50, 2, "few images"),
        (61, None, 50, 2, ""),
        # Thirty of each of 1,000 classes are few, though 30,000 images are many.
        (30_000, None, 10, 1000, "few images"),
        (1768, 1600, 1, 6, "less than twice"),
        (1768, None, 1, 6, "less than twice"),
        (1768, None, 2, 6, ""),
        (1768, 884, 4, 6, ""),
    ],
)
def test_a_probe_is_recommended_for_few_images_and_for_short_trainings(
    images: int, epoch_size: int | None, epochs: int, classes: int, expected: str
) -> None:
    said = better_by_probe(images, epoch_size, epochs, classes)
    assert expected in said if expected else said == ""
