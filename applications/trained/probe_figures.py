"""What a linear probe of the weights that a run began from gave, as checkpoints hold it."""

from collections.abc import Mapping
from typing import Any

# In a checkpoint.
PROBE = "probe"


def describe_probe(told: Mapping[str, Any]) -> str:
    """Return the figures of a probe in a clause.

    Args:
        told: `headline`, the name of a metric; `linear`, its value; `neighbors`, the share that the `count` nearest neighbors answer right;
            `image_size`, height and width at which it read the images.
    """
    height, width = told["image_size"]
    near = f"{told['neighbors']:.1%} by {told['count']} nearest neighbors"
    return f"a linear probe of the starting weights at {height}x{width} gives val {told['headline']} {told['linear']:.1%}, and {near}"
