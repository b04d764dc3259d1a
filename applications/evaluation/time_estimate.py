"""How long an evaluation will take, said before it begins: a few images are tried."""

import numpy as np
import torch

from applications.assemble import Machine
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained
from dataloader.images.read import ImageError
from dataloader.splits.split import Split
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


def expected_evaluation(trained: Trained, task: LabelTask, split: Split, machine: Machine, *, report: bool) -> str:
    """Return how long the images of a split will take, in words; '' for so few that it does not matter.

    Args:
        trained: the model, with the views it looks at.
        task: its task.
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
        # No estimate; the measurement reports unreadable images.
        return ""
    images = task.normalize(torch.stack(pictures).to(machine.device))

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
