"""Size, cost and speed of a network: parameters, multiply-adds (thop), memory, forward time."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import thop
import torch
from thop.profile import register_hooks
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from utils.networks.first_conv import input_channels
from utils.timing import Timing, measure_times

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.Sigmoid, nn.GELU)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Layer:
    """One row of the table: a block, its output shape without the batch, and its share of the cost."""

    name: str
    kind: str
    output: str
    parameters: int
    multiply_adds: float


@dataclass(frozen=True)
class Summary:
    """Cost of one image through a network.

    Attributes:
        layers: one a block.
        parameters: learned numbers.
        multiply_adds: by thop, one for each output of a norm or activation, the window for each output of a max pool.
        product_multiply_adds: convolutions and matrix products alone, by torch's own counter.
        weight_bytes: parameters and buffers.
        activation_bytes: outputs of all layers, as training keeps them.
    """

    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: float
    product_multiply_adds: float
    weight_bytes: int
    activation_bytes: int


def summarize(model: nn.Module, image_size: tuple[int, int], device: torch.device) -> Summary:
    """Measure a network on one image of (C, H, W), in evaluation mode and fp32."""
    # torch's counter fails where a layer is given a parameter that wants a gradient, such as a learned query.
    model = copy.deepcopy(model).eval().requires_grad_(False).to(device)
    image = torch.zeros(1, input_channels(model), *image_size, device=device)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            model(image)
        shapes, activation_bytes = _output_shapes(model, image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    total, layers = _count(model, image, shapes)
    # torch counts a multiply-add as two operations.
    return Summary(layers, parameters, total, counter.get_total_flops() / 2, weight_bytes, activation_bytes)


def time_forward(models: Sequence[nn.Module], image_size: tuple[int, int], device: torch.device) -> list[Timing]:
    """Return what one image of (C, H, W) takes in fp32, for networks in evaluation mode on the device, which take turns."""
    image = torch.zeros(1, input_channels(models[0]), *image_size, device=device)

    def look(model: nn.Module) -> Callable[[], None]:
        def call() -> None:
            model(image)
            if image.is_cuda:
                torch.cuda.synchronize()

        return call

    with torch.inference_mode():
        return measure_times([look(model) for model in models])


def _output_shapes(model: nn.Module, image: Tensor) -> tuple[dict[str, str], int]:
    """Return the output shape of every module, and the bytes that the leaves put out."""
    shapes: dict[str, str] = {}
    total = 0

    def watch(name: str, is_leaf: bool):
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> None:
            nonlocal total
            if isinstance(output, Tensor):
                shapes[name] = "x".join(map(str, output.shape[1:]))
                total += output.numel() * output.element_size() if is_leaf else 0

        return hook

    handles = [module.register_forward_hook(watch(name, not list(module.children()))) for name, module in model.named_modules()]
    model(image)
    for handle in handles:
        handle.remove()
    return shapes, total


def _count(model: nn.Module, image: Tensor, shapes: dict[str, str]) -> tuple[float, tuple[Layer, ...]]:
    counted = copy.deepcopy(model)
    total, _, info = thop.profile(  # pyright: ignore[reportAssignmentType]
        counted, inputs=(image,), custom_ops=_rules(model), verbose=False, ret_layer_info=True
    )
    modules = dict(model.named_modules())
    layers: list[Layer] = []

    def walk(prefix: str, children: dict, depth: int) -> None:
        for name, (cost, _, inner) in children.items():
            path = f"{prefix}{name}"
            module = modules[path]
            # A list of blocks is opened; a block is one row.
            opens = isinstance(module, nn.Sequential | nn.ModuleList) and inner and depth < 3
            if opens:
                walk(f"{path}.", inner, depth + 1)
                continue
            parameters = sum(parameter.numel() for parameter in module.parameters())
            if parameters or cost:
                layers.append(Layer(path, type(module).__name__, shapes.get(path, ""), parameters, cost))

    walk("", info, 0)
    return total, tuple(layers)


def _rules(model: nn.Module) -> dict:
    """Return the counting rule of every kind of layer; thop knows exact types, a subclass counts as what it derives from."""
    ours = {**dict.fromkeys(NORMS + ACTIVATIONS, _count_outputs), nn.MaxPool2d: _count_windows, nn.AdaptiveAvgPool2d: _count_nothing}
    known = {**register_hooks, **ours}
    for kind in {type(module) for module in model.modules()} - set(known):
        base = next((base for base in kind.__mro__ if base in known), None)
        if base is not None:
            ours[kind] = known[base]
    return ours


def _count_outputs(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
    _add(module, output.numel())


def _count_windows(module: nn.MaxPool2d, _inputs: tuple, output: Tensor) -> None:
    size = module.kernel_size
    height, width = size if isinstance(size, tuple) else (size, size)
    _add(module, output.numel() * height * width)


def _add(module: nn.Module, count: int) -> None:
    # thop keeps its sums in a buffer of every module.
    total = module.get_buffer("total_ops")
    total += float(count)


def _count_nothing(_module: nn.Module, _inputs: tuple, _output: Tensor) -> None:
    """The final pooling is left out, as the published tables do."""
