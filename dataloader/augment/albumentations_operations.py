"""Operations of the library albumentations, by its names and with its arguments (Buslaev et al., arXiv 1809.06839).

Each row of AUGMENTS that points here resolves to the maker of its name; the library is imported at that moment.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from dataloader import AUGMENTS
from dataloader.augment.albumentations_changes import DESCRIBED, IN_PLACE, Applied
from dataloader.augment.operation import Picky
from dataloader.sample import Sample
from utils.errors import UserError

# Arguments of earlier versions of the library, still common in settings files.
FORMER: Mapping[str, tuple[str, ...]] = {"GaussNoise": ("var_limit", "mean"), "RandomResizedCrop": ("height", "width")}
EVERYWHERE = "always_apply"
# A crop larger than its image is padded with black; the library would raise an error in the middle of a run.
PADDED = ("RandomCrop", "CenterCrop")


@dataclass(frozen=True)
class AlbumentationsOperation(Picky):
    """One operation of albumentations, seeded by position."""

    name: str
    arguments: Mapping[str, Any]
    transform: Any = field(compare=False, repr=False)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if min(sample.image.shape[:2]) < least_side(self.name, self.arguments):
            return sample
        self.transform.set_random_seed(int(rng.integers(2**31)))
        image = np.ascontiguousarray(self.transform(image=np.ascontiguousarray(sample.image))["image"])
        drawn = self.transform.get_applied_params() if sample.is_spatial else None
        if not drawn or self.keeps_places:
            return replace(sample, image=image)
        self.check_spatial()
        done = Applied(drawn, sample.image.shape[:2], image.shape[:2], self.transform)
        return sample.moved(image, DESCRIBED[self.name](done))

    @property
    def keeps_places(self) -> bool:
        """Whether the operation moves no pixels."""
        return self.name in IN_PLACE or isinstance(self.transform, _library().ImageOnlyTransform)

    def check_spatial(self) -> None:
        if self.name not in DESCRIBED and not self.keeps_places:
            raise UserError(f"{self.name} moves pixels in a way that masks and boxes cannot follow; leave it out of --aug")


def __getattr__(name: str) -> Callable[..., AlbumentationsOperation]:
    """Return the maker of an operation that is a row of AUGMENTS; its signature is the library's, plus former arguments."""
    if name not in AUGMENTS or AUGMENTS[name].attribute != f"{__name__}:{name}":
        raise AttributeError(name)
    kind = getattr(_library(), name)
    own = list(inspect.signature(kind).parameters.values())
    more = [inspect.Parameter(former, inspect.Parameter.KEYWORD_ONLY, default=None) for former in (*FORMER.get(name, ()), EVERYWHERE)]
    if name == "RandomResizedCrop":
        # The former height and width replace size.
        own = [parameter.replace(default=None) if parameter.name == "size" else parameter for parameter in own]
    signature = inspect.Signature([*own, *more])

    def make(*args: Any, **kwargs: Any) -> AlbumentationsOperation:
        arguments = present_arguments(name, signature.bind(*args, **kwargs).arguments)
        try:
            with warnings.catch_warnings():
                # Existing settings use this name.
                warnings.filterwarnings("ignore", message="ShiftScaleRotate is a special case")
                return AlbumentationsOperation(name, arguments, kind(**arguments))
        except (ValueError, TypeError) as error:
            raise UserError(f"{name}: {_first_line(error)}") from error

    make.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return make


def present_arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments, perhaps of an earlier version of the library, as the installed one takes them."""
    arguments = {key: _tuples(value) for key, value in given.items()}
    if arguments.pop(EVERYWHERE, False):
        arguments["p"] = 1.0
    if name in PADDED:
        arguments.setdefault("pad_if_needed", True)
    if name == "RandomResizedCrop" and ("height" in arguments or "width" in arguments):
        if not {"height", "width"} <= set(arguments):
            raise UserError("RandomResizedCrop: write size=(HEIGHT, WIDTH)")
        arguments["size"] = (arguments.pop("height"), arguments.pop("width"))
    if name == "GaussNoise":
        _translate_noise(arguments)
    if name == "GaussianBlur" and arguments.get("sigma_limit") == 0:
        # 0 means: the standard deviations that belong to windows of these sizes.
        low, high = _pair(arguments.pop("blur_limit", (3, 7)), low=3)
        arguments["sigma_limit"] = (sigma_of(low), sigma_of(high))
    return arguments


def sigma_of(window: float) -> float:
    """Return the standard deviation, in pixels, that OpenCV gives a Gaussian window of this side when none is named."""
    return 0.3 * ((window - 1) / 2 - 1) + 0.8


def _pair(limit: Any, *, low: float) -> tuple[float, float]:
    """Return a range; a single number is its upper end."""
    return limit if isinstance(limit, tuple) else (low, limit)


def least_side(name: str, arguments: Mapping[str, Any]) -> int:
    """Return the shorter side in pixels below which the library fails; smaller images are not changed."""
    if name == "GlassBlur":
        return 2 * int(arguments.get("max_delta", 4))
    return 2 if name == "ToGray" else 1


def _translate_noise(arguments: dict[str, Any]) -> None:
    """Turn variance and mean of values in 0..255 into ranges of values in 0..1."""
    if "var_limit" in arguments:
        low, high = _pair(arguments.pop("var_limit"), low=0)
        arguments["std_range"] = (sqrt(low) / 255, sqrt(high) / 255)
    if "mean" in arguments:
        arguments["mean_range"] = (arguments.pop("mean") / 255,) * 2


def _tuples(value: Any) -> Any:
    """Return the lists of a JSON file as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    lines = [line.strip().partition(" [type=")[0] for line in str(error).splitlines() if line.strip()]
    return ": ".join(lines[1:3]) if len(lines) > 2 else " ".join(lines)


def _library() -> Any:
    # Otherwise its import looks for a newer version on the network.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations
