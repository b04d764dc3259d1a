"""Checks of the arguments that users write in specs."""

from utils.errors import UserError


def check_share(operation: str, argument: str, value: object) -> None:
    """Raise UserError unless `value` is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{operation}: {argument} is {value!r}; write a number from 0 to 1")
