"""The ranges within which NNCF rounds the weights of a layer: each channel's own."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

# The least range of a channel, as a share of the largest one's: it keeps channels without weights from a range of nothing.
LEAST_SHARE = 1e-6


@contextlib.contextmanager
def own_ranges() -> Iterator[None]:
    """Let NNCF round every channel of a weight within the range that it has.

    By itself NNCF widens ranges to a hundredth of the largest channel's, and has no setting for it. A batch norm whose input hardly varies
    has a large factor; joined with its convolution it makes one channel so large that for the others few of the 256 steps are left.
    Runtimes multiply by a scale of each channel, however far these lie apart. The ranges of activations are left as NNCF chooses them:
    they are those of a few images, and others may reach further.
    """
    ranges: Any = import_module("nncf.quantization.fake_quantize")
    algorithm: Any = import_module("nncf.quantization.algorithms.min_max.algorithm")
    weights: Any = algorithm.QuantizerGroup.WEIGHTS
    calculate: Callable[..., Any] = algorithm.calculate_quantizer_parameters
    widened: Callable[..., Any] = ranges.fix_zero_filters_symmetric

    def calculate_own(statistics: Any, config: Any, group: Any, *others: Any) -> Any:
        if group is not weights:
            return calculate(statistics, config, group, *others)
        ranges.fix_zero_filters_symmetric = partial(widened, eps=LEAST_SHARE)
        try:
            return calculate(statistics, config, group, *others)
        finally:
            ranges.fix_zero_filters_symmetric = widened

    algorithm.calculate_quantizer_parameters = calculate_own
    try:
        yield
    finally:
        algorithm.calculate_quantizer_parameters = calculate
