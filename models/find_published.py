"""Finds the published weights of an architecture, whoever publishes them."""

import importlib

from models import TASK_NETWORKS, find_adapter, find_family, full_name, task_of, usual_encoder
from models.published import Published
from utils.errors import UserError
from utils.spec import base_name


def find_published(arch: str, *, advprop: bool = False) -> Published | None:
    """The published weights of an architecture of the table or of a package, or None.

    Args:
        advprop: those of training with adversarial examples.

    Raises:
        UserError: there are none with `advprop`.
    """
    if (family := find_family(arch)) is not None:
        module = importlib.import_module(family.attribute.partition(":")[0])
        if advprop and arch not in getattr(module, "ADVPROP", {}):
            raise UserError(f"--advprop: no such weights are published for {arch}; they are for efficientnet_b0 to efficientnet_b8")
        return module.ADVPROP[arch] if advprop else module.PUBLISHED.get(arch)
    if (task := task_of(arch)) is not None and usual_encoder(arch) is None and not advprop:
        module = importlib.import_module(TASK_NETWORKS[task].table[base_name(arch)].attribute.partition(":")[0])
        return module.PUBLISHED.get(base_name(arch))
    if advprop:
        raise UserError(f"--advprop belongs to efficientnet_b0 to efficientnet_b8; leave it out for {arch}, or name timm's: NAME.ap_in1k")
    if (adapter := find_adapter(arch)) is not None:
        return adapter.find_published(full_name(arch).partition("/")[2])
    return None


def published_preprocess(arch: str, *, advprop: bool = False) -> dict | None:
    """Preprocessing of the published weights, or None where there are none.

    Returns:
        {"mean": three floats, "std": three floats, "size": (height, width), "interpolation": name};
        mean and std are for images in [0, 1].
    """
    published = find_published(arch, advprop=advprop)
    if published is None:
        return None
    return {"mean": published.mean, "std": published.std, "size": published.size, "interpolation": published.interpolation}
