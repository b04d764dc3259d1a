"""The class map of an exported file as the only heat map that it can give."""

import numpy as np
import torch
from torch import Tensor

from applications.explain.heat_maps import ExplainedBatch, Explainer
from applications.trained.exported import ExportedNetwork
from models.maps.explained_map import MapView
from utils.errors import UserError


class FileView(MapView):
    """A file laid open as far as it goes: its class map (N, C, h, w) and its logits.

    Args:
        network: of a file with a class map.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        self.network = network

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.network.look(x)["cam"].float(), self.network(x)

    def answers(self, x: Tensor, maps: Tensor) -> Tensor:
        raise NotImplementedError("no method of a file asks what follows from another map")


class ExplainedFile(Explainer):
    """An exported file prepared for looking.

    Args:
        network: of the file; it takes pixels.
        image_size: (height, width) of the images.
    """

    default = "cam"

    def __init__(self, network: ExportedNetwork, image_size: tuple[int, int]) -> None:
        self.network = network
        self.arch = network.exported.facts.arch
        self.image_size = image_size

    @property
    def view(self) -> MapView:
        if reason := self.lacks("cam"):
            raise UserError(reason)
        return FileView(self.network)

    def lacks(self, method: str) -> str:
        exported = self.network.exported
        if "cam" not in exported.facts.outputs:
            return f"{exported.path} has no class map; write it --with_cam, or give its run"
        if method != "cam":
            return "an exported file shows a class map alone, and nothing else of its inside; take cam, or give its run"
        return ""

    def class_map(self, batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
        maps = batch.seen[0]
        return maps[torch.arange(len(maps), device=maps.device), classes].cpu().numpy()
