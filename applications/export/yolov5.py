"""--convert_yolov5: weights of a YOLOv5 backbone under YOLOv5's own names, or from them under ours."""

from pathlib import Path

import torch
from torch import Tensor

from applications.settings.options import Request
from models.families.darknet import from_yolov5, to_yolov5
from models.weights import read_state
from utils.errors import UserError
from utils.files import write_atomically
from utils.logs import log

OURS, THEIRS = "stem.conv.weight", "model.0.conv.weight"


def run(request: Request) -> int:
    """Write the backbone of the first file to the second, renamed the other way than it is.

    Raises:
        UserError: there are not two files, the first holds no such backbone, or the second exists.
    """
    if len(request.subjects) != 2:
        raise UserError("--convert_yolov5 takes two files: the weights to read, and the file to write")
    source, destination = (Path(each) for each in request.subjects)
    if destination.exists():
        raise UserError(f"--convert_yolov5: {destination} exists; name a file that does not")
    state = read_state(source)
    renamed, names = rename(state, source)
    write_atomically(destination, lambda place: torch.save(renamed, place))
    left = len(state) - len(renamed)
    rest = f"; {left} of other parts are left out" if left else ""
    log().info(f"written   {destination}: {len(renamed)} tensors of the backbone, with the names of {names}{rest}")
    return 0


def rename(state: dict[str, Tensor], source: Path) -> tuple[dict[str, Tensor], str]:
    """Return the backbone of a state dict under the other names, and whose they are.

    Raises:
        UserError: it has neither; `source` is where it comes from.
    """
    if THEIRS in state:
        return from_yolov5(state), "darknet_yolov5"
    if OURS not in state or "stages.0.out_conv.conv.weight" not in state:
        raise UserError(f"{source} holds no backbone of YOLOv5: neither {THEIRS} nor the layers of darknet_yolov5n to darknet_yolov5x")
    if state[OURS].shape[-1] != 6:
        raise UserError(f"{source} holds another Darknet: the backbone of YOLOv5 begins with a convolution of 6 x 6 pixels")
    return to_yolov5(state), "YOLOv5, up to model.8"
