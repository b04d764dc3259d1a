"""Images with a heat map of what a trained model looked at laid over, for reports, pages and answers."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from applications.explain.exported_heat_map import ExplainedFile
from applications.explain.heat_maps import ExplainedBatch, Explainer, heat_maps
from applications.explain.methods import named_methods
from applications.trained.checkpoint import Trained
from applications.trained.exported import ExportedNetwork
from dataloader.images.preprocess import Normalize
from models.backbone import Backbone
from utils.drawing.images import enlarged, overlay
from utils.runtime import choose_precision

BATCH = 32


# Pixels of the longer side that a small image is enlarged to.
SIDE = 224


def open_explainer(trained: Trained) -> Explainer:
    """Return the network of a trained model, prepared for looking: in half precision where the hardware has it, but for fp32 runs."""
    if isinstance(trained.model, ExportedNetwork):
        return ExplainedFile(trained.model, trained.preprocess.image_size)
    assert isinstance(trained.model, Backbone)
    wanted = "fp32" if trained.config.runtime.precision == "fp32" else "auto"
    precision = choose_precision(wanted, next(trained.model.parameters()).device)
    return Explainer(trained.model, trained.config.model.arch, trained.preprocess.image_size, precision.dtype)


def explain(trained: Trained, images: Sequence[np.ndarray], classes: Sequence[int], method: str | None = None) -> list[np.ndarray]:
    """Return each image as the model sees it, with the heat of a class laid over, uint8 (H, W, 3).

    Args:
        trained: the model.
        images: uint8 (h, w, bands), RGB, of any sizes.
        classes: the class of each image whose heat is wanted.
        method: a row of METHODS; None takes the usual one.

    Raises:
        UserError: the method is unknown, or the network cannot give it.
    """
    explainer, found = open_explainer(trained), []
    (name,) = named_methods(method or explainer.default)
    for start in range(0, len(images), BATCH):
        pictures = [trained.preprocess.apply(image) for image in images[start : start + BATCH]]
        look = ExplainedBatch(explainer, normalized(trained, pictures), start)
        heat = heat_maps(name, look, torch.tensor(classes[start : start + BATCH], device=look.x.device))
        found += [overlay(displayable(picture), each) for picture, each in zip(pictures, heat, strict=True)]
    return found


def normalized(trained: Trained, pictures: Sequence[Tensor]) -> Tensor:
    """Return images, uint8 (bands, H, W) each, as the network takes them: (N, C, H, W) on its device."""
    if trained.exported is not None:
        return torch.stack(list(pictures))
    device = next(trained.model.parameters()).device
    normalize = Normalize(trained.preprocess.mean, trained.preprocess.std).to(device)
    return normalize(torch.stack(list(pictures)).to(device).contiguous(memory_format=torch.channels_last))


def displayable(picture: Tensor) -> np.ndarray:
    """Return an image, uint8 (bands, H, W), as a person can see it, uint8 (H', W', 3): small ones are enlarged."""
    import cv2

    image = enlarged(np.ascontiguousarray(picture[:3].permute(1, 2, 0).numpy()), SIDE)
    factor = SIDE / max(image.shape[:2])
    return image if factor <= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
