"""A classifier of the shelf as an encoder: its maps, without its head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo
from models.modules import evaluating, replace_module
from models.segmenters.dilation import dilate
from utils.errors import UserError

# Large enough for the strides of every map to show.
PROBE_SIZE = 64


class Encoder(nn.Module):
    """Images (N, 3, H, W) -> the maps that a decoder reads, the largest first.

    Args:
        backbone: with its head, which is taken off.
        name: what the user calls it.
        strides: of the maps that are wanted, as the backbone is published.
        stem: whether a map of stride 2 is wanted, too, where there is one.
        output_stride: of the last map; None leaves the backbone as it is.

    Raises:
        UserError: the backbone has no such maps, or cannot be dilated.
    """

    def __init__(
        self, backbone: Backbone, name: str, *, strides: Sequence[int], stem: bool = False, output_stride: int | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.name = name
        found = {each.stride: (position, each.channels) for position, each in enumerate(_feature_info(backbone, name))}
        missing = [stride for stride in strides if stride not in found]
        if missing:
            has = f"has maps of stride {_listed(sorted(found))} alone" if found else "shows no maps"
            raise UserError(
                f"--encoder {name}: maps of stride {_listed(strides)} are wanted, and this network {has}; take one such as "
                "resnet18, mobilenetv3_large, torchvision/mobilenet_v2 or timm/convnext_tiny"
            )
        wanted = [*([2] if stem and 2 in found else []), *strides]
        self.positions = [found[stride][0] for stride in wanted]
        self.info = [FeatureInfo(found[stride][1], min(stride, output_stride or stride)) for stride in wanted]
        if output_stride is not None:
            dilate(backbone, output_stride, probe=PROBE_SIZE, name=name)
        self._remove_unused()

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.backbone.forward_features(x)
        return [maps[position] for position in self.positions]

    def shorten(self, count: int) -> None:
        """Give the first `count` maps alone, and take off what only the others need, where the network runs and gives the same without."""
        kept = self.positions, self.info
        size, generator = (1, 3, PROBE_SIZE, PROBE_SIZE), torch.Generator().manual_seed(0)
        probe = torch.randn(size, generator=generator).to(next(self.parameters()))
        with evaluating(self.backbone), torch.no_grad():
            before = self(probe)[:count]
        self.positions, self.info = self.positions[:count], self.info[:count]
        self.backbone.keep_maps(self.positions[-1] + 1)
        removed = self._remove_unused()
        try:
            with evaluating(self.backbone), torch.no_grad():
                alike = all(map(torch.equal, before, self(probe)))
        except (AssertionError, RuntimeError, ValueError, IndexError, AttributeError, TypeError):
            alike = False
        if not alike:
            for key, module in reversed(removed):
                replace_module(self.backbone, key, module)
            self.backbone.keep_maps(None)
            self.positions, self.info = kept

    def _remove_unused(self) -> list[tuple[str, nn.Module]]:
        """Replace every module that no map depends on: it would be saved, and several processes would wait for its gradient.

        Returns:
            names and modules that are replaced.
        """
        parameters = dict(self.backbone.named_parameters())
        weight = next(iter(parameters.values()))
        with evaluating(self.backbone), torch.enable_grad():
            try:
                maps = self(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, dtype=weight.dtype, device=weight.device))
            except (AssertionError, RuntimeError, ValueError) as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                raise UserError(
                    f"--encoder {self.name} does not take images of any size ({reason}); take another, such as resnet18"
                ) from error
            total = torch.stack([each.sum() for each in maps]).sum()
            gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        removed = []
        used = {key for key, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        for key, module in list(self.backbone.named_modules()):
            owned = [f"{key}.{each}" for each, _ in module.named_parameters()]
            # What is inside a module that is gone already has no parameters left.
            if key and owned and not used.intersection(owned):
                replace_module(self.backbone, key, nn.Identity())
                removed.append((key, module))
        return removed


def _feature_info(backbone: Backbone, name: str) -> list[FeatureInfo]:
    try:
        return backbone.feature_info
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(f"--encoder {name}: this network shows no feature maps; take another, such as resnet18") from error


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(map(str, strides))
