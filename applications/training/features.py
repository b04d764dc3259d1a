"""What the classifier of a frozen network reads of every image, each computed once: kept by the content of the images."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch

from applications import assemble
from applications.assemble.machine import Machine
from applications.training.training_parts import TrainingParts
from dataloader.splits.content_hash import NOTHING, VERSION, content_hashes
from dataloader.splits.split import Split
from models.backbone import Backbone
from models.classifier_input import as_vectors, classifier_inputs
from models.modules import evaluating
from utils.files import write_atomically
from utils.logs import log
from utils.networks.first_conv import input_channels
from utils.progress_bar import progress_bar
from utils.runtime import Precision
from utils.user_cache import cache_folder

# Above this size, features are not kept.
MOST_BYTES = 2 * 2**30


def features_key(parts: TrainingParts, precision: Precision) -> str:
    """Return a name for all that features depend on besides the image: the network without the classifier, and the preprocessing.

    Args:
        parts: of the network.
        precision: in which they are computed.
    """
    model = parts.model
    assert isinstance(model, Backbone)
    own = {id(value) for value in model.get_classifier().state_dict(keep_vars=True).values()}
    digest = hashlib.blake2b(digest_size=12)
    about = (parts.config.model.arch, sorted(parts.preprocess.to_dict().items()), str(precision.dtype), VERSION, _answer(parts))
    digest.update(repr(about).encode())
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in own:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _answer(parts: TrainingParts) -> str:
    """Return in few digits what the network reads of a fixed image: with the same weights, other code reads something else."""
    model = parts.model
    assert isinstance(model, Backbone)
    weight, shape = model.get_classifier().weight, (1, input_channels(model), *parts.preprocess.image_size)
    # Multiples of an irrational number, modulo 1, are spread evenly, and the same everywhere.
    image = (torch.arange(math.prod(shape), dtype=torch.float64) * math.sqrt(2) % 1 * 4 - 2).view(shape)
    with evaluating(model), torch.inference_mode(), classifier_inputs(model) as read:
        model(image.to(weight))
    vector = as_vectors(read.pop())
    # So few that the order of sums does not show, which the number of threads changes.
    return f"{float(vector.norm(1)):.3g} {float(vector.norm()):.3g}"


def features_file(key: str) -> Path:
    """Return where the features of that name are kept."""
    return cache_folder() / "features" / f"{key}.npz"


def embed(parts: TrainingParts, split: Split, machine: Machine) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the features of a split, float32 (N, D), nan where an image cannot be read; the hashes of its images, int64 (N,); and how
    many features were known before.

    The network runs in evaluation mode, without augmentation. New features are added to those that are kept.

    Args:
        parts: of the network.
        split: any images.
        machine: where, and in which precision.
    """
    hashes = content_hashes(split)
    file = features_file(features_key(parts, machine.precision))
    known, rows = _read(file)
    places = {number: place for place, number in enumerate(known.tolist())}
    found = [places.get(number, -1) if number != NOTHING else -1 for number in hashes.tolist()]
    missing = [index for index, place in enumerate(found) if place < 0]
    fresh = _computed(parts, split.subset(missing), machine) if missing else None
    width = rows.shape[1] if fresh is None else fresh.shape[1]
    features = np.full((len(split), width), np.nan, dtype=np.float32)
    have = [index for index, place in enumerate(found) if place >= 0]
    if have:
        features[have] = rows[[found[index] for index in have]]
    if fresh is not None:
        features[missing] = fresh
        new, first = np.unique(hashes[missing], return_index=True)
        keep = (new != NOTHING) & np.isfinite(fresh[first]).all(1)
        _write(file, np.concatenate([known, new[keep]]), np.concatenate([rows.reshape(-1, width), fresh[first][keep]]))
    return features, hashes, len(have)


def _computed(parts: TrainingParts, split: Split, machine: Machine) -> np.ndarray:
    """Return the features of the images, float32 (N, D), by the network."""
    model, task = parts.model, parts.task
    assert isinstance(model, Backbone)
    loader = assemble.build_loader(parts.config, split, parts.preprocess, machine, tolerant=True)
    found: np.ndarray | None = None
    model.eval()
    try:
        with (
            torch.inference_mode(),
            machine.autocast(),
            classifier_inputs(model) as read,
            progress_bar(f"{split.name} images", len(split)) as advance,
        ):
            for batch in loader.batches(0):
                task.forward(model, batch.to(machine.device))
                vectors, rows = as_vectors(read.pop()).cpu().numpy(), batch.indices.numpy()
                if found is None:
                    found = np.full((len(split), vectors.shape[1]), np.nan, dtype=np.float32)
                found[rows[rows >= 0]] = vectors[rows >= 0]
                advance(len(rows))
    finally:
        loader.close()
    assert found is not None, "an empty split has no missing images"
    return found


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(file) as content:
            return content["hashes"], content["features"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError) as error:
        log().warning(f"cache     {file} cannot be read ({error}); its features are computed again")
    return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)


def _write(file: Path, hashes: np.ndarray, features: np.ndarray) -> None:
    """Keep features where there is room for them; what cannot be kept is computed again next time."""
    if features.nbytes > MOST_BYTES:
        return

    def write(place: Path) -> None:
        with place.open("wb") as stream:
            np.savez(stream, hashes=hashes, features=features)

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, write, flush=False)
    except OSError as error:
        log().warning(f"cache     features cannot be kept in {file.parent}: {error.strerror or error}")
