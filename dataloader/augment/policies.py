"""Published policies of torchvision: AutoAugment, RandAugment, TrivialAugment and AugMix, seeded by position."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torchvision.transforms import v2

from dataloader.augment.checks import check_count, check_number
from dataloader.sample import Sample
from utils.errors import UserError, nearest

SETS = {"imagenet": v2.AutoAugmentPolicy.IMAGENET, "cifar10": v2.AutoAugmentPolicy.CIFAR10, "svhn": v2.AutoAugmentPolicy.SVHN}


def apply_seeded(transform: v2.Transform, image: np.ndarray, seed: int) -> np.ndarray:
    """Return the transformed image, uint8 (H, W, 3); the transform draws from `seed`, and torch's generator stays where it was."""
    before = torch.get_rng_state()
    # Only the generator of the CPU: seeding all devices would move those that dropout draws from.
    torch.default_generator.manual_seed(seed)
    try:
        result = transform(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    finally:
        torch.set_rng_state(before)
    return np.ascontiguousarray(result.permute(1, 2, 0).numpy())


class Policy(ABC):
    """A transform of torchvision as an augmentation."""

    @cached_property
    def transform(self) -> v2.Transform:
        return self.build()

    @abstractmethod
    def build(self) -> v2.Transform:
        """Return the transform of torchvision."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return replace(sample, image=apply_seeded(self.transform, sample.image, int(rng.integers(2**31))))


@dataclass(frozen=True)
class AutoAugment(Policy):
    """One of 25 learned pairs of operations (Cubuk et al., arXiv 1805.09501), found on imagenet, cifar10 or svhn."""

    policy: str = "imagenet"

    def __post_init__(self) -> None:
        if self.policy not in SETS:
            known = list(SETS)
            raise UserError(f"autoaugment: policy is {self.policy!r}; write one of {', '.join(known)}.{nearest(str(self.policy), known)}")

    def build(self) -> v2.Transform:
        return v2.AutoAugment(SETS[self.policy], interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class RandAugment(Policy):
    """`n` random operations of magnitude `m`, in 0 to 30 (Cubuk et al., arXiv 1909.13719)."""

    n: int = 2
    m: int = 9

    def __post_init__(self) -> None:
        check_count("randaug", "n", self.n, low=1, high=14)
        check_count("randaug", "m", self.m, low=0, high=30)

    def build(self) -> v2.Transform:
        return v2.RandAugment(self.n, self.m, interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class TrivialAugment(Policy):
    """One random operation of random magnitude, from wide ranges (Mueller and Hutter, arXiv 2103.10158)."""

    def build(self) -> v2.Transform:
        return v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class AugMix(Policy):
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
