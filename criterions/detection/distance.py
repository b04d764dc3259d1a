"""How far a detector's answers are from those of another one at the same places.

After Mehta, Ozturk: Object detection at 200 frames per second (arXiv 1805.06361): classes and boxes count by the objectness of the teacher.
"""

from torch import Tensor

from criterions.detection.assignment import Predictions, overlaps
from criterions.detection.box_losses import IOU_FACTOR
from criterions.distillation import DistanceTerms


def box_distance(student: Predictions, teacher: Predictions, terms: DistanceTerms, temperature: float) -> Tensor:
    """Return the distance of every image, (N,), summed over its places: of objectness, and where the teacher sees objects of the rest.

    Args:
        student: of N images, with gradient.
        teacher: of the same images, at the same A places.
        terms: of logits with sigmoids.
        temperature: by which logits are divided.
    """
    images, places = student.objectness.shape
    sure = teacher.objectness.sigmoid()

    def apart(ours: Tensor, theirs: Tensor) -> Tensor:
        rows = theirs.reshape(images * places, -1) / temperature
        return terms(ours.reshape(images * places, -1), rows, rows.sigmoid(), temperature).reshape(images, places)

    boxes = IOU_FACTOR * (1 - overlaps(student.boxes, teacher.boxes).square())
    return (apart(student.objectness, teacher.objectness) + sure * (apart(student.classes, teacher.classes) + boxes)).sum(1)
