"""The optimizers of timm.optim under the signature of the table."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optim.optimizers import ParamGroups, make
from optim.param_groups import DECAYED

# A matrix with fewer rows or columns, or one much longer than wide, has no direction worth making even.
FEWEST, LONGEST = 4, 128


def build_muon(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Muon (Jordan et al., 2024) with the Nesterov step of its authors, and steps of AdamW's size (arXiv 2502.16982).

    Convolution kernels are flattened to matrices, which torch's own Muon does not do; norms, biases, kernels
    of single channels and the classifier take AdamW.
    """
    from timm.optim.muon import Muon

    return make(Muon, _routed(groups), {"lr": lr, "momentum": momentum, "nesterov": True}, opt_args)


def _routed(groups: ParamGroups) -> ParamGroups:
    """Part every group into what Muon turns and what AdamW takes: under "nesterov" timm would give that to NAdamW."""
    parts = []
    for group in groups:
        turned = [param for param in group["params"] if group["role"] == DECAYED and not group["is_head"] and _is_matrix(param)]
        kept = {id(param) for param in turned}
        rest = [param for param in group["params"] if id(param) not in kept]
        parts += [{**group, "params": turned, "use_muon": True}] if turned else []
        parts += [{**group, "params": rest, "use_muon": False, "nesterov": False}] if rest else []
    return parts


def _is_matrix(param: Tensor) -> bool:
    if param.ndim < 2 or 1 in param.shape[:2]:
        return False
    rows, columns = param.shape[0], param[0].numel()
    return min(rows, columns) >= FEWEST and max(rows, columns) <= LONGEST * min(rows, columns)


def build_lamb(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LAMB (arXiv 1904.00962): norms and biases take Adam's step; the gradient is clipped by --clip_grad alone."""
    from timm.optim.lamb import Lamb

    return make(Lamb, _adapted(groups), {"lr": lr, "betas": (momentum, 0.999), "max_grad_norm": None}, opt_args)


def build_lambc(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LAMB whose trust ratio is at most one."""
    return build_lamb(groups, lr=lr, momentum=momentum, **{"trust_clip": True, **opt_args})


def build_lars(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LARS (arXiv 1708.03888): norms and biases take the step of plain momentum."""
    from timm.optim.lars import Lars

    return make(Lars, _adapted(groups), {"lr": lr, "momentum": momentum}, opt_args)


def build_nlars(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LARS with Nesterov momentum."""
    return build_lars(groups, lr=lr, momentum=momentum, **{"nesterov": momentum > 0, **opt_args})


def build_larc(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LARC: the rate of a layer is that of LARS, but never above --lr."""
    return build_lars(groups, lr=lr, momentum=momentum, **{"trust_clip": True, **opt_args})


def build_nlarc(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LARC with Nesterov momentum."""
    return build_nlars(groups, lr=lr, momentum=momentum, **{"trust_clip": True, **opt_args})


def build_adamp(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """AdamP (arXiv 2006.08217) with the authors' settings and decoupled weight decay."""
    from timm.optim.adamp import AdamP

    return make(AdamP, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def build_sgdp(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """SGDP (arXiv 2006.08217): Nesterov momentum, as its authors run it."""
    from timm.optim.sgdp import SGDP

    return make(SGDP, groups, {"lr": lr, "momentum": momentum, "nesterov": momentum > 0}, opt_args)


def build_rmsproptf(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """RMSprop as TensorFlow has it: epsilon inside the root, squares that start at one, the rate inside the momentum."""
    from timm.optim.rmsprop_tf import RMSpropTF

    return make(RMSpropTF, groups, {"lr": lr, "momentum": momentum}, opt_args)


def build_lion(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Lion (arXiv 2302.06675)."""
    from timm.optim.lion import Lion

    return make(Lion, groups, {"lr": lr, "betas": (momentum, 0.99)}, opt_args)


def build_novograd(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """NovoGrad (arXiv 1905.11286)."""
    from timm.optim.nvnovograd import NvNovoGrad

    return make(NvNovoGrad, groups, {"lr": lr, "betas": (momentum, 0.98)}, opt_args)


def build_madgrad(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """MADGRAD (arXiv 2101.11075)."""
    from timm.optim.madgrad import MADGRAD

    return make(MADGRAD, groups, {"lr": lr, "momentum": momentum}, opt_args)


def build_madgradw(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """MADGRAD with decoupled weight decay."""
    return build_madgrad(groups, lr=lr, momentum=momentum, **{"decoupled_decay": True, **opt_args})


def build_adabelief(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """AdaBelief (arXiv 2010.07468) with decoupled weight decay."""
    from timm.optim.adabelief import AdaBelief

    return make(AdaBelief, groups, {"lr": lr, "betas": (momentum, 0.999), "rectify": False}, opt_args)


def build_radabelief(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """AdaBelief with the rectification of RAdam, as its authors run it on ImageNet."""
    return build_adabelief(groups, lr=lr, momentum=momentum, **{"rectify": True, **opt_args})


def build_adopt(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """ADOPT (arXiv 2411.02853) with decoupled weight decay; normalized gradients are clipped at t ^ 0.25, as in the paper."""
    from timm.optim.adopt import Adopt

    return make(Adopt, groups, {"lr": lr, "betas": (momentum, 0.9999), "decoupled": True, "clip_exp": 0.25}, opt_args)


def build_adan(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adan (arXiv 2208.06677); its three betas are the paper's, whatever --momentum says."""
    from timm.optim.adan import Adan

    del momentum
    return make(Adan, groups, {"lr": lr}, opt_args)


def build_laprop(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LaProp (arXiv 2002.04839)."""
    from timm.optim.laprop import LaProp

    return make(LaProp, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def _adapted(groups: ParamGroups) -> ParamGroups:
    """Adapt the step of weights layer by layer, with weight decay zero too."""
    return [{**group, "always_adapt": group["role"] == DECAYED} for group in groups]
