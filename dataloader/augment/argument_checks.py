"""Checks of the arguments that users write in specs."""

from utils.errors import UserError


def check_share(operation: str, argument: str, value: object) -> None:
    """Raise UserError unless `value` is a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:  # pyright: ignore[reportOperatorIssue]
        raise UserError(f"{operation}: {argument} is {value!r}; write a number from 0 to 1")


def check_number(operation: str, argument: str, value: object, *, low: float, high: float) -> None:
    """Raise UserError unless `value` is a number above `low`, up to `high`."""
    if not is_number(value) or not low < value <= high:  # pyright: ignore[reportOperatorIssue]
        raise UserError(f"{operation}: {argument} is {value!r}; write a number above {low:g}, up to {high:g}")


def check_count(operation: str, argument: str, value: object, *, low: int, high: int) -> None:
    """Raise UserError unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{operation}: {argument} is {value!r}; write a whole number from {low} to {high}")


def check_range(operation: str, argument: str, value: object, *, low: float, high: float) -> None:
    """Raise UserError unless `value` is a pair of rising numbers above `low`, up to `high`."""
    fits = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
    if not fits or not low < value[0] <= value[1] <= high:  # pyright: ignore[reportIndexIssue]
        raise UserError(f"{operation}: {argument} is {value!r}; write two rising numbers above {low:g}, up to {high:g}: {argument}=(A, B)")


def is_number(value: object) -> bool:
    """Whether `value` is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
