"""FORMATS: the kinds of exported files."""

from typing import TYPE_CHECKING

from utils.registry import Row, Table

if TYPE_CHECKING:
    from applications.formats.format import Format

FORMATS = Table(
    "format",
    {
        "torchscript": Row("applications.formats.torchscript:TorchScript", "for libtorch, in Python and C++"),
        "torch_export": Row("applications.formats.torch_export:TorchExport", "a graph of torch.export, which PyTorch goes on with"),
        "aoti": Row("applications.formats.aoti:Aoti", "machine code by AOTInductor, for the kind of machine that wrote it"),
        "onnx": Row("applications.formats.onnx:Onnx", "for ONNX Runtime and most others"),
        "openvino": Row("applications.formats.openvino:OpenVino", "for processors and graphics of Intel, and other CPUs"),
        "executorch": Row("applications.formats.executorch:ExecuTorch", "for phones and boards: one size, memory planned beforehand"),
        "hub": Row("applications.formats.hub:Hub", "safetensors, config.json and a model card, as model hubs keep them; timm reads it"),
    },
)


def build_format(name: str) -> "Format":
    """Return the format of this name; its packages are imported when it writes or opens.

    Raises:
        UserError: there is none of this name.
    """
    return FORMATS.resolve(name)()
