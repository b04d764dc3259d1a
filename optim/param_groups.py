"""Parameter groups by role: who decays (arXiv 1812.01187, section 3.1), how fast a layer learns, who is frozen."""

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.errors import UserError, nearest

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

# Roles of a group: weights of convolutions and matrices; norms, biases, scales.
DECAYED, UNDECAYED = "decayed", "undecayed"

ParamGroup = dict[str, Any]


def param_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    lr: float,
    head: nn.Module | None = None,
    head_lr: float | None = None,
    layer_decay: float | None = None,
    no_decay: Collection[str] = (),
) -> list[ParamGroup]:
    """Return the trainable parameters of `model` as optimizer groups, each parameter once.

    The parameters of normalization layers and everything with at most one dimension (biases,
    layer scales, scalars) do not decay, nor does what the network names. Frozen parameters are left out, and so is a group without
    parameters. Beside torch's keys a group holds its 'role' and whether it 'is_head'.

    Args:
        model: the bare model or its wrapper.
        weight_decay: of the parameters that decay.
        lr: the peak rate.
        head: the classifier.
        head_lr: the peak rate of the classifier; None for the same as the rest.
        layer_decay: the last block learns at `lr`, every block below it this factor slower; None for one rate.
        no_decay: shell patterns of names of further parameters that do not decay, such as position embeddings.

    Raises:
        UserError: every parameter is frozen, or a rate is out of range.
    """
    if head_lr is not None and not 0 < head_lr < float("inf"):
        raise UserError(f"--head_lr {head_lr} is not a learning rate; take a positive number such as 0.01")
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise UserError(f"--layer_decay {layer_decay} is outside (0, 1]; 0.75 is a common choice")
    resting = {id(param) for module in model.modules() if isinstance(module, NORMS) for param in module.parameters(recurse=False)}
    resting |= {id(param) for name, param in model.named_parameters() if any(fnmatchcase(name, pattern) for pattern in no_decay)}
    in_head = {id(param) for param in head.parameters()} if head is not None else set()
    rates = _rates(model, lr=lr, layer_decay=layer_decay)
    if head_lr is not None:
        rates |= dict.fromkeys(in_head, head_lr)
    groups: dict[tuple[float, bool, str], ParamGroup] = {}
    for param in model.parameters():
        if not param.requires_grad:
            continue
        role = UNDECAYED if param.ndim <= 1 or id(param) in resting else DECAYED
        rate, is_head = rates[id(param)], id(param) in in_head
        group = groups.setdefault(
            (-rate, is_head, role),
            {"params": [], "lr": rate, "weight_decay": weight_decay if role == DECAYED else 0.0, "role": role, "is_head": is_head},
        )
        group["params"].append(param)
    if not groups:
        raise UserError("every parameter of the model is frozen: there is nothing to train; leave something out of --freeze")
    return [groups[key] for key in sorted(groups)]


def _rates(model: nn.Module, *, lr: float, layer_decay: float | None) -> dict[int, float]:
    if layer_decay is None:
        return {id(param): lr for param in model.parameters()}
    ordered = blocks(model)
    top = len(ordered) - 1
    return {id(param): lr * layer_decay ** (top - depth) for depth, (_, params) in enumerate(ordered) for param in params}


def blocks(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Return the blocks of a network from the first to the last, as (name, parameters), each parameter once.

    A block is a layer or a residual block: lists of modules are opened, and so is a part that holds
    more than half of all parameters. A norm belongs to the layer before it; parameters outside of
    any layer (a class token) belong to the first block.
    """
    half = sum(param.numel() for param in model.parameters()) / 2
    seen: set[int] = set()
    found: list[tuple[str, list[nn.Parameter]]] = []
    loose: list[nn.Parameter] = []

    def fresh(params: Iterator[nn.Parameter]) -> list[nn.Parameter]:
        new = [param for param in params if id(param) not in seen]
        seen.update(map(id, new))
        return new

    def walk(module: nn.Module, prefix: str) -> None:
        loose.extend(fresh(module.parameters(recurse=False)))
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            is_list = isinstance(child, nn.Sequential | nn.ModuleList)
            if is_list or (list(child.children()) and sum(param.numel() for param in child.parameters()) > half):
                walk(child, f"{path}.")
            elif params := fresh(child.parameters()):
                if isinstance(child, NORMS) and found:
                    found[-1][1].extend(params)
                else:
                    found.append((path, params))

    walk(model, "")
    if not found:
        return [("", loose)]
    found[0][1].extend(loose)
    return found


def freeze(model: nn.Module, what: Sequence[str], *, head: nn.Module) -> str:
    """Stop the named parameters from learning; return one line that says how many.

    Args:
        model: the bare model.
        what: 'backbone' for all but the classifier; a number for that many blocks from the input;
            else shell patterns of parameter or module names such as 'layer[12]' or '*.bias'.
        head: the classifier.

    Raises:
        UserError: a pattern that fits nothing, or a number of blocks that leaves none.
    """
    frozen: set[int] = set()
    for word in what:
        frozen |= {id(param) for param in _meant(model, word, head)}
    count = total = 0
    for param in model.parameters():
        total += param.numel()
        if id(param) in frozen:
            param.requires_grad_(False)
            count += param.numel()
    return f"frozen: {' '.join(what)}, {count:,} of {total:,} parameters; frozen batch norms keep their statistics"


def _meant(model: nn.Module, word: str, head: nn.Module) -> list[nn.Parameter]:
    if word == "backbone":
        kept = {id(param) for param in head.parameters()}
        return [param for param in model.parameters() if id(param) not in kept]
    if word.isdigit():
        ordered = blocks(model)
        if not 0 < int(word) < len(ordered):
            raise UserError(f"--freeze {word}: the model has {len(ordered)} blocks; give 1 to {len(ordered) - 1}")
        return [param for _, params in ordered[: int(word)] for param in params]
    found = [param for name, param in model.named_parameters() if fnmatchcase(name, word) or fnmatchcase(name, f"{word}.*")]
    if not found:
        names = ["backbone", *(name for name, _ in model.named_modules() if name)]
        raise UserError(f"--freeze {word}: no parameter is named so.{nearest(word, names)} Give 'backbone', a number of blocks, or names")
    return found


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch-norm layers none of whose parameters learn: their statistics are to rest too."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    return [layer for layer in layers if list(layer.parameters()) and not any(param.requires_grad for param in layer.parameters())]
