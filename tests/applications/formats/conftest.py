"""A small model to be written in every format."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from applications.formats import build_format
from applications.formats.deployed import Deployed, deploy
from applications.formats.facts import Facts
from applications.formats.format import Format, WriteSettings
from dataloader.images.preprocess import Preprocess
from models import build_model
from models.backbone import Backbone
from tests.applications.map_net import MapNet

PREPROCESS = Preprocess((24, 16))
CLASSES = ("blå", "green, or so", "red")


@pytest.fixture(scope="session")
def map_net() -> Backbone:
    torch.manual_seed(0)
    return MapNet(len(CLASSES)).eval()


def parts_for(found: Format, net: Backbone, *, half: bool = False, any_size: bool = True) -> tuple[Deployed, Facts]:
    """Return a model with all outputs that the format has room for, and what the file is to say."""
    extra, any_size = found.holds.outputs, any_size and found.holds.geometry
    # The layout of hubs holds no graph, and needs an architecture by name.
    arch, net = ("mapnet", net) if extra else ("mobilenetv3_small", build_model("mobilenetv3_small", num_classes=len(CLASSES)).eval())
    deployed = deploy(net, PREPROCESS, "softmax", arch=arch, temperature=1.7, any_size=any_size, half=half, features=extra, cam=extra)
    facts = Facts(
        arch,
        "classify",
        CLASSES,
        PREPROCESS,
        "softmax",
        1.7,
        reject=(0.5, 0.25, 0.125),
        source="best.pt, epoch 3",
        checkpoint_sha256="0" * 64,
        exported_as=found.name,
        precision="half" if half else "fp32",
        any_size=any_size,
        outputs=("probabilities", "features", "cam") if extra else ("probabilities",),
        versions={"torch": torch.__version__},
    )
    return deployed, facts


class Artefact(NamedTuple):
    """A written file, its model, and what the file is to say."""

    path: Path
    deployed: Deployed
    facts: Facts


Written = Callable[..., Artefact]


@pytest.fixture(scope="session")
def written(map_net: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return a function that writes the model in a format, once for all tests."""

    @cache
    def write(name: str, *, half: bool = False, any_size: bool = True) -> Artefact:
        found = build_format(name)
        deployed, facts = parts_for(found, map_net, half=half, any_size=any_size)
        path = tmp_path_factory.mktemp("exported") / f"model{found.suffix}"
        found.write(deployed, path, facts, WriteSettings())
        return Artefact(path, deployed, facts)

    return write
