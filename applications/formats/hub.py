"""The layout of model hubs: a folder of model.safetensors, config.json and a model card."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from applications.formats.deployed import Answering, Core, Deployed
from applications.formats.facts import KERNEL, Facts
from applications.formats.format import Format, Holds, Opened, WriteSettings
from applications.formats.package import Package
from applications.formats.torchscript import as_arrays
from dataloader.images.preprocess import Normalize
from models import FAMILIES, build_model, full_name
from models.backbone import Backbone
from models.slimming.layer_widths import read_widths, set_widths
from utils.errors import UserError
from utils.registry import is_user_code

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
OURS = "darkroom"
RESNESTS = {
    "resnest50": "resnest50d",
    "resnest101": "resnest101e",
    "resnest200": "resnest200e",
    "resnest269": "resnest269e",
    "resnest50_fast_1s4x24d": "resnest50d_1s4x24d",
    "resnest50_fast_4s2x40d": "resnest50d_4s2x40d",
}


class Hub(Format):
    """Weights under their own names; timm loads the folder where it has the architecture."""

    name = "hub"
    suffix = "-hub"
    holds = Holds(geometry=False, outputs=False, masks=False)
    to_write = to_open = (Package("safetensors", "safetensors", 2),)

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        from safetensors.torch import save

        del settings
        if is_user_code(facts.arch):
            raise UserError(f"{facts.arch} is a network of your own file, which nobody else could build; take a format with a graph")
        path.mkdir()
        classifier = deployed.net
        assert isinstance(classifier, Backbone)
        theirs = timm_name(facts.arch, classifier)
        state = {name.removeprefix("net.") if theirs else name: tensor for name, tensor in deployed.net.state_dict().items()}
        # Through memory: the errors of the file writer do not say that the disk is full.
        (path / WEIGHTS).write_bytes(save({name: tensor.contiguous().clone() for name, tensor in state.items()}, {"format": "pt"}))
        (path / CONFIG).write_text(json.dumps(_config(facts, theirs, read_widths(deployed.net)), indent=2) + "\n", encoding="utf-8")
        (path / CARD).write_text(_card(facts, theirs), encoding="utf-8")
        return [] if theirs else [f"timm has no {facts.arch} with these weights; Darkroom reads the folder, timm does not"]

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if threads:
            torch.set_num_threads(threads)
        try:
            content = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            facts = Facts.from_json(json.dumps(content[OURS]))
            net = _timm_model(path, facts) if content["timm"] else _own_model(facts, content, load_file(path / WEIGHTS))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise self.damaged(path) from error
        numbers, half = facts.preprocess, facts.precision == "half"
        normalize = Normalize(numbers.mean, numbers.std)
        answering = Answering(Core(net).eval(), normalize, facts.activation, temperature=facts.temperature, half=half)

        def run(images: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return as_arrays(answering(torch.from_numpy(images)))

        return Opened(facts, run)

    def recognizes(self, path: Path) -> bool:
        return path.is_dir() and (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def timm_name(arch: str, net: Backbone) -> str:
    """Return what timm calls this architecture, where its network takes the very same weights; else ''."""
    full = full_name(arch)
    name = full.removeprefix("timm/")
    # timm has one name for a network, whoever trained the weights.
    own = {"resnet": re.sub("^(tv|ig|ssl|swsl)_", "", name), "resnest": RESNESTS.get(name, ""), "efficientnet": f"tf_{name}"}
    family = next((family for family, row in FAMILIES.items() if arch in row.variants), "")
    name = name if full.startswith("timm/") else own.get(family, "")
    try:
        import timm
    except ImportError:
        return ""
    if not name or not timm.is_model(name):
        return ""
    with torch.device("meta"):
        theirs = {key: value.shape for key, value in timm.create_model(name, num_classes=net.num_classes).state_dict().items()}
    return name if theirs == {key.removeprefix("net."): value.shape for key, value in net.state_dict().items()} else ""


def _config(facts: Facts, theirs: str, plan: Any) -> dict[str, Any]:
    numbers = facts.preprocess
    return {
        "architecture": theirs or facts.arch,
        "num_classes": len(facts.classes),
        "pretrained_cfg": {
            "input_size": [len(numbers.mean), *numbers.image_size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_mode": "center",
            "crop_pct": 1.0,
            "mean": list(numbers.mean),
            "std": list(numbers.std),
            "num_classes": len(facts.classes),
            "label_names": list(facts.classes),
        },
        "timm": bool(theirs),
        "channels": plan,
        OURS: json.loads(facts.to_json()),
    }


def _card(facts: Facts, theirs: str) -> str:
    numbers = facts.preprocess
    height, width = numbers.image_size
    use = (
        '```python\nimport timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n```\n'
        if theirs
        else "Darkroom builds the network by the name in `config.json` and loads the weights by theirs.\n"
    )
    rejecting = "" if facts.reject is None else "- Answers below the probability `reject` of their class do not count.\n"
    channels = {
        1: "- Brightness alone enters: 0.299 red + 0.587 green + 0.114 blue.\n",
        4: "- Red, green, blue and a fourth channel enter.\n",
    }
    entering = channels.get(len(numbers.mean), "")
    naming = "- Every class whose probability reaches its threshold is named.\n" if facts.thresholds is not None else ""
    return (
        f"---\ntags:\n- image-classification\nlibrary_name: {'timm' if theirs else 'darkroom'}\n---\n\n"
        f"# {theirs or facts.arch}, {len(facts.classes)} classes\n\n{use}\n"
        f"- Classes, in the order of the outputs: {', '.join(facts.classes)}.\n"
        f"- Images: RGB, brought to {height} x {width} pixels ({numbers.resize}), by {KERNEL}.\n"
        f"{entering}- Normalization: (value / 255 - mean) / std with mean {list(numbers.mean)} and std {list(numbers.std)}.\n"
        f"- Probabilities: {facts.activation} of the logits divided by {facts.temperature:g}.\n{naming}{rejecting}"
        f"- Source: {facts.source} (SHA-256 {facts.checkpoint_sha256}).\n"
    )


def _own_model(facts: Facts, content: Any, state: dict[str, Tensor]) -> nn.Module:
    if is_user_code(facts.arch):
        raise ValueError(f"a folder does not name code to run: {facts.arch}")
    net = build_model(facts.arch, num_classes=len(facts.classes))
    set_widths(net, content["channels"])
    if facts.precision == "half":
        net.half()
    net.load_state_dict(state)
    return net


def _timm_model(path: Path, facts: Facts) -> nn.Module:
    import timm

    net = timm.create_model(f"local-dir:{path}", pretrained=True)
    return net.half() if facts.precision == "half" else net
