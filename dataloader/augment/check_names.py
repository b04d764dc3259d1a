"""Check that an augmentation can be read and its operations are known, before slow imports."""

from collections.abc import Iterable, Mapping
from typing import Any

from dataloader import AUGMENT_PRESETS, AUGMENTS
from utils.errors import UserError, nearest
from utils.registry import is_user_code
from utils.spec import Spec, SpecSource, parse_specs


def named_operations(source: SpecSource) -> tuple[Spec, ...]:
    """Return the operations that the name of a preset or a spec stands for; '' and 'none' are the empty chain.

    Raises:
        UserError: the spec cannot be read, or an operation is unknown.
    """
    if isinstance(source, str) and source.strip() in ("", "none"):
        return ()
    if isinstance(source, str):
        source = AUGMENT_PRESETS.get(source.strip(), source)
    specs = parse_specs(source)
    for spec in specs:
        if spec.name in AUGMENT_PRESETS:
            raise UserError(f"the preset '{spec.name}' stands alone; in a chain write {AUGMENT_PRESETS[spec.name]}")
        if spec.name not in AUGMENTS and not is_user_code(spec.name):
            known = [*AUGMENTS, *AUGMENT_PRESETS]
            raise UserError(
                f"unknown augmentation '{spec.name}'.{nearest(spec.name, known)} See --list augments; presets: {', '.join(AUGMENT_PRESETS)}"
            )
        if spec.name == "OneOf":
            for choice in spelled_choices(spec.args, spec.kwargs.get("transforms", ())):
                named_operations(choice)
    return specs


def spelled_choices(choices: Iterable[Any], transforms: Any) -> list[SpecSource]:
    """Return the choices of OneOf as specs, from its arguments and from `transforms`, which may be name -> arguments.

    Raises:
        UserError: a choice is not a spec.
    """
    if isinstance(transforms, Mapping):
        transforms = [{"type": str(name), "kwargs": dict(arguments or {})} for name, arguments in transforms.items()]
    found = [*choices, *(transforms if isinstance(transforms, list | tuple) else [transforms])]
    for choice in found:
        if not isinstance(choice, str | dict | list) or not choice:
            raise UserError(f"OneOf: {choice!r} is not an operation; write OneOf('GaussNoise', 'flip|color', p=0.5)")
    return found
