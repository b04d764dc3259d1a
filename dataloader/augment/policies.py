"""Published policies of torchvision: AutoAugment, RandAugment, TrivialAugment and AugMix, seeded by position."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from dataloader.augment.argument_checks import check_count, check_number
from dataloader.augment.operation import Picky
from dataloader.sample import Sample
from dataloader.targets.plane_change import PlaneChange, Size, rotated, sheared, translated
from utils.errors import UserError, nearest

SETS = {"imagenet": v2.AutoAugmentPolicy.IMAGENET, "cifar10": v2.AutoAugmentPolicy.CIFAR10, "svhn": v2.AutoAugmentPolicy.SVHN}

# The change of geometry of torchvision's operations, by magnitude; all others only change colors.
MOVES: Mapping[str, Callable[[float, Size], PlaneChange]] = MappingProxyType(
    {
        "ShearX": lambda magnitude, size: sheared(-magnitude, 0.0, size),
        "ShearY": lambda magnitude, size: sheared(0.0, -magnitude, size),
        "TranslateX": lambda magnitude, size: translated(int(magnitude), 0, size),
        "TranslateY": lambda magnitude, size: translated(0, int(magnitude), size),
        "Rotate": rotated,
    }
)


class Recording(v2.Transform):
    """A mixin, before the policy's class: records which operations a policy of torchvision applies to an image, in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.applied: list[tuple[str, float]] = []

    def _apply_image_or_video_transform(self, image: Any, transform_id: str, magnitude: float, *args: Any, **kwargs: Any) -> Any:
        self.applied.append((transform_id, magnitude))
        return super()._apply_image_or_video_transform(image, transform_id, magnitude, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]


class RecordingAutoAugment(Recording, v2.AutoAugment):
    """AutoAugment of torchvision that records its operations."""


class RecordingRandAugment(Recording, v2.RandAugment):
    """RandAugment of torchvision that records its operations."""


class RecordingTrivialAugment(Recording, v2.TrivialAugmentWide):
    """TrivialAugment of torchvision that records its operations."""


def apply_seeded(transform: v2.Transform, image: np.ndarray, seed: int) -> np.ndarray:
    """Return the transformed image, uint8 (H, W, 3); the transform draws from `seed`, and the state of torch's generator is restored."""
    before = torch.get_rng_state()
    # Only the CPU's generator: torch.manual_seed would also change those of the devices, which dropout draws from.
    torch.default_generator.manual_seed(seed)
    try:
        result = transform(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    finally:
        torch.set_rng_state(before)
    return np.ascontiguousarray(result.permute(1, 2, 0).numpy())


class Policy(ABC):
    """A transform of torchvision as an augmentation."""

    @abstractmethod
    def build(self) -> v2.Transform:
        """Return the transform of torchvision."""

    @cached_property
    def transform(self) -> v2.Transform:
        return self.build()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return replace(sample, image=apply_seeded(self.transform, sample.image, int(rng.integers(2**31))))


class FollowedPolicy(Policy):
    """A policy that records its operations, so that masks and boxes can follow."""

    @abstractmethod
    def build(self) -> Recording:
        """Return the transform of torchvision that records its operations."""

    @cached_property
    def transform(self) -> Recording:
        return self.build()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        applied = self.transform.applied
        applied.clear()
        image = apply_seeded(self.transform, sample.image, int(rng.integers(2**31)))
        size = image.shape[0], image.shape[1]
        for name, magnitude in applied if sample.is_spatial else ():
            if name in MOVES:
                sample = sample.moved(image, MOVES[name](magnitude, size))
        return replace(sample, image=image)


@dataclass(frozen=True)
class AutoAugment(FollowedPolicy):
    """One of 25 learned pairs of operations (Cubuk et al., arXiv 1805.09501), found on imagenet, cifar10 or svhn."""

    policy: str = "imagenet"

    def __post_init__(self) -> None:
        if self.policy not in SETS:
            known = list(SETS)
            raise UserError(f"autoaugment: policy is {self.policy!r}; write one of {', '.join(known)}.{nearest(str(self.policy), known)}")

    def build(self) -> Recording:
        return RecordingAutoAugment(SETS[self.policy], interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class RandAugment(FollowedPolicy):
    """`n` random operations of magnitude `m`, in 0 to 30 (Cubuk et al., arXiv 1909.13719)."""

    n: int = 2
    m: int = 9

    def __post_init__(self) -> None:
        check_count("randaug", "n", self.n, low=1, high=14)
        check_count("randaug", "m", self.m, low=0, high=30)

    def build(self) -> Recording:
        return RecordingRandAugment(self.n, self.m, interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class TrivialAugment(FollowedPolicy):
    """One random operation of random magnitude, from wide ranges (Mueller and Hutter, arXiv 2103.10158)."""

    def build(self) -> Recording:
        return RecordingTrivialAugment(interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class AugMix(Policy, Picky):
    """A blend of `width` chains of random operations of severity 1 to 10 with the image itself (Hendrycks et al., arXiv 1912.02781)."""

    severity: int = 3
    width: int = 3
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_count("augmix", "severity", self.severity, low=1, high=10)
        check_count("augmix", "width", self.width, low=1, high=10)
        check_number("augmix", "alpha", self.alpha, low=0, high=1000)

    def build(self) -> v2.Transform:
        return v2.AugMix(self.severity, self.width, alpha=self.alpha, interpolation=v2.InterpolationMode.BILINEAR)

    def check_spatial(self) -> None:
        raise UserError("augmix blends several versions of an image, which no mask or box can follow; use randaug or trivialaugment")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.is_spatial:
            self.check_spatial()
        return super().__call__(sample, rng)
