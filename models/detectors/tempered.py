"""Scores of boxes whose log odds are divided by a temperature: Guo et al. (arXiv 1706.04599), for scores that are products."""

from torch import Tensor


def tempered(scores: Tensor, temperature: float) -> Tensor:
    """Return scores from 0 to 1, of any shape, at a temperature: above 1 they come nearer to a half. Their order stays.

    Powers in place of logarithms: 0 and 1 stay what they are, and every runtime of exported files has them.
    """
    if temperature == 1:
        return scores
    sure, unsure = scores ** (1 / temperature), (1 - scores).clamp(min=0) ** (1 / temperature)
    return sure / (sure + unsure)
