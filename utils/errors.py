"""The one exception for mistakes that the user can mend."""


class UserError(ValueError):
    """A mistake in the user's input: what is wrong, where, and what to do, in one line.

    `main.py` prints it without a traceback and exits with 2.
    """


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return ' Did you mean X?' for the known name closest to `name`, or ''."""
    from difflib import get_close_matches

    lowered = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return f" Did you mean {lowered[found[0]]}?" if found else ""
