"""The ways to say where a network looked; the grad-cam package has the formulas of most."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from applications.explain.methods import METHODS
from models.backbone import Backbone
from models.maps.explained_map import MapView, find_averaged, find_view
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng

# Images, or maps, of one pass where a method asks the network about every channel.
CHANNELS_A_PASS = 64


class Explainer:
    """A network prepared for looking: which map each kind of method sees, found once.

    Args:
        model: the network, in evaluation mode.
        arch: its name, for messages.
        image_size: (height, width) of the images.
        dtype: in which the map is computed; gradients and answers are float32.

    Attributes:
        default: the row of METHODS that is taken where none is named.
    """

    default = "grad-cam"

    def __init__(self, model: Backbone, arch: str, image_size: tuple[int, int], dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self.arch = arch
        self.image_size = image_size
        self.dtype = dtype

    @cached_property
    def view(self) -> MapView:
        return find_view(self.model, self.image_size, dtype=self.dtype)

    @cached_property
    def averaged(self) -> Callable[[Tensor], Tensor] | None:
        return find_averaged(self.model, self.image_size)

    def lacks(self, method: str) -> str:
        """Say why a method is out of reach, and what to do; '' for those that the network can give."""
        if method != "cam" or self.averaged is not None:
            return ""
        size = f"{self.image_size[0]} x {self.image_size[1]}"
        return f"the classifier of {self.arch} does not read the mean of a map at {size} pixels; take grad-cam"

    def class_map(self, batch: "ExplainedBatch", classes: Tensor) -> np.ndarray:
        """Return the weights of the classifier on the map that it averages, for the class of each image, (N, h, w)."""
        if self.averaged is None:
            raise UserError(f"--visual_method cam: {self.lacks('cam')}")
        with torch.no_grad():
            weight = self.model.get_classifier().weight[classes]
            return torch.einsum("nchw,nc->nhw", self.averaged(batch.x).float(), weight.float()).cpu().numpy()


@dataclass(eq=False)
class ExplainedBatch:
    """A batch of images and what the network makes of them; the passes are shared by all methods.

    Attributes:
        explainer: the network.
        x: normalized images (N, 3, H, W).
        first: position of the first image in the split, for what is drawn at random.
    """

    explainer: Explainer
    x: Tensor
    first: int = 0

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The map (N, C, h, w), a leaf, and the logits (N, K)."""
        return self.explainer.view.look(self.x)

    @cached_property
    def activations(self) -> np.ndarray:
        return self.seen[0].detach().float().cpu().numpy()

    def gradients(self, classes: Tensor) -> np.ndarray:
        """Return the gradient (N, C, h, w) of each image's logit of `classes` (N,)."""
        leaf, logits = self.seen
        (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), leaf, retain_graph=True)
        return gradient.float().cpu().numpy()


# (look, class of each image (N,)) -> heat (N, h, w), of any range.
Method = Callable[[ExplainedBatch, Tensor], np.ndarray]


