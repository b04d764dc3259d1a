"""What --probe found, kept beside the features: a fine-tuning from the same weights on the same images says what it has to beat."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from applications.assemble.machine import exact_precision
from applications.tasks.label_task import LabelTask
from applications.trained.probe_figures import describe_probe
from applications.training.features import features_file, features_key
from applications.training.training_parts import TrainingParts
from dataloader.splits.integrity import fingerprint
from models.backbone import Backbone
from utils.files import write_text
from utils.logs import log

NEIGHBORS = 20
# Images a class, up to which a probe is more often the better model than a fine-tuned one: docs/training.md has the figures.
FEW = 30


def keep_probe(parts: TrainingParts, key: str, told: Mapping[str, Any]) -> None:
    """Keep the figures of a probe; where that is impossible, it is said.

    Args:
        parts: of the probe.
        key: of its features.
        told: what `describe_probe` reads.
    """
    file = _file(key, parts)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        log().warning(f"cache     the figures cannot be kept in {file.parent}: {error.strerror or error}")


def tell_probe(parts: TrainingParts) -> Mapping[str, Any] | None:
    """Say what a probe of the starting weights gave on these images, which fine-tuning has to beat, or how to learn it; return it."""
    model = parts.config.model
    if parts.config.train.quantization_aware:
        return None
    if not ((model.pretrained or model.init_from) and isinstance(parts.model, Backbone) and issubclass(parts.kind, LabelTask)):
        return None
    # As --probe computes them, whatever training does.
    file = _file(features_key(parts, exact_precision()), parts)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        log().info(f"probe     {describe_probe(told)}")
    except (OSError, ValueError, KeyError):
        few = sum(parts.class_counts) <= FEW * len(parts.catalog.classes)
        better = "; with so few images that is often the better model" if few else ""
        log().info(f"probe     the same command with --probe says in seconds what these weights give without training{better}")
        return None
    return told


def _file(key: str, parts: TrainingParts) -> Path:
    return features_file(key).with_suffix(f".{fingerprint(parts.split)[:16]}.json")
