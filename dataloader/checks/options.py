"""Options of the data check."""

from dataclasses import dataclass

from utils.flags import flag


@dataclass(frozen=True)
class CheckOptions:
    """What --check does in addition to reporting."""

    fix: bool = flag(
        False,
        "with --check: move files that cannot be used, and train copies of test images, out of --data; --undo brings them back",
        used_for="check",
    )
