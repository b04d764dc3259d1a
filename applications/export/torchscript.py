"""The model as it leaves the house: geometry, normalization, network and probabilities in one module."""

import json
import warnings

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from applications.trained.checkpoint import Trained
from criterions.weighted import Criterion
from dataloader.images.preprocess import Normalize, fit_images


class Deployed(nn.Module):
    """Takes uint8 RGB images (N, 3, h, w) of any size, answers probabilities (N, C).

    Args:
        core: network on normalized images (N, 3, H, W), traced.
        normalize: uint8 pixels to normalized floats.
        image_size: (H, W) that the network was trained on.
        resize: 'fit', 'crop' or 'stretch'.
        activation: 'softmax' or 'sigmoid'.
        temperature: divides the logits.
    """

    def __init__(
        self,
        core: nn.Module,
        normalize: nn.Module,
        image_size: tuple[int, int],
        resize: str,
        activation: str,
        *,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.core = core
        self.normalize = normalize
        self.height, self.width = image_size
        self.resize = resize
        self.softmax = activation == "softmax"
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        images = fit_images(images, self.height, self.width, self.resize)
        logits = self.core(self.normalize(images)).float() / self.temperature
        return logits.softmax(1) if self.softmax else logits.sigmoid()


def deploy(trained: Trained, criterion: Criterion) -> torch.jit.ScriptModule:
    """Return the scripted module of a trained model, on the CPU in fp32."""
    preprocess = trained.preprocess
    example = torch.zeros(2, 3, *preprocess.image_size)
    with torch.no_grad(), warnings.catch_warnings():
        # What tracing may have fixed is found by the comparison on real images.
        warnings.simplefilter("ignore", TracerWarning)
        core = torch.jit.trace(trained.model, example, check_trace=False)
        assert isinstance(core, nn.Module)
        normalize = Normalize(preprocess.mean, preprocess.std)
        module = Deployed(core, normalize, preprocess.image_size, preprocess.resize, criterion.activation, temperature=trained.temperature)
        # Freezing folds batch norms into convolutions.
        return torch.jit.freeze(torch.jit.script(module.eval()))


def facts(trained: Trained, criterion: Criterion) -> str:
    """Return, as JSON, what a program needs to know of the exported model."""
    return json.dumps(
        {
            "format": 1,
            "arch": trained.config.model.arch,
            "classes": list(trained.classes),
            **trained.preprocess.to_dict(),
            "activation": criterion.activation,
            "temperature": trained.temperature,
            **({} if trained.thresholds is None else {"thresholds": list(trained.thresholds)}),
            **({} if trained.reject is None else {"reject": list(trained.reject)}),
            "source": f"{trained.path.name}, epoch {trained.epoch}",
        }
    )
