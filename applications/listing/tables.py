"""Prints a table of names: models, losses, optimizers, augmentations and others."""

from fnmatch import fnmatchcase

from applications.explain.methods import METHODS
from applications.formats import FORMATS
from applications.settings.options import Request
from applications.settings.recipes import RECIPES
from applications.tasks import TASKS
from criterions import CRITERIONS, DISTILLATIONS, REGION_LOSSES, WEIGHTERS
from dataloader import AUGMENT_PRESETS, AUGMENTS, CURRICULA, MIXES, SAMPLERS, SOURCES
from dataloader.checks import CHECKS
from models import FAMILIES, FORWARDED, INITS, SEGMENTERS, list_models
from models.anomaly import DETECTORS
from optim import OPTIMIZERS, SCHEDULES
from utils.errors import UserError, nearest
from utils.tables import print_table

TABLES = {
    "recipes": RECIPES,
    "tasks": TASKS,
    "segmenters": SEGMENTERS,
    "detectors": DETECTORS,
    "criterions": CRITERIONS,
    "region_losses": REGION_LOSSES,
    "weighters": WEIGHTERS,
    "distillations": DISTILLATIONS,
    "inits": INITS,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
    "sources": SOURCES,
    "augments": AUGMENTS,
    "mixes": MIXES,
    "samplers": SAMPLERS,
    "visual_methods": METHODS,
    "curricula": CURRICULA,
    "checks": CHECKS,
    "formats": FORMATS,
}


def run(request: Request) -> int:
    """Print the table that --list names."""
    print_table(("name", "what it is"), rows(request.subject), left=("what it is",), wrap=True)
    return 0


def rows(subject: str) -> list[tuple[str, str]]:
    """Return (name, description) of every row of a table, or of the models that match a pattern.

    Raises:
        UserError: it is neither.
    """
    if subject not in ("models", *TABLES):
        names = [(name, "") for name in list_models(subject)]
        names += [(name, f"forwarded to {target}") for name, target in FORWARDED.items() if fnmatchcase(name, subject)]
        if not names:
            known = ["models", *TABLES]
            raise UserError(f"--list {subject}: no such table or model.{nearest(subject, known)} Tables: {', '.join(known)}")
        return names
    if subject == "models":
        # A family is described once, beside its first name.
        listed = [(name, family.help if name == family.variants[0] else "") for family in FAMILIES.values() for name in family.variants]
        more = "every other classifier of the package, the same way"
        listed += [(name, f"forwarded to {target}") for name, target in FORWARDED.items()]
        return [*listed, ("torchvision/NAME", more), ("timm/NAME", more), ("my_file.py:Class", "a network of your own")]
    listed = [(name, row.help) for name, row in TABLES[subject].items()]
    if subject == "augments":
        listed += [(name, f"recipe: {spec}") for name, spec in AUGMENT_PRESETS.items()]
    return listed
