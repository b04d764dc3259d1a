"""Networks for images of another number of channels: the first convolution, made wider or narrower with what it has learned."""

import torch
from torch import Tensor, nn

from utils.errors import UserError
from utils.networks.first_conv import first_conv, input_channels


def set_input_channels(model: nn.Module, channels: int) -> None:
    """Let the network take images (N, channels, H, W), in place; a first convolution that is right already is left alone.

    Its weights become those of `fit_channels`; see there.

    Raises:
        UserError: what the images enter is no plain convolution.
    """
    if input_channels(model) == channels:
        return
    found = first_conv(model)
    if found is None or found[1].groups != 1:
        raise UserError(f"--channels {channels}: the images of {type(model).__name__} do not enter a plain convolution; leave it out")
    _, conv = found
    weight = fit_channels(conv.weight.detach(), channels)
    conv.in_channels = channels
    conv.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """Bring the weights of a first convolution, (outputs, inputs, h, w), to another number of inputs.

    One channel gets their sum. Channels that come in addition get the mean of those that are there, channels that go are the last ones,
    and all are scaled by old / new number. So an image whose channels are equal gives the same activations as before, where no
    channel goes, and other images activations of the same size.
    """
    given = weight.shape[1]
    if channels == given:
        return weight.clone()
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    more = [weight.mean(dim=1, keepdim=True)] * max(channels - given, 0)
    return torch.cat([weight[:, :channels], *more], dim=1) * (given / channels)
