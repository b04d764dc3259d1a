"""Which formats the user wants, and whether they can hold what was asked for."""

from applications.formats import FORMATS, build_format
from applications.formats.format import Format
from applications.formats.int8 import TO_QUANTIZE
from applications.formats.package import check_installed
from applications.settings.options import ExportOptions, Request
from utils.errors import UserError

# What tries all formats.
BEST = "best"
# Names that other programs use: the format here, and what the file is there.
ELSEWHERE = {
    "safetensors": ("hub", "a folder with model.safetensors, config.json and a card"),
    "jit": ("torchscript", "the same"),
    "pt2": ("torch_export", "the same"),
    "pte": ("executorch", "the same"),
    "aotinductor": ("aoti", "the same"),
    "tensorrt": ("onnx", "what TensorRT reads"),
    "engine": ("onnx", "what TensorRT reads"),
    "tflite": ("onnx", "what onnx2tf turns into TensorFlow Lite"),
    "coreml": ("torchscript", "what coremltools converts"),
    "ncnn": ("torchscript", "what pnnx converts"),
}


def named_formats(request: Request) -> list[Format]:
    """Return the formats that the user named.

    Raises:
        UserError: one is unknown, named twice, cannot hold what was asked for, or lacks a package.
    """
    names = ["torchscript"] if request.action == "jit" else [name.strip() for name in request.subject.split(",")]
    for name in names:
        if not name:
            raise UserError(f"--export {request.subject} names no format; known are {', '.join(FORMATS)}, and {BEST}")
        if name == BEST:
            raise UserError(f"--export {request.subject}: {BEST} tries all formats by itself; name it alone")
        if name.lower() in ELSEWHERE:
            ours, why = ELSEWHERE[name.lower()]
            raise UserError(f"--export {name}: take {ours} here ({why})")
        FORMATS.check(name)
    if len(set(names)) < len(names):
        raise UserError(f"--export {request.subject} names a format twice")
    formats = [build_format(name) for name in names]
    for found in formats:
        check_format(found, request.config.export)
    return formats


def check_format(found: Format, options: ExportOptions) -> None:
    """Raise UserError when the format cannot hold what was asked for, or a package is missing."""
    if options.int8 and not found.holds.int8:
        able = [name for name in FORMATS if build_format(name).holds.int8]
        raise UserError(f"--int8: the format {found.name} has no room for 8-bit integers; take {' or '.join(able)}")
    if options.half and not found.holds.half:
        raise UserError(f"--half: the format {found.name} has no room for 16 bits; leave it out")
    if (options.with_features or options.with_cam) and not found.holds.outputs:
        raise UserError(f"--with_features and --with_cam: the format {found.name} answers probabilities alone; leave them out")
    if options.opset is not None and not found.holds.opset:
        able = [name for name in FORMATS if build_format(name).holds.opset]
        raise UserError(f"--opset {options.opset} is for the formats {' and '.join(able)}; leave it out for {found.name}")
    check_installed(found.name, (*found.to_write, *found.to_open, *((TO_QUANTIZE,) if options.int8 else ())))
