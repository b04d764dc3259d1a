"""AdaHessian (arXiv 2006.00719): Adam whose second moment is that of the diagonal of the Hessian, not of the gradient."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optim.optimizers import ParamGroups, make
from utils.errors import UserError
from utils.randomness import Stream, torch_generator


class AdaHessian(Optimizer):
    """Steps along m^ / (v^ ^ (hessian_power / 2) + eps), v the running mean of D^2, with decoupled weight decay.

    D estimates the diagonal of the Hessian H by z x (H z), z of random signs (Hutchinson). Whoever calls `step`
    first calls `look` with gradients that still hold their graph: a second pass backward.

    Args:
        params: parameters or groups.
        lr: the paper takes 0.15 where it takes 0.1 for momentum.
        betas: of the gradient and of D^2.
        eps: added to the denominator; raise it when layers with near-zero curvature take too large steps.
        weight_decay: decoupled.
        hessian_power: exponent of the curvature, in (0, 1].
        every: steps between two looks at the curvature; those between use the last one.
        samples: draws of z a look.
        average_kernels: whether D is averaged over the positions of a convolution's kernel, as in the paper.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.15,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-4,
        weight_decay: float = 0.0,
        hessian_power: float = 1.0,
        every: int = 1,
        samples: int = 1,
        average_kernels: bool = True,
    ) -> None:
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"betas {betas} are outside [0, 1)")
        if not eps >= 0:
            raise ValueError(f"eps {eps} is negative")
        if not 0 < hessian_power <= 1:
            raise ValueError(f"hessian_power {hessian_power} is outside (0, 1]")
        if not (isinstance(every, int) and isinstance(samples, int) and every >= 1 and samples >= 1):
            raise ValueError(f"every {every} and samples {samples} must be whole numbers above 0")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "hessian_power": hessian_power})
        self.every, self.samples, self.average_kernels = every, samples, average_kernels

    def looks(self, step: int) -> bool:
        """Whether the curvature is looked at before step `step`, counted from 0: its gradients must hold their graph."""
        return step % self.every == 0

    def look(self, step: int) -> None:
        """Estimate the curvature at the weights of now; the gradients let go of their graph.

        Args:
            step: steps made before; the random signs follow from it.

        Raises:
            UserError: torch has no second derivative of a function in the network.
        """
        params = [param for group in self.param_groups for param in group["params"] if param.grad is not None]
        curved = [param for param in params if param.grad.requires_grad]
        found = {param: torch.zeros_like(param) for param in params}
        generator = torch_generator(Stream.CURVATURE, step, device=str(params[0].device)) if params else None
        for sample in range(self.samples if curved else 0):
            signs = [torch.randint(0, 2, param.shape, generator=generator, device=param.device).to(param) * 2 - 1 for param in curved]
            keeps = sample + 1 < self.samples
            products = _second_pass([param.grad for param in curved], curved, signs, retain_graph=keeps)
            for param, sign, product in zip(curved, signs, products, strict=True):
                if product is not None:
                    found[param].addcmul_(sign, product, value=1 / self.samples)
        for param in params:
            param.grad = param.grad.detach()
            self.state[param]["curvature"] = self._averaged(found[param])

    def _averaged(self, curvature: Tensor) -> Tensor:
        if not (self.average_kernels and curvature.ndim == 4):
            return curvature
        return curvature.abs().mean((2, 3), keepdim=True).expand_as(curvature).clone(memory_format=torch.preserve_format)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the weights by their gradients and the curvature last looked at."""
        assert closure is None, "the second pass backward belongs to whoever holds the loss"
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step_one(param, param.grad, group)

    def _step_one(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        assert "curvature" in state, "look at the curvature before the step"
        if "step" not in state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(state["curvature"], state["curvature"], value=1 - beta2)
        param.mul_(1 - group["lr"] * group["weight_decay"])
        root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).pow_(group["hessian_power"] / 2).add_(group["eps"])
        param.addcdiv_(state["exp_avg"], root, value=-group["lr"] / (1 - beta1 ** state["step"]))


def _second_pass(grads: Sequence[Any], params: Sequence[Tensor], signs: Sequence[Tensor], *, retain_graph: bool) -> tuple[Any, ...]:
    try:
        return torch.autograd.grad(grads, params, signs, retain_graph=retain_graph, allow_unused=True)
    except RuntimeError as error:
        missing = re.search(r"derivative for (?:aten::)?(\w+?)(?:_backward)? is not implemented", str(error))
        if missing is None:
            raise
        raise UserError(
            f"--opt adahessian: torch has no second derivative of {missing[1]}, which this network computes; "
            "take another --opt, or another --arch such as resnet18"
        ) from error


def build_adahessian(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """AdaHessian, with decoupled weight decay."""
    return make(AdaHessian, groups, {"lr": lr, "betas": (momentum, 0.999)}, opt_args)
