"""Which actions use which flag: a flag that the action would not use is refused, so that nothing typed is ignored."""

from collections.abc import Mapping
from types import MappingProxyType

from applications.settings.options import Request, flag_metadata
from utils.errors import UserError

# What `used_for` of a flag may name beside single actions.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "training": ("train", "find_lr", "sweep"),
        # Its trials are trainings.
        "train": ("train", "sweep"),
        # Divides the images of --data into splits.
        "data": ("train", "find_lr", "sweep", "probe", "visual_data", "prepare", "shard", "convert_labels", "check"),
        # Reads the model of --resume.
        "model": ("evaluation", "explain", "export", "jit", "prune", "predict", "knowledge", "make_curriculum"),
        # Asks a model about the labeled images of a split.
        "held_out": ("evaluation", "explain", "export", "jit", "prune", "knowledge", "make_curriculum", "benchmark"),
        "exports": ("export", "jit"),
        # Runs in several processes that share the work.
        "processes": ("train", "find_lr", "evaluation", "knowledge", "make_curriculum", "compare"),
    }
)


def actions_that_use(name: str) -> frozenset[str] | None:
    """Return the actions that use the flag; None for all of them."""
    words = flag_metadata(name)["used_for"]
    return frozenset(action for word in words for action in GROUPS.get(word, (word,))) if words else None


def flag_of(action: str) -> str:
    """Return the name of the flag that asks for an action; 'explain' is --visual_data with --resume."""
    return "visual_data" if action == "explain" else action


def is_used(name: str, action: str) -> bool:
    """Whether the action uses the flag."""
    actions = actions_that_use(name)
    return actions is None or action in actions


def refuse_unused(request: Request) -> None:
    """Raise UserError for flags of the command line that the action would not use.

    Settings of a config file or of a checkpoint may serve several actions, so they are not looked at.
    """
    unused = [name for name in sorted(request.typed) if not is_used(name, request.action)]
    if not unused:
        return
    owners = _owners(unused[0])
    first, *rest = [name for name in unused if _owners(name) == owners]
    named = f"--{first}" if not rest else f"{', '.join(f'--{name}' for name in [first, *rest[:-1]])} and --{rest[-1]}"
    belong, do, them = ("belong", "do", "them") if rest else ("belongs", "does", "it")
    raise UserError(f"{named} {belong} to {owners} and {do} nothing for {_shown(request.action)}; leave {them} out")


def _owners(name: str) -> str:
    """Return who uses a flag: training, where it does; else the actions."""
    actions = actions_that_use(name) or frozenset()
    if "train" in actions:
        return "training"
    # Two actions are --visual_data.
    named = sorted({_shown(action) for action in actions if action != "explain" or "visual_data" not in actions})
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))


def _shown(action: str) -> str:
    return {"train": "training", "explain": "--visual_data with --resume"}.get(action, f"--{action}")
