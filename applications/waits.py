"""How long an evaluation or a set of heat maps will take, said before it begins: a few images are tried."""

from collections.abc import Sequence

import numpy as np
import torch

from applications.assemble import Machine
from applications.cam_methods import CHANNELS_A_PASS, Look
from applications.faithfulness import STEPS
from applications.trained import Trained
from dataloader.catalog import Split
from dataloader.preprocess import Normalize
from dataloader.read import ImageError
from utils.cores import default_workers
from utils.timing import in_words, measure_times

# Images that are tried; of fewer than ENOUGH, trying takes as long as doing.
TRIED, ENOUGH = 8, 64
# Seconds of a page besides its heat maps: libraries to load, fits, figures, and the time of one image.
PAGE = 5.0
# Images with heat maps, in passes through the network: forward, and back through its end.
PAGE_PASSES = 36 * 2
# Seconds that each figure rests on; an estimate need not be exact.
BRIEF = 0.1


def expected_evaluation(trained: Trained, split: Split, machine: Machine, *, report: bool) -> str:
    """Return how long the images of a split will take, in words; '' for so few that it does not matter.

    Args:
        trained: the model, with the views it looks at.
        split: the images.
        machine: where it computes.
        report: whether a page is written, too.
    """
    if len(split) < ENOUGH:
        return ""
    tried = np.linspace(0, len(split) - 1, TRIED).round().astype(int).tolist()
    try:
        pictures = [trained.preprocess.apply(split.read(index)) for index in tried]
    except ImageError:
        # What cannot be read is reported when it is measured.
        return ""
    images = Normalize(trained.preprocess.mean, trained.preprocess.std).to(machine.device)(torch.stack(pictures).to(machine.device))

    def look() -> None:
        with torch.inference_mode(), machine.autocast():
            trained.model(images).float().cpu()

    reading, looking = measure_times([lambda: trained.preprocess.apply(split.read(tried[0])), look], seconds=BRIEF)
    workers = trained.config.data.workers
    helpers = default_workers(machine.world.size) if workers is None else workers
    network = looking.median / TRIED
    each = max(reading.median / helpers, network) if helpers else reading.median + network
    measuring = each * len(split) / machine.world.size
    if not report:
        return f"about {in_words(measuring)}"
    page = PAGE + PAGE_PASSES * network
    slow = "reading the images" if helpers and reading.median / helpers > network else "the network"
    return f"about {in_words(measuring + page)}: {in_words(measuring)} to measure, mostly {slow}, and {in_words(page)} for the page"


def expected_heat_maps(look: Look, methods: Sequence[str], images: int) -> str:
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
            look.eye.model(several).float().cpu()

    def behind() -> None:
        look.eye.view.answers(look.x, masked).float().cpu()

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
