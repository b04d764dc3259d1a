"""How long a set of heat maps will take, said before it begins: a few images are tried."""

from collections.abc import Sequence

import torch

from applications.explain.faithfulness import STEPS
from applications.explain.heat_maps import CHANNELS_A_PASS, ExplainedBatch
from utils.timing import in_words, measure_times

# Images that are tried.
TRIED = 8
# Seconds that each figure rests on; an estimate need not be exact.
BRIEF = 0.1


def expected_heat_maps(look: ExplainedBatch, methods: Sequence[str], images: int) -> str:
    """Return how long the heat maps of some images will take, in words, and which methods are slow.

    Args:
        look: one image.
        methods: rows of METHODS.
        images: how many there are.
    """
    maps = look.seen[0].detach()
    channels, some = maps.shape[1], min(TRIED, CHANNELS_A_PASS)
    several, masked = look.x.expand(some, -1, -1, -1), maps.expand(some, -1, -1, -1)

    def whole() -> None:
        with torch.no_grad():
            look.explainer.model(several).float().cpu()

    def behind() -> None:
        look.explainer.view.answers(look.x, masked).float().cpu()

    network, end = (timing.median / some for timing in measure_times([whole, behind], seconds=BRIEF))
    # One that asks for every channel; the others take a pass or two.
    seconds = {name: channels * {"score-cam": network, "ablation-cam": end}.get(name, 2 * network / channels) for name in methods}
    tests = 2 * (STEPS + 1) * network if len(methods) > 1 else 0.0
    total = images * (sum(seconds.values()) + tests * len(methods))
    slow = [name for name, each in seconds.items() if images * each > max(5.0, 0.2 * total)]
    parts = [f"{name} takes {in_words(images * seconds[name])} of it, with a pass for each of {channels} channels" for name in slow]
    if images * tests * len(methods) > max(5.0, 0.2 * total):
        parts.append(f"testing how far the maps can be believed takes {in_words(images * tests * len(methods))}")
    return "; ".join([f"about {in_words(total)} for {images} images", *parts])
