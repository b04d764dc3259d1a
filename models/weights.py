"""Weights into networks: files read safely, names matched, and a report of what happened."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import find_family, full_name
from models.backbone import Network
from models.detectors import is_object_detector
from models.download import download
from models.find_published import find_published
from models.input_channels import fit_channels
from models.published import Published
from utils.checkpoint import load_tensors
from utils.errors import UserError
from utils.files import sha256_of
from utils.networks.first_conv import first_conv

# Keys under which training programs keep a state dict; averaged weights come first, as they evaluate better.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")
# Where detectors, self-supervised training and other programs keep a network in a larger one.
CONTAINERS = ("backbone.", "encoder.", "model.", "model.0.", "net.", "encoder_q.", "student.", "teacher.")
SUFFIXES = (".pth", ".safetensors")
# Of a place of a detector that has some.
ANCHORS = 3


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
    origin: str = ""
    channels: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"loaded {self.loaded} of {self.total} tensors from {self.source}"
        if self.origin:
            text += f" ({self.origin})"
        if self.classes is not None:
            old, new = self.classes
            text += f"; classifier kept at its start ({old} -> {new} classes): {_names(self.resized)}"
        if self.channels is not None:
            text += "; first convolution fitted from {} to {} channels".format(*self.channels)
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
    given = _best_named(model, _stripped(_unwrapped(state, source)))
    own = model.state_dict()
    refitted = _fit_input(model, given)
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
        channels=refitted,
        classes=(given[resized[0]].shape[0] * model.num_classes // len(own[resized[0]]), model.num_classes) if resized else None,
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a file, bare: without what training programs wrap around it and put before its names.

    Raises:
        UserError: the file cannot be read, or holds no state dict.
    """
    content = load_tensors(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} contains a {type(content).__name__} instead of a state dict")
    return _stripped(_unwrapped(content, str(path)))


def _best_named(model: Network, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under this network's names: as they are called, or as they are below 'backbone.' and the like.

    The names that fit most tensors count; of equally good ones, the file's own.

    Raises:
        UserError: the weights belong to a network that computes something else.
    """
    own = model.state_dict()

    def fitting(given: Mapping[str, Tensor]) -> int:
        return sum(name in own and tensor.shape == own[name].shape for name, tensor in given.items())

    best = model.remap(state)
    for prefix in CONTAINERS:
        inner = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        if len(inner) >= len(own) / 2:
            # What lies beside the network in the file is no part of it, and is reported.
            beside = {name: tensor for name, tensor in state.items() if not name.startswith(prefix) and name not in own}
            best = max(best, {**beside, **model.remap(inner)}, key=fitting)
    return best


def _fit_input(model: Network, given: dict[str, Tensor]) -> tuple[int, int] | None:
    """Fit the first convolution of a state dict, in place, to the channels of the network; return the old and the new number, if so."""
    found = first_conv(model)
    if found is None or found[1].groups != 1:
        return None
    name, own = f"{found[0]}.weight", found[1].weight.shape
    theirs = given[name].shape if name in given else own
    if len(theirs) != 4 or theirs[1] == own[1] or (theirs[0], *theirs[2:]) != (own[0], *own[2:]):
        return None
    given[name] = fit_channels(given[name], own[1])
    return theirs[1], own[1]


def load_published(
    model: Network, arch: str, *, folder: Path, advprop: bool = False, announce: Callable[[str], object] = print
) -> LoadReport:
    """Fill the network with the published weights of `arch`.

    The file is folder/ARCH.pth or folder/ARCH.safetensors ('torchvision/alexnet' lies in
    folder/torchvision/alexnet.pth), with advprop folder/ARCH.advprop.pth, or has the name under which it was published; when none
    of them is there it is downloaded to the first. The file of a name that is forwarded to a package may lie at either name.
    The report says whether it is the published file.

    Raises:
        UserError: nothing is published, the download fails, or the file does not fit.
    """
    name = f"{arch}.advprop" if advprop else arch
    ours = find_family(arch) is not None or is_object_detector(arch)
    published = find_published(arch, advprop=advprop) if advprop or ours else None
    names = (name,) if advprop else (arch, full_name(arch))
    path = next((path for path in _places(folder, names, published) if path.is_file()), None)
    if path is None:
        published = published or find_published(arch)
        if published is None:
            raise UserError(
                f"no weights are published for {arch}; put a file of your own at {folder / f'{arch}.pth'}, or give it to --init_from"
            )
        path = folder / f"{name}{published.suffix}"
        announce(f"downloading {published.url} to {path} ({published.claims})")
        download(published, path)
    return replace(load_state(model, load_tensors(path), source=str(path)), origin=_origin(path, published))


def _places(folder: Path, names: Sequence[str], published: Published | None) -> Iterator[Path]:
    """Where a file of published weights may lie."""
    for name in names:
        for suffix in SUFFIXES:
            yield folder / f"{name}{suffix}"
    if published is not None and published.sha256:
        yield folder / published.file


def _origin(path: Path, published: Published | None) -> str:
    """Whether a file is the published one, in words; '' where its hash is not known."""
    if published is None or not published.sha256:
        return ""
    same = sha256_of(path).startswith(published.sha256)
    return f"the file of {published.host}, by its SHA-256" if same else f"not the file of {published.host}: it has another SHA-256"


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
    """Whether the shapes differ in nothing but the number of classes, of which a layer may have a row each for several anchors."""
    if not (len(given) == len(own) > 0 and given[1:] == own[1:] and own[0] % num_classes == 0):
        return False
    anchors = own[0] // num_classes
    return anchors in (1, ANCHORS) and given[0] % anchors == 0
