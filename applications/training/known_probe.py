"""What --probe found, kept beside the features: a fine-tuning from the same weights on the same images says what it has to beat."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from applications.tasks.label_task import LabelTask
from applications.trained.probe_figures import describe_probe
from applications.training.training_parts import TrainingParts
from dataloader.splits.integrity import fingerprint
from models.backbone import Backbone
from utils.files import sha256_of, write_text
from utils.logs import log
from utils.registry import is_user_code
from utils.user_cache import cache_folder

NEIGHBORS = 20
# Images a class, and passes over them, up to which a probe is more often the better model than a fine-tuned one: docs/training.md has
# the figures.
FEW, SHORT = 30, 2.0


def keep_probe(parts: TrainingParts, told: Mapping[str, Any]) -> None:
    """Keep the figures of a probe, in place of those of one before; where that is impossible, it is said.

    Args:
        parts: of the probe.
        told: what `describe_probe` reads.
    """
    file = _file(parts)
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
    try:
        told = json.loads(_file(parts).read_text(encoding="utf-8"))
        log().info(f"probe     {describe_probe(told)}")
    except (OSError, ValueError, KeyError):
        config = parts.config
        better = better_by_probe(len(parts.split), config.data.epoch_size, config.train.epochs, len(parts.catalog.classes))
        log().info(f"probe     the same command with --probe says in seconds what these weights give without training{better}")
        return None
    return told


def better_by_probe(images: int, epoch_size: int | None, epochs: int, classes: int) -> str:
    """Return what is to be said where a probe is often the better model than a fine-tuning of so many epochs; empty where it is not.

    Args:
        images: that are trained on.
        epoch_size: how many of them an epoch sees; None for all.
        epochs: of the fine-tuning.
        classes: how many there are.
    """
    if images <= FEW * classes:
        return "; with so few images that is often the better model"
    if epochs * (epoch_size or images) < SHORT * images:
        return "; where images are seen less than twice, that is often the better model, in less time"
    return ""


def _file(parts: TrainingParts) -> Path:
    """Return where the figures of these weights on these images are kept, whatever the size of the images."""
    model = parts.config.model
    code = Path(model.arch.rpartition(":")[0]) if is_user_code(model.arch) else None
    sources = [sha256_of(Path(file)) for file in (code, model.init_from) if file and Path(file).is_file()]
    about = (model.arch, model.pretrained, model.advprop, len(parts.preprocess.mean), *sources)
    name = hashlib.blake2b(repr(about).encode(), digest_size=12).hexdigest()
    return cache_folder() / "probes" / f"{name}.{fingerprint(parts.split)[:16]}.json"
