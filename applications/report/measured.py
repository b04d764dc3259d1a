"""A measured model, from which every report is made; a file for each kind of answers adds what was measured of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from applications.assemble import Machine
from applications.assemble.seen_images import Overlap
from applications.contract import Task
from applications.trained.checkpoint import Trained
from dataloader.splits.split import Split
from utils.metrics.grouped_statistics import number_groups
from utils.text import counted

# CSV of image and group, next to the predictions, where groups are known.
GROUPS = "groups.csv"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model that was measured on the images of a split.

    Attributes:
        trained: the model.
        split: the images.
        task: of the model.
        machine: where it was measured.
        folder: where files go; a folder 'figures' in it takes tables and pictures.
        seconds: time of reading and predicting.
        views: the views of --tta; '' for none.
        unreadable: number of images that could not be read; they are in none of the figures.
        seen: how many of these images were trained on; None where the checkpoint does not say.
    """

    trained: Trained
    split: Split
    task: Task
    machine: Machine
    folder: Path
    seconds: float
    views: str = ""
    unreadable: int = 0
    seen: Overlap | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.trained.classes

    @property
    def attachments(self) -> Path:
        """Return the folder of tables and pictures."""
        return self.folder / "figures"

    @property
    def seed(self) -> int:
        return self.trained.config.runtime.seed

    @cached_property
    def groups(self) -> np.ndarray | None:
        """Number of the group of every image, from 0, (N,), such as the object it shows; None where images are independent."""
        return number_groups(self.split.groups)

    def over_groups(self) -> str:
        """Return ' over 40 groups', or '' where images are independent."""
        return "" if self.groups is None else f" over {counted(int(self.groups.max()) + 1, 'group')}"

    @property
    def how_intervals(self) -> str:
        """How intervals are computed."""
        return "Wilson's for shares of images, jackknife for macro F1, bootstrap for the others"

    def choices(self) -> dict[str, str]:
        """Return what was chosen on validation images, name -> value, as the page shows it."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return what report.json says of this kind of task, besides the figures of its parts."""
        return {}
