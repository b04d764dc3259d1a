"""The optimizers of timm.optim under the signature of the table."""

from typing import Any

from torch.optim import Optimizer

from optim.groups import DECAYED
from optim.optimizers import Groups, make


def build_muon(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Muon (Jordan et al., 2024) with steps of AdamW's size (arXiv 2502.16982).

    Convolution kernels are flattened to matrices, which torch's own Muon does not do; norms, biases
    and the classifier take AdamW.
    """
    from timm.optim.muon import Muon

    marked = [{**group, "use_fallback": group["role"] != DECAYED or group["is_head"]} for group in groups]
    return make(Muon, marked, {"lr": lr, "momentum": momentum}, opt_args)


def build_lamb(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LAMB (arXiv 1904.00962): norms and biases take Adam's step; the gradient is clipped by --clip_grad alone."""
    from timm.optim.lamb import Lamb

    return make(Lamb, _adapted(groups), {"lr": lr, "betas": (momentum, 0.999), "max_grad_norm": None}, opt_args)


def build_lars(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LARS (arXiv 1708.03888): norms and biases take the step of plain momentum."""
    from timm.optim.lars import Lars

    return make(Lars, _adapted(groups), {"lr": lr, "momentum": momentum}, opt_args)


def build_lion(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Lion (arXiv 2302.06675)."""
    from timm.optim.lion import Lion

    return make(Lion, groups, {"lr": lr, "betas": (momentum, 0.99)}, opt_args)


def build_novograd(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """NovoGrad (arXiv 1905.11286)."""
    from timm.optim.nvnovograd import NvNovoGrad

    return make(NvNovoGrad, groups, {"lr": lr, "betas": (momentum, 0.98)}, opt_args)


def build_madgrad(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """MADGRAD (arXiv 2101.11075)."""
    from timm.optim.madgrad import MADGRAD

    return make(MADGRAD, groups, {"lr": lr, "momentum": momentum}, opt_args)


def build_adabelief(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """AdaBelief (arXiv 2010.07468) with rectification and decoupled weight decay."""
    from timm.optim.adabelief import AdaBelief

    return make(AdaBelief, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def build_adopt(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """ADOPT (arXiv 2411.02853) with decoupled weight decay."""
    from timm.optim.adopt import Adopt

    return make(Adopt, groups, {"lr": lr, "betas": (momentum, 0.9999), "decoupled": True}, opt_args)


def build_adan(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adan (arXiv 2208.06677); its three betas are the paper's, whatever --momentum says."""
    from timm.optim.adan import Adan

    del momentum
    return make(Adan, groups, {"lr": lr}, opt_args)


def build_laprop(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LaProp (arXiv 2002.04839)."""
    from timm.optim.laprop import LaProp

    return make(LaProp, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def _adapted(groups: Groups) -> Groups:
    """Adapt the step of weights layer by layer, with weight decay zero too."""
    return [{**group, "always_adapt": group["role"] == DECAYED} for group in groups]
