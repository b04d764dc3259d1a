"""Which parameters decay: weights do, norms and biases do not (arXiv 1812.01187, section 3.1)."""

from typing import Any

from torch import nn

from utils.errors import UserError

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters of `model` as optimizer groups, each parameter once.

    The first group decays. The second, without decay, holds the parameters of normalization
    layers and everything with at most one dimension: biases, layer scales, scalars. Frozen
    parameters are left out, and so is a group without parameters.

    Raises:
        UserError: every parameter is frozen.
    """
    resting = {id(param) for module in model.modules() if isinstance(module, NORMS) for param in module.parameters(recurse=False)}
    decayed, undecayed = [], []
    for param in model.parameters():
        if param.requires_grad:
            (undecayed if param.ndim <= 1 or id(param) in resting else decayed).append(param)
    if not decayed and not undecayed:
        raise UserError("every parameter of the model is frozen: there is nothing to train")
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
