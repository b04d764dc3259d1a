"""Look whether an augmentation can be read, and whether its operations are known, before anything slow is imported."""

from dataloader import AUGMENTS, RECIPES
from utils.errors import UserError, nearest
from utils.registry import is_user_target
from utils.spec import Spec, SpecSource, parse_specs


def named_operations(source: SpecSource) -> tuple[Spec, ...]:
    """Return the operations that a recipe name or a spec stands for; '' is the empty chain.

    Raises:
        UserError: the spec cannot be read, or an operation is unknown.
    """
    if source == "":
        return ()
    if isinstance(source, str):
        source = RECIPES.get(source.strip(), source)
    specs = parse_specs(source)
    for spec in specs:
        if spec.name in RECIPES:
            raise UserError(f"the recipe '{spec.name}' stands alone; in a chain write {RECIPES[spec.name]}")
        if spec.name not in AUGMENTS and not is_user_target(spec.name):
            known = [*AUGMENTS, *RECIPES]
            raise UserError(
                f"unknown augmentation '{spec.name}'.{nearest(spec.name, known)} See --list augments; recipes: {', '.join(RECIPES)}"
            )
    return specs
