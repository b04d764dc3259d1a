"""The optimizers of torch under one signature, and the one way to build any optimizer of the table."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import SGD, Adadelta, Adafactor, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from optim import OPTIMIZERS
from optim.optimizer_name import read_optimizer
from optim.param_groups import ParamGroup, param_groups
from utils.errors import UserError, nearest
from utils.registry import is_user_code
from utils.spec import parse_specs

ParamGroups = Sequence[ParamGroup]

# Arguments that have flags of their own, or that the stepper relies on.
FLAGS = ("self", "params", "lr", "weight_decay", "maximize", "differentiable", "capturable")


def build_optimizer(
    name: str,
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    opt_args: str | Mapping[str, Any] = "",
    head: nn.Module | None = None,
    head_lr: float | None = None,
    layer_decay: float | None = None,
    extra_modules: nn.Module | None = None,
    no_decay: Collection[str] = (),
) -> Optimizer:
    """Build the optimizer `name` over the trainable parameters of `model`.

    Move the model to its device and memory format first.

    Args:
        name: a row of OPTIMIZERS, lookahead(ROW), or 'my_file.py:build' that takes (groups, *, lr, momentum, **opt_args).
        model: the bare model or its wrapper.
        lr: the rate at factor one of the schedule.
        momentum: of sgd and other momentum methods; the first beta of the Adam family.
        weight_decay: of everything but norms and biases.
        opt_args: further arguments, 'betas=(0.9,0.95),eps=1e-6' or a mapping.
        head: the classifier, for `head_lr`.
        head_lr: the rate of the classifier; None for that of the rest.
        layer_decay: every block learns this factor slower than the one above it; None for one rate.
        extra_modules: what learns with the model, at `lr`, and is no part of it.
        no_decay: shell patterns of names of further parameters that do not decay.

    Raises:
        UserError: a value that no optimizer can use, or a model without trainable parameters.
    """
    if not 0 < lr < float("inf"):
        raise UserError(f"--lr {lr} is not a learning rate; take a positive number such as 0.001")
    if not 0 <= momentum < 1:
        raise UserError(f"--momentum {momentum} is outside [0, 1); 0.9 is the usual choice")
    if not 0 <= weight_decay < float("inf"):
        raise UserError(f"--weight_decay {weight_decay} is negative or no number; 0 turns it off")
    chosen = read_optimizer(name)
    build: Callable[..., Optimizer] = OPTIMIZERS.resolve(chosen.name)
    base = () if chosen.base is None else (chosen.base,)
    arguments = parse_opt_args(opt_args)
    groups = param_groups(model, weight_decay, lr=lr, head=head, head_lr=head_lr, layer_decay=layer_decay, no_decay=no_decay)
    if extra_modules is not None:
        groups += param_groups(extra_modules, weight_decay, lr=lr)
    if not any(map(is_user_code, (chosen.name, *base))):
        return build(groups, *base, lr=lr, momentum=momentum, **arguments)
    try:
        optimizer = build(groups, *base, lr=lr, momentum=momentum, **arguments)
    except TypeError as error:
        raise UserError(f"--opt {name} cannot be called with (groups, *, {', '.join(('lr', 'momentum', *arguments))}): {error}") from error
    # The groups hold rates of their own; that of the run is looked up here.
    optimizer.defaults["lr"] = lr
    return optimizer


def parse_opt_args(source: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in 'betas=(0.9,0.95),eps=1e-6': names and literals.

    Raises:
        UserError: the text is something else.
    """
    if not isinstance(source, str):
        return dict(source)
    if not source.strip():
        return {}
    try:
        spec = parse_specs(f"opt({source})")[0]
    except UserError as error:
        raise UserError(f"--opt_args '{source}' cannot be read; write name=value pairs, such as 'betas=(0.9,0.95),eps=1e-6'") from error
    if spec.args:
        raise UserError(f"--opt_args '{source}': give every value its name, such as 'betas=(0.9,0.95),eps=1e-6'")
    return spec.kwargs


