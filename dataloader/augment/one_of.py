"""One of several operations by chance, as OneOf of the library albumentations chooses (Buslaev et al., arXiv 1809.06839)."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataloader import AUGMENTS
from dataloader.augment.argument_checks import check_share
from dataloader.augment.chain import Augment, build_augment
from dataloader.augment.check_names import named_operations, spelled_choices
from dataloader.augment.operation import Composite, Picky, SizeAware
from dataloader.sample import Sample
from utils.errors import UserError
from utils.spec import Spec, SpecSource


@dataclass(frozen=True)
class OneOf(SizeAware, Picky):
    """With probability p one of the chains, each as likely as its weight says.

    Attributes:
        chains: at least one.
        weights: of the chains, which sum to 1.
        p: probability that any is applied.
    """

    chains: tuple[Augment, ...]
    weights: tuple[float, ...]
    p: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        return self.chains[int(rng.choice(len(self.chains), p=self.weights))](sample, rng)

    def at(self, image_size: tuple[int, int]) -> "OneOf":
        """Return the same choice for images of this height and width."""
        return OneOf(tuple(chain.at(image_size) for chain in self.chains), self.weights, self.p)

    def check_spatial(self) -> None:
        for chain in self.chains:
            chain.check_spatial()


def one_of(*choices: SpecSource, transforms: Sequence[SpecSource] | Mapping[str, Mapping] = (), p: float = 0.5) -> OneOf:
    """Return the choice between chains, each written as a spec: OneOf('GaussNoise', 'flip|color', p=0.5).

    As in the library, the p of a choice that is a single operation is its weight among the others, and once chosen it is
    always applied. A chain of several weighs 1 and is applied as it stands.

    Args:
        choices: specs.
        transforms: specs too, or name -> arguments, as in settings files.
        p: probability that any is applied.

    Raises:
        UserError: there is nothing to choose from, or a choice cannot be built.
    """
    check_share("OneOf", "p", p)
    specs = [named_operations(choice) for choice in spelled_choices(choices, transforms)]
    if not specs:
        raise UserError("OneOf needs operations to choose from: OneOf('GaussNoise', 'MotionBlur', p=0.5)")
    weights, chains = zip(*(_weighed(chain) for chain in specs), strict=True)
    if any(isinstance(operation, Composite) for chain in chains for operation in chain.operations):
        raise UserError("OneOf cannot choose operations that put several images together; write them outside, with a p of their own")
    total = sum(weights)
    if not total > 0:
        raise UserError("OneOf: every choice has p=0; none could ever be chosen")
    return OneOf(tuple(chains), tuple(weight / total for weight in weights), p)


def _weighed(chain: tuple[Spec, ...]) -> tuple[float, Augment]:
    """Return the weight of a choice, and the choice as it is applied."""
    if len(chain) == 1:
        (spec,) = chain
        signature = inspect.signature(AUGMENTS.resolve(spec.name))
        try:
            given = signature.bind(*spec.args, **spec.kwargs).arguments
        except TypeError:
            given = None
        if given is not None and "p" in signature.parameters:
            weight = given.get("p", signature.parameters["p"].default)
            check_share(f"OneOf: {spec.name}", "p", weight)
            position = list(signature.parameters).index("p")
            return float(weight), build_augment(_as_source(Spec(spec.name, spec.args[:position], {**spec.kwargs, "p": 1.0})))
    return 1.0, build_augment([_as_source(spec) for spec in chain])


def _as_source(spec: Spec) -> SpecSource:
    return {"type": spec.name, "args": list(spec.args), "kwargs": spec.kwargs}
