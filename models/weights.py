"""Weights into networks: files read safely, names matched, and a report of what happened."""

import hashlib
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import torch
from torch import Tensor

from models.backbone import Backbone, Network
from models.published import Published, find_published
from utils.checkpoint import load_tensors
from utils.errors import UserError

# Keys under which training programs keep a state dict; averaged weights come first, as they evaluate better.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")
SUFFIXES = (".pth", ".safetensors")
NETWORK_TIMEOUT_S = 30


@dataclass(frozen=True)
class LoadReport:
    """What became of a state dict: names of tensors, by fate."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    resized: tuple[str, ...]
    source: str
    loaded: int
    total: int
    classes: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"loaded {self.loaded} of {self.total} tensors from {self.source}"
        if self.classes is not None:
            old, new = self.classes
            text += f"; classifier kept at its start ({old} -> {new} classes): {_names(self.resized)}"
        if self.missing:
            text += f"; missing in the file, kept at their start: {_names(self.missing)}"
        if self.unexpected:
            text += f"; not part of this network: {_names(self.unexpected)}"
        return text


def _names(names: tuple[str, ...], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def load_state(model: Network, state: Mapping[str, Any], *, source: str) -> LoadReport:
    """Copy the tensors of a state dict into the network, in place.

    Wrappers such as {'state_dict': ...} and prefixes such as 'module.' are taken off, foreign names
    are translated by `model.remap`. A classifier of another size keeps its start and is reported.

    Args:
        source: what the user calls the file, for messages.

    Raises:
        UserError: it is not a state dict, or one of another architecture; the network is unchanged.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"{source} contains a {type(state).__name__} instead of a state dict")
    given = model.remap(_stripped(_unwrapped(state, source)))
    own = model.state_dict()
    fitting = {name for name, tensor in own.items() if name in given and given[name].shape == tensor.shape}
    others = [name for name in own if name in given and name not in fitting]
    resized = [name for name in others if _other_classes(given[name].shape, own[name].shape, model.num_classes)]
    # Old files have no step counters; they play no part in the result.
    counters = {name for name in own if name.endswith("num_batches_tracked") and name not in given}
    missing = [name for name in own if name not in given and name not in counters]
    if len(others) > len(resized) or 2 * len(fitting) < len(own) - len(counters):
        raise UserError(
            f"{source} holds the weights of another architecture: {len(fitting)} of the {len(own) - len(counters)} tensors "
            f"of this network fit. Give --arch the network the file was made with"
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(given[name])
    return LoadReport(
        missing=tuple(missing),
        unexpected=tuple(name for name in given if name not in own),
        resized=tuple(resized),
        source=source,
        loaded=len(fitting),
        total=len(own) - len(counters),
        classes=(given[resized[0]].shape[0], model.num_classes) if resized else None,
    )


def load_published(model: Backbone, arch: str, *, folder: Path, announce: Callable[[str], object] = print) -> LoadReport:
    """Fill the network with the published weights of `arch`.

    The file is folder/ARCH.pth or folder/ARCH.safetensors ('torchvision/alexnet' lies in
    folder/torchvision/alexnet.pth); when neither is there it is downloaded to that name.

    Raises:
        UserError: nothing is published, the download fails, or the file does not fit.
    """
    path = next((path for suffix in SUFFIXES if (path := folder / f"{arch}{suffix}").is_file()), None)
    if path is None:
        published = find_published(arch)
        if published is None:
            raise UserError(
                f"no weights are published for {arch}; put a file of your own at {folder / f'{arch}.pth'}, or give it to --init_from"
            )
        path = folder / f"{arch}{published.suffix}"
        announce(f"downloading {published.url} to {path}")
        download(published, path)
    return load_state(model, load_tensors(path), source=str(path))


def download(published: Published, path: Path) -> None:
    """Fetch a file of weights to `path`; it appears there whole and checked, or not at all.

    Raises:
        UserError: it cannot be fetched, written, or is not the published file.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    remedy = f"fetch {published.url} where there is network and save it as {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, complete = _fetch(published.url, part)
        if not complete or not digest.startswith(published.sha256):
            raise UserError(f"what came from {published.url} is not the published file (cut short or changed); try again, or {remedy}")
        os.replace(part, path)
    except UserError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise UserError(f"cannot download the weights ({error}); {remedy}") from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, part: Path) -> tuple[str, bool]:
    """Write what `url` gives to `part`; return its SHA-256 and whether all announced bytes came."""
    digest, count = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "darkroom"})
    with urllib.request.urlopen(request, timeout=NETWORK_TIMEOUT_S) as answer, part.open("wb") as file:
        announced = answer.headers.get("Content-Length")
        while block := answer.read(1 << 20):
            file.write(block)
            digest.update(block)
            count += len(block)
    return digest.hexdigest(), announced is None or count == int(announced)


def _unwrapped(state: Mapping[str, Any], source: str) -> Mapping[str, Tensor]:
    while not all(isinstance(value, Tensor) for value in state.values()):
        inner = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    strange = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        found = f"; {_names(tuple(strange))} are not tensors" if strange else "; it is empty"
        raise UserError(f"{source} is not a state dict{found}")
    return state


def _stripped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that DistributedDataParallel and torch.compile put before every name."""
    clean = {}
    for name, tensor in state.items():
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        clean[name] = tensor
    return clean


def _other_classes(given: torch.Size, own: torch.Size, num_classes: int) -> bool:
    """Whether the shapes differ in nothing but the number of classes."""
    return len(given) == len(own) > 0 and given[1:] == own[1:] and own[0] == num_classes
