"""Whether a network takes images of a size: by one image, since few networks say it of themselves."""

from typing import Any

import torch

from models.backbone import Network
from models.modules import evaluating
from utils.errors import UserError
from utils.networks.first_conv import input_channels


def answer_to_black(net: Network, image_size: tuple[int, int], *, name: str) -> Any:
    """Return what a network says of one black image of this (height, width), in evaluation mode.

    Args:
        net: in any mode, which it keeps.
        image_size: in pixels.
        name: what the user calls it.

    Raises:
        UserError: it fails.
    """
    weight = net.get_classifier().weight
    try:
        with evaluating(net), torch.no_grad():
            return net(torch.zeros(1, input_channels(net), *image_size, device=weight.device, dtype=weight.dtype))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{name} does not take images of {image_size[0]} x {image_size[1]} pixels ({reason})") from error
