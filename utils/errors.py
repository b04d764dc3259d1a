"""The one exception for mistakes that the user can fix."""

from collections.abc import Sequence


class UserError(ValueError):
    """A mistake in the user's input: what is wrong, where, and what to do, in one line.

    `main.py` prints it without a traceback and exits with 2.
    """


def nearest(name: str, known: Sequence[str], *, cutoff: float = 0.5) -> str:
    """Return ' Did you mean X?' for the known name closest to `name`, or '' where none is as close as `cutoff`, of 0..1."""
    found = closest(name, known, cutoff=cutoff)
    return f" Did you mean {found}?" if found else ""


def closest(name: str, known: Sequence[str], *, cutoff: float = 0.5) -> str:
    """Return the known name closest to `name`, or '' where none is as close as `cutoff`, of 0..1."""
    from difflib import get_close_matches

    lowered = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[found[0]] if found else ""


def shorten(names: Sequence[str], most: int = 8) -> str:
    """Return the first names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
