"""The module that is exported: geometry, normalization, network and probabilities in one."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from applications.formats.resize import GraphResize
from dataloader.images.preprocess import Normalize, Preprocess, fit_images
from models.backbone import Network
from models.detectors.tempered import tempered
from utils.errors import UserError


class Core(nn.Module):
    """A network with more to show than its logits: (N, 3, H, W) -> logits (N, C) and what else was asked for.

    Args:
        net: the network.
        features: also the vector (N, F) that the classifier reads.
        cam: also the class map (N, C, h, w): what the head says of every place of the last map. Where the head averages a map and
            multiplies it by a matrix, its mean over the places is the logits (arXiv 1512.04150).
    """

    def __init__(self, net: Any, *, features: bool = False, cam: bool = False) -> None:
        super().__init__()
        self.net = net
        self.features = features
        self.cam = cam

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if not (self.features or self.cam):
            return (self.net(x),)
        maps = self.net.forward_features(x)
        # A copy each: heads may work in place, and class tokens lie beside the maps.
        outputs = [self.net.forward_head(copy.copy(maps))]
        if self.features:
            outputs.append(self.net.forward_head(copy.copy(maps), pre_logits=True))
        if self.cam:
            outputs.append(self._class_map(maps))
        return tuple(outputs)

    def _class_map(self, maps: list[Tensor]) -> Tensor:
        last = maps[-1]
        n, channels, height, width = last.shape
        places = last.permute(0, 2, 3, 1).reshape(n * height * width, channels, 1, 1)
        said = self.net.forward_head([*maps[:-1], places])
        return said.reshape(n, height, width, -1).permute(0, 3, 1, 2)


class Answering(nn.Module):
    """Images of the network's own size, uint8 (N, 3, H, W), to probabilities (N, C) and what else the core shows.

    Args:
        core: normalized images -> a tuple of tensors, the logits first.
        normalize: uint8 pixels to normalized floats.
        activation: 'softmax' or 'sigmoid'.
        temperature: divides the logits.
        half: the core computes in 16 bits.
    """

    def __init__(self, core: nn.Module, normalize: nn.Module, activation: str, *, temperature: float = 1.0, half: bool = False) -> None:
        super().__init__()
        self.core = core
        self.normalize = normalize
        self.softmax = activation == "softmax"
        self.temperature = temperature
        self.half_core = half

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.normalize(images)
        logits, *others = self.core(x.half() if self.half_core else x)
        logits = logits.float() / self.temperature
        probabilities = logits.softmax(1) if self.softmax else logits.sigmoid()
        return (probabilities, *(each.float() for each in others)) if others else probabilities


class OwnOutputs(nn.Module):
    """Images of the network's own size, uint8 (N, 3, H, W), to all that the network outputs, float32, such as scores and maps.

    Args:
        core: normalized images -> a tuple of tensors.
        normalize: uint8 pixels to normalized floats.
        half: the core takes 16 bits.
    """

    def __init__(self, core: nn.Module, normalize: nn.Module, *, half: bool = False) -> None:
        super().__init__()
        self.core = core
        self.normalize = normalize
        self.half_core = half

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.normalize(images)
        return tuple(each.float() for each in self.core(x.half() if self.half_core else x))


class BoxCore(nn.Module):
    """A detector that answers corners (N, A, 4), in pixels of its input, and scores (N, A, C): objectness x probability of the class.

    Args:
        net: corners, objectness and probabilities of every place.
        temperature: of the scores.
    """

    def __init__(self, net: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        said = self.net(x)
        scores = said[..., 5:] * said[..., 4:5]
        # In 16 bits powers of small scores are 0, and those of neighbors may change places.
        return said[..., :4], scores if self.temperature == 1 else tempered(scores.float(), self.temperature)


class FitImages(nn.Module):
    """`fit_images` as a module, which TorchScript keeps as it is."""

    def __init__(self, height: int, width: int, resize: str) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.resize = resize

    def forward(self, images: Tensor) -> Tensor:
        return fit_images(images, self.height, self.width, self.resize)


@dataclass(frozen=True)
class Deployed:
    """All parts of a model that is exported, on the CPU, in evaluation mode.

    Attributes:
        preprocess: image size, geometry, mean, std.
        answering: from images of the network's own size to the answers.
        any_size: whether the file is to take images of any size.
        net: the network itself, with its own names of weights.
    """

    preprocess: Preprocess
    answering: Answering | OwnOutputs
    any_size: bool
    net: nn.Module

    def example(self, size: tuple[int, int] | None = None) -> Tensor:
        """Return two images, uint8 (2, bands, h, w), of some size that the file takes."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(
            0, 256, (2, self.preprocess.bands, *(size or self.preprocess.image_size)), dtype=torch.uint8, generator=generator
        )

    def module(self) -> nn.Module:
        """Return the whole model as one module, without branches where images of any size come in."""
        if not self.any_size:
            return self.answering
        resize = GraphResize(*self.preprocess.image_size, self.preprocess.resize)
        return nn.Sequential(resize, self.answering).eval()

    def stages(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, output) of every layer for images of any size, in the order in which they are computed."""
        found: list[tuple[str, Tensor]] = []
        fitted = FitImages(*self.preprocess.image_size, self.preprocess.resize)(images)
        found.append(("geometry", fitted.float()))
        handles = [module.register_forward_hook(_keep(name, found)) for name, module in self._layers()]
        try:
            with torch.no_grad():
                answers = self.answering(fitted)
        finally:
            for handle in handles:
                handle.remove()
        found.append(("answers", answers[0] if isinstance(answers, tuple) else answers))
        yield from found

    def _layers(self) -> Iterator[tuple[str, nn.Module]]:
        yield "normalization", self.answering.normalize
        core = self.answering.core
        yield from ((name.removeprefix("net."), module) for name, module in core.named_modules() if name and not list(module.children()))


def _keep(name: str, found: list[tuple[str, Tensor]]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: object, output: object) -> None:
        del module, inputs
        if isinstance(output, Tensor):
            # Layers behind it may work in place.
            found.append((name, output.detach().float().clone()))

    return hook


def deploy(
    net: nn.Module,
    preprocess: Preprocess,
    activation: str,
    *,
    arch: str,
    temperature: float = 1.0,
    any_size: bool = True,
    half: bool = False,
    features: bool = False,
    cam: bool = False,
) -> Deployed:
    """Return the parts of a model whose network outputs logits, which become probabilities in the file, ready to be written.

    Raises:
        UserError: the network has no features or class map to show.
    """
    assert isinstance(net, Network)
    # Halving works in place, and the network is still to be asked.
    core = Core(copy.deepcopy(net) if half else net, features=features, cam=cam).eval()
    if features or cam:
        _check_outputs(core, preprocess, arch)
    core = core.half() if half else core
    normalize = Normalize(preprocess.mean, preprocess.std)
    answering = Answering(core, normalize, activation, temperature=temperature, half=half).eval()
    return Deployed(preprocess, answering, any_size, core.net)


def deploy_outputs(core: nn.Module, preprocess: Preprocess, *, any_size: bool = True, half: bool = False) -> Deployed:
    """Return the parts of a model whose answers are what its network outputs, a tuple, ready to be written; `half`: it takes 16 bits."""
    answering = OwnOutputs(core, Normalize(preprocess.mean, preprocess.std), half=half).eval()
    return Deployed(preprocess, answering, any_size, core)


def _check_outputs(core: Core, preprocess: Preprocess, arch: str) -> None:
    """Raise UserError where the network cannot show what was asked for."""
    wanted = " and ".join(flag for flag, asked in (("--with_features", core.features), ("--with_cam", core.cam)) if asked)
    try:
        with torch.no_grad():
            outputs = core(torch.zeros(1, len(preprocess.mean), *preprocess.image_size))
    except (UserError, RuntimeError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"{wanted}: {arch} has no head of its own that reads a map; leave it out") from error
    if core.cam and (outputs[-1].dim() != 4 or outputs[-1].shape[1] != outputs[0].shape[1]):
        raise UserError(f"{wanted}: the head of {arch} does not read a map place by place; leave --with_cam out")
