"""A chain of augmentations, built from the name of a preset or a spec such as 'flip|crop(0.1)'."""

import copy
import inspect
from dataclasses import dataclass, replace

import numpy as np

from dataloader import AUGMENTS
from dataloader.augment.check_names import named_operations
from dataloader.augment.operation import Composite, OfTargets, Operation, Others, Picky, SizeAware, operation_name
from dataloader.sample import Sample
from dataloader.targets.target import Target
from utils.errors import UserError, nearest
from utils.spec import Spec, SpecSource


@dataclass(frozen=True)
class Augment:
    """Operations in order; an empty chain changes nothing."""

    operations: tuple[Operation, ...] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator, others: Others | None = None) -> Sample:
        """Return the sample after all operations.

        Args:
            sample: an image.
            rng: all that is drawn comes from it.
            others: for operations that put several images together.
        """
        if sample.is_spatial:
            return self._followed(sample, rng, others)
        for operation in self.operations:
            sample = _applied(operation, sample, rng, others)
        return sample

    def check_target(self, target: Target) -> None:
        """Raise UserError when targets of this kind cannot follow an operation; called before the first image is read."""
        if target.is_spatial:
            self.check_spatial()
        for operation in self.operations:
            if isinstance(operation, OfTargets):
                operation.check_target(target)

    def check_spatial(self) -> None:
        """Raise UserError when masks and boxes cannot follow an operation."""
        for operation in self.operations:
            if isinstance(operation, Picky):
                operation.check_spatial()

    def plain(self) -> "Augment":
        """Return the chain without operations that put several images together, for the last epochs."""
        return Augment(tuple(each for each in self.operations if not isinstance(each, Composite)))

    def _followed(self, sample: Sample, rng: np.random.Generator, others: Others | None) -> Sample:
        self.check_spatial()
        for operation in self.operations:
            before, sample = sample, _applied(operation, sample, rng, others)
            if sample.image.shape != before.image.shape and sample.target is before.target:
                # A user's own operation; those of the table are tested.
                raise UserError(
                    f"{operation_name(operation)} changes the size of the image but not the target: return sample.moved(image, change)"
                )
        return sample

    def at(self, image_size: tuple[int, int]) -> "Augment":
        """Return the chain for a network that sees images of this height and width."""
        return Augment(tuple(each.at(image_size) if isinstance(each, SizeAware) else each for each in self.operations))


def _applied(operation: Operation, sample: Sample, rng: np.random.Generator, others: Others | None) -> Sample:
    if isinstance(operation, Composite) and others is not None:
        return operation.compose(sample, others, rng)
    return operation(sample, rng) if sample.image.shape[2] == 3 else _with_fourth(operation, sample, rng)


def _with_fourth(operation: Operation, sample: Sample, rng: np.random.Generator) -> Sample:
    """Return a sample of four channels after an operation on colors; the fourth goes through it as a gray image, by the same draws."""
    twin = copy.deepcopy(rng)
    colors, fourth = sample.image[:, :, :3], sample.image[:, :, 3:]
    changed = operation(replace(sample, image=np.ascontiguousarray(colors)), rng)
    beside = operation(replace(sample, image=np.repeat(fourth, 3, axis=2)), twin)
    return replace(changed, image=np.concatenate([changed.image, beside.image[:, :, :1]], axis=2))


def build_augment(source: SpecSource) -> Augment:
    """Build the chain that the name of a preset or a spec describes; '' is the empty chain.

    Raises:
        UserError: an operation or an argument is unknown, or a value makes no sense.
    """
    return Augment(tuple(_build(spec) for spec in named_operations(source)))


def _build(spec: Spec) -> Operation:
    maker = AUGMENTS.resolve(spec.name)
    parameters = inspect.signature(maker).parameters
    for name in spec.kwargs:
        if name not in parameters:
            raise UserError(f"{spec.name} has no argument '{name}'.{nearest(name, list(parameters))} Known: {', '.join(parameters)}")
    try:
        inspect.signature(maker).bind(*spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"{spec}: {error}; {spec.name} takes {', '.join(parameters)}") from error
    return maker(*spec.args, **spec.kwargs)
