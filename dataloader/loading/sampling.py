"""How often each training image is drawn: expected draws per epoch, from the classes or from a file.

A sampler is a function (split, arguments of its spec) -> expected draws of every image, float64 (N,);
`dataloader/loading/plan.py` draws by them.
"""

import csv
import inspect
from pathlib import Path

import numpy as np

from dataloader import SAMPLERS
from dataloader.batch.targets import dense_array
from dataloader.splits.split import Split
from utils.errors import UserError, nearest
from utils.spec import SpecSource, parse_specs
from utils.text import counted

HEADER = ["path", "weight"]


def balanced(split: Split) -> np.ndarray:
    """Every class as often as the others, in as many draws as there are images.

    A multi-label image has the mean of its labels; one without labels counts as one of the most common label.
    """
    shares = _shares(split)
    counts = shares.sum(0)
    rarity = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    labels = shares.sum(1)
    weights = np.where(labels > 0, shares @ rarity / np.maximum(labels, 1e-12), rarity[rarity > 0].min())
    return weights * (len(split) / weights.sum())


def repeat(split: Split, threshold: float = 0.01) -> np.ndarray:
    """Repeat-factor sampling (Gupta, Dollar, Girshick: LVIS, arXiv 1908.03195, appendix B).

    A class whose share f of the images is below `threshold` is repeated sqrt(threshold / f) times; an image as often as its rarest
    class asks for.

    Raises:
        UserError: the threshold is not a share.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise UserError(f"--sampler repeat: threshold is {threshold!r}; write a share of the images above 0, up to 1")
    # Soft targets of a teacher count as labels from 0.5 on.
    has = _shares(split) >= 0.5
    present = np.maximum(has.mean(0), 1 / len(split))
    factors = np.maximum(1.0, np.sqrt(threshold / present))
    return np.where(has, factors, 1.0).max(1)


def from_file(split: Split, path: str) -> np.ndarray:
    """As often as a CSV of path,weight says, in as many draws as there are images; an image of weight 0 is never drawn.

    Raises:
        UserError: the file cannot be read, lacks an image, or holds something other than numbers from 0 on.
    """
    weights = _read_weights(Path(path))
    missing = [name for name in split.paths if name not in weights]
    if missing:
        raise UserError(f"--sampler file: {path} has no weight for {counted(len(missing), 'training image')}, such as {missing[0]}")
    found = np.array([weights[name] for name in split.paths], dtype=np.float64)
    if not found.sum() > 0:
        raise UserError(f"--sampler file: {path} gives all training images the weight 0")
    return found * (len(split) / found.sum())


def expected_draws(source: SpecSource, split: Split) -> np.ndarray:
    """Return how often each image of a split is drawn in an epoch, on average, float64 (N,).

    Args:
        source: a row of SAMPLERS with its arguments, or 'my_file.py:function'.
        split: the training images.

    Raises:
        UserError: the name or an argument is unknown, or the answer is not one number from 0 on for each image.
    """
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--sampler {source}: one sampler at a time")
    (spec,) = specs
    function = SAMPLERS.resolve(spec.name)
    known = list(inspect.signature(function).parameters)[1:]
    for name in spec.kwargs:
        if name not in known:
            raise UserError(f"--sampler {spec.name} has no argument '{name}'.{nearest(name, known)} Known: {', '.join(known) or 'none'}")
    try:
        inspect.signature(function).bind(split, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--sampler {spec}: {error}; {spec.name} takes {', '.join(known) or 'no arguments'}") from error
    draws = np.asarray(function(split, *spec.args, **spec.kwargs), dtype=np.float64)
    if draws.shape != (len(split),) or not np.isfinite(draws).all() or draws.min() < 0 or not draws.sum() > 0:
        raise UserError(f"--sampler {spec}: expected {counted(len(split), 'number')} from 0 on, one for each training image")
    return draws


def _shares(split: Split) -> np.ndarray:
    """Return targets as float64 (N, C).

    Raises:
        UserError: they are masks or boxes, of which an image has any number.
    """
    if split.truths is not None:
        raise UserError(
            "--sampler balanced and repeat go by labels of images, and these have masks or boxes; write file(weights.csv), or --crop, "
            "which looks for rare classes"
        )
    return dense_array(split.targets, int(split.targets.max()) + 1).astype(np.float64)


def _read_weights(path: Path) -> dict[str, float]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise UserError(f"--sampler file: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    weights: dict[str, float] = {}
    for number, row in enumerate(rows, start=1):
        if number == 1 and row == HEADER:
            continue
        try:
            name, value = row
            weight = float(value)
        except ValueError as error:
            raise UserError(f"--sampler file: {path}, line {number}: write path,weight") from error
        if not 0 <= weight < float("inf"):
            raise UserError(f"--sampler file: {path}, line {number}: the weight {value} must be a number from 0 on")
        if name in weights:
            raise UserError(f"--sampler file: {path}, line {number}: {name} is listed twice")
        weights[name] = weight
    return weights