def make(kind: type[Optimizer], groups: ParamGroups, arguments: Mapping[str, Any], opt_args: Mapping[str, Any]) -> Optimizer:
    """Build an optimizer of class `kind`; what the user said in --opt_args outranks `arguments`.

    Raises:
        UserError: the class takes no such argument, or refuses its value.
    """
    known = accepted_arguments(kind)
    for name in opt_args:
        if name not in known:
            raise UserError(f"--opt_args: {kind.__name__} has no '{name}'.{nearest(name, known)} Known: {', '.join(known)}")
    try:
        return kind(groups, **{**arguments, **opt_args})  # pyright: ignore[reportCallIssue]
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"--opt_args: {kind.__name__} refuses its arguments: {error}") from error


def accepted_arguments(kind: type[Optimizer]) -> list[str]:
    """Return the names that --opt_args may use with an optimizer of class `kind`."""
    names: dict[str, None] = {}
    for ancestor in kind.__mro__:
        if ancestor is Optimizer:
            break
        taken = inspect.signature(ancestor.__init__).parameters.values()
        names |= dict.fromkeys(item.name for item in taken if item.kind is not item.VAR_KEYWORD)
        if all(item.kind is not item.VAR_KEYWORD for item in taken):
            break
    return [name for name in names if name not in FLAGS]


def build_sgd(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al., ICML 2013); plain at momentum 0."""
    return make(SGD, groups, {"lr": lr, "momentum": momentum, "nesterov": momentum > 0, "fused": can_fuse(groups)}, opt_args)


def build_momentum(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Stochastic gradient descent with the heavy ball's momentum (Polyak, 1964)."""
    return make(SGD, groups, {"lr": lr, "momentum": momentum, "fused": can_fuse(groups)}, opt_args)


def build_adam(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adam (arXiv 1412.6980); weight decay is part of the gradient."""
    return make(Adam, groups, {"lr": lr, "betas": (momentum, 0.999), "fused": can_fuse(groups)}, opt_args)


def build_adamw(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""
    return make(AdamW, groups, {"lr": lr, "betas": (momentum, 0.999), "fused": can_fuse(groups)}, opt_args)


def build_radam(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Rectified Adam (arXiv 1908.03265) with decoupled weight decay, as its authors run it."""
    return make(RAdam, groups, {"lr": lr, "betas": (momentum, 0.999), "decoupled_weight_decay": True}, opt_args)


def build_nadam(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adam with Nesterov momentum (Dozat, 2016) and decoupled weight decay."""
    return make(NAdam, groups, {"lr": lr, "betas": (momentum, 0.999), "decoupled_weight_decay": True}, opt_args)


def build_adamax(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adam with the infinity norm (arXiv 1412.6980, section 7.1)."""
    return make(Adamax, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def build_adagrad(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adagrad (Duchi et al., 2011), which has no momentum."""
    del momentum
    return make(Adagrad, groups, {"lr": lr, "fused": can_fuse(groups)}, opt_args)


def build_adadelta(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adadelta (arXiv 1212.5701), which has no momentum."""
    del momentum
    return make(Adadelta, groups, {"lr": lr}, opt_args)


def build_adafactor(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Adafactor (arXiv 1804.04235) with torch's rate: --lr caps the paper's step size; it has no momentum."""
    del momentum
    return make(Adafactor, groups, {"lr": lr}, opt_args)


def build_rmsprop(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """RMSprop (Tieleman and Hinton, 2012) with momentum."""
    return make(RMSprop, groups, {"lr": lr, "momentum": momentum}, opt_args)


def can_fuse(groups: ParamGroups) -> bool:
    """Whether torch has one-pass update kernels for all these parameters: several times faster, on the CPU too."""
    params = [param for group in groups for param in group["params"]]
    return all(param.device.type in ("cpu", "cuda") and param.is_floating_point() for param in params)