def heat_maps(method: str, batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Return how much each place speaks for the class, float32 (N, h, w) in 0..1; zeros where nothing does.

    Args:
        method: a row of METHODS.
        look: the images.
        classes: (N,) class indices, on the device of the images.

    Raises:
        UserError: the network cannot give this.
    """
    heat = np.nan_to_num(np.asarray(METHODS.resolve(method)(batch, classes), dtype=np.float32))
    heat = np.maximum(heat, 0)
    heat -= heat.min((1, 2), keepdims=True)
    return heat / np.maximum(heat.max((1, 2), keepdims=True), 1e-12)


def classic_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """CAM: the weights of the classifier on the map whose mean it reads."""
    return batch.explainer.class_map(batch, classes)


def load_package() -> ModuleType:
    """Import the grad-cam package, which takes seconds."""
    return importlib.import_module("pytorch_grad_cam")


def by_package(batch: ExplainedBatch, classes: Tensor, *, formula: str) -> np.ndarray:
    """Apply a formula of the grad-cam package to our maps and gradients."""
    cam: Any = getattr(load_package(), formula)(batch.explainer.model, [])
    gradients = batch.gradients(classes)
    with warnings.catch_warnings():
        # A map that is zero everywhere is divided by its sum; zeros come of it later.
        warnings.simplefilter("ignore", RuntimeWarning)
        return cam.get_cam_image(batch.x, None, None, batch.activations, gradients, False)


def grad_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Grad-CAM (arXiv 1610.02391): channels weighted by their mean gradient. The report has it, and does not wait for the package."""
    return np.einsum("nchw,nc->nhw", batch.activations, batch.gradients(classes).mean((2, 3)))


grad_cam_plus_plus = partial(by_package, formula="GradCAMPlusPlus")
xgrad_cam = partial(by_package, formula="XGradCAM")
hires_cam = partial(by_package, formula="HiResCAM")
layer_cam = partial(by_package, formula="LayerCAM")


def eigen_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Eigen-CAM (arXiv 2008.00299)."""
    del classes
    return first_component(batch.activations)


def eigen_grad_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Eigen-CAM of gradient times activation, which depends on the class."""
    return first_component(batch.activations * batch.gradients(classes))


def first_component(values: np.ndarray) -> np.ndarray:
    """Return the projection (N, h, w) of each pixel of (N, C, h, w) on the first principal component of the pixels.

    A component has no sign; here its strongest pixel is positive. The package leaves the sign to chance, and finds all C components.
    """
    pixels = torch.from_numpy(values).flatten(2).transpose(1, 2)
    left, strength, _ = torch.linalg.svd(pixels - pixels.mean(1, keepdim=True), full_matrices=False)
    heat = (left[:, :, 0] * strength[:, :1]).numpy()
    strongest = np.take_along_axis(heat, np.abs(heat).argmax(1)[:, None], 1)
    return (heat * np.sign(strongest)).reshape(-1, *values.shape[2:])


def score_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Score-CAM (arXiv 1910.01279): each channel, as a mask of the image, is weighted by the answer to the masked image.

    The package has it, too, but asks about one class of one image at a time.
    """
    maps = batch.seen[0].detach()

    def ask(number: int, channels: range) -> Tensor:
        masks = F.interpolate(maps[number, channels, None].float(), batch.x.shape[-2:], mode="bilinear", align_corners=True)
        masks = masks - masks.amin((2, 3), keepdim=True)
        masks = masks / (masks.amax((2, 3), keepdim=True) + 1e-8)
        with torch.no_grad():
            return batch.explainer.model(batch.x[number] * masks)

    scores = _every_channel(maps, classes, ask)
    return torch.einsum("nchw,nc->nhw", maps.float(), scores.softmax(1)).cpu().numpy()


def ablation_cam(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020): each channel is weighted by the share of the logit lost without it.

    A missing channel is all zeros, as in the paper. The package goes through the whole network for it.
    """
    maps, logits = batch.seen[0].detach(), batch.seen[1].detach().float()

    def ask(number: int, channels: range) -> Tensor:
        without = maps[number].repeat(len(channels), 1, 1, 1)
        without[torch.arange(len(channels)), channels] = 0
        return batch.explainer.view.answers(batch.x[number, None], without)

    scores = _every_channel(maps, classes, ask)
    whole = logits.gather(1, classes[:, None])
    # The size of the logit, so that a negative one does not turn the weights around.
    return torch.einsum("nchw,nc->nhw", maps.float(), (whole - scores) / whole.abs().clamp(min=1e-8)).cpu().numpy()


def _every_channel(maps: Tensor, classes: Tensor, ask: Callable[[int, range], Tensor]) -> Tensor:
    """Return the logit of each image's class for each channel, (N, C)."""
    count = maps.shape[1]
    parts = [range(start, min(start + CHANNELS_A_PASS, count)) for start in range(0, count, CHANNELS_A_PASS)]
    rows = [torch.cat([ask(number, part)[:, label] for part in parts]) for number, label in enumerate(classes.tolist())]
    return torch.stack(rows).float()


def random_map(batch: ExplainedBatch, classes: Tensor) -> np.ndarray:
    """Noise at the size of the map, the same for every class."""
    del classes
    leaf = batch.seen[0]
    return np.stack([numpy_rng(Stream.EXPLAIN, batch.first + number).random(leaf.shape[-2:]) for number in range(len(leaf))])


def available(methods: list[str], explainer: Explainer) -> tuple[list[str], list[str]]:
    """Return the methods that the network can give, and why not for the others."""
    reasons = {method: explainer.lacks(method) for method in methods}
    return [method for method in methods if not reasons[method]], list(dict.fromkeys(filter(None, reasons.values())))
