"""TABLES: what --list prints, by name."""

from applications.explain.methods import BOX_METHODS, METHODS
from applications.formats import FORMATS
from applications.settings.recipes import RECIPES
from applications.tasks import TASKS
from criterions import ASSIGNMENTS, BOX_LOSSES, CRITERIONS, DISTILLATIONS, REGION_LOSSES, WEIGHTERS
from dataloader import AUGMENTS, MIXES, SAMPLERS, SELF_PACED, SOURCES
from dataloader.checks import CHECKS
from models import INITS
from models.anomaly import ANOMALY_DETECTORS
from models.detectors import DETECTORS
from models.segmenters import SEGMENTERS
from optim import OPTIMIZERS, SCHEDULES

TABLES = {
    "recipes": RECIPES,
    "tasks": TASKS,
    "segmenters": SEGMENTERS,
    "detectors": DETECTORS,
    "anomaly_detectors": ANOMALY_DETECTORS,
    "criterions": CRITERIONS,
    "region_losses": REGION_LOSSES,
    "box_losses": BOX_LOSSES,
    "assignments": ASSIGNMENTS,
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
    "visual_methods_of_boxes": BOX_METHODS,
    "curricula": SELF_PACED,
    "checks": CHECKS,
    "formats": FORMATS,
}
