"""The stepper: the only writer of weights. Backward, clipping, rate, step, penalties, average."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from optim.adahessian import AdaHessian
from optim.clip import Clip
from optim.ema import Ema
from optim.lookahead import kind_of, without_lookahead
from optim.param_groups import frozen_norms
from optim.plateau import Plateau
from optim.sam import ascend, statistics_kept, undo_ascent
from optim.schedules import Schedule
from optim.swa import Swa
from utils.errors import UserError

Penalty = Callable[[nn.Module, float], None]

PrecisionName = Literal["fp32", "bf16", "fp16"]


class Stepper:
    """Turns losses into steps of the optimizer.

    A step is made of one batch or of a group of batches whose gradients are summed. Where it
    can, nothing here waits for the device: with fp16 the scaler may have to look at the gradients.

    Args:
        model: the bare model, or DistributedDataParallel around it; compile it in place (`model.compile()`).
        optimizer: its groups hold the peak rates.
        schedule: steps already made -> factor of the peak rate.
        device_type: 'cpu' or 'cuda', where autocast works.
        precision: 'fp32', 'bf16' or 'fp16'; the weights stay in float32.
        clip: clips the gradients of the parameters in place; None leaves them alone.
        sam: radius of sharpness-aware minimization; None looks at a batch once.
        ema: the moving average to keep and to evaluate; None keeps none.
        swa: the mean over epochs to keep beside, for the end of the run; None keeps none.
        bare: the model itself, where `model` is more around it than DistributedDataParallel.
        extra_modules: what learns with the model but is no part of it: it is neither averaged nor saved with its weights.
        penalties: each is called after every step with the bare model and the rate of the step, and changes
            the parameters it concerns itself: like decoupled weight decay, it stays out of the moments.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        device_type: str,
        precision: PrecisionName,
        clip: Clip | None = None,
        sam: float | None = None,
        ema: Ema | None = None,
        swa: Swa | None = None,
        bare: nn.Module | None = None,
        extra_modules: nn.Module | None = None,
        penalties: Sequence[Penalty] = (),
    ) -> None:
        wrapped = isinstance(model, DistributedDataParallel)
        self._model: nn.Module = bare if bare is not None else model.module if wrapped else model
        self._no_sync: Callable[[], Any] = model.no_sync if wrapped else nullcontext
        self._processes = dist.get_world_size() if wrapped else 1
        self._optimizer = optimizer
        fast = without_lookahead(optimizer)
        self._curvature = fast if isinstance(fast, AdaHessian) else None
        self._schedule = schedule
        self._device_type = device_type
        self._half = torch.float16 if precision == "fp16" else torch.bfloat16
        self._autocast = precision != "fp32"
        self._scaler = torch.amp.GradScaler(device_type, enabled=precision == "fp16")
        self._clip = clip
        self._sam = sam
        self._ema = ema
        self.swa = swa
        self._penalties = tuple(penalties)
        # The current rate is overwritten every step; the peak is kept here.
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._params = [param for group in optimizer.param_groups for param in group["params"]]
        names = {id(param): name for name, param in self._model.named_parameters()}
        names |= {id(param): f"beside.{name}" for name, param in extra_modules.named_parameters()} if extra_modules is not None else {}
        self._names = [names[id(param)] for param in self._params]
        # Only these keys are settings; anything an optimizer adds to its groups later is state, and is saved.
        self._settings = set(optimizer.param_groups[0])
        self._resting = frozen_norms(self._model)
        self._steps = 0
        self._group_open = False
        self._counted: Tensor | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps made since the run began, over all its resumptions."""
        return self._steps

    @property
    def lr(self) -> float:
        """The rate of the latest step, or of the first before it is made."""
        return self._optimizer.defaults["lr"] * self._schedule(max(self._steps - 1, 0))

    @property
    def group_open(self) -> bool:
        """Whether gradients of an unfinished group wait: state is saved between groups only."""
        return self._group_open

    @contextmanager
    def forward(self, sync: bool) -> Iterator[None]:
        """Surround the forward pass of one batch: autocast, frozen norms at rest, no exchange of gradients unless `sync`.

        Args:
            sync: whether this batch closes its group.
        """
        for layer in self._resting:
            layer.eval()
        with nullcontext() if sync else self._no_sync(), torch.autocast(self._device_type, dtype=self._half, enabled=self._autocast):
            yield

    def step(
        self,
        loss: Tensor,
        share: float,
        *,
        closes_group: bool,
        count: Tensor | None = None,
        again: Callable[[], Tensor] | None = None,
    ) -> None:
        """Add the gradient of `share` x `loss`; at the end of a group, change the weights.

        Args:
            loss: scalar mean over the batch.
            share: the batch's part of its group; the shares of a group sum to one.
            closes_group: whether the weights change now.
            count: of what the loss is the mean, scalar, where these are not the samples. The gradient is then that of the sum over all
                batches of the group and all processes, divided by the sum of their counts, whatever the shares.
            again: runs the batch once more and returns its loss; sharpness-aware minimization calls it.
        """
        if count is None:
            self._backward(loss * share)
        elif closes_group and not self._group_open:
            self._backward(loss if self._processes == 1 else loss * (count / self._mean_of_processes(count)))
        else:
            self._backward(loss * count)
            self._counted = count if self._counted is None else self._counted + count
        self._group_open = not closes_group
        if closes_group:
            self._divide_by_counts()
            if self._sam is not None:
                assert again is not None, "sharpness-aware minimization looks at a batch twice"
                self._look_again(self._sam, again)
            self._change_weights()

    def _mean_of_processes(self, value: Tensor) -> Tensor:
        """Return the mean over the processes, whose gradients are averaged, too."""
        if self._processes == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self._processes

    def _divide_by_counts(self) -> None:
        """Divide the gradients of a group's sums by what was counted in it."""
        if self._counted is None:
            return
        factor, self._counted = 1 / self._mean_of_processes(self._counted), None
        for param in self._params:
            if param.grad is not None:
                # Not in place: curvature looks at the graph of the gradient.
                param.grad = param.grad * factor

    def _backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss; where the curvature is to be seen, with the graph of the gradient."""
        if self._curvature is None or not self._curvature.looks(self._steps):
            self._scaler.scale(loss).backward()
            return
        # backward(create_graph=True) would leak memory through a reference cycle between a parameter and its .grad.
        for param, grad in zip(self._params, torch.autograd.grad(loss, self._params, create_graph=True, allow_unused=True), strict=True):
            if grad is not None:
                param.grad = grad if param.grad is None else param.grad + grad

    def _look_again(self, rho: float, again: Callable[[], Tensor]) -> None:
        """Replace the gradient by the one at the worst point nearby."""
        before = ascend(self._params, rho)
        self._optimizer.zero_grad(set_to_none=True)
        with statistics_kept(self._model):
            self._scaler.scale(again()).backward()
        undo_ascent(self._params, before)

    def _change_weights(self) -> None:
        if self._curvature is not None and self._curvature.looks(self._steps):
            self._curvature.look(self._steps)
        self._scaler.unscale_(self._optimizer)
        if self._clip is not None:
            self._clip(self._params)
        factor = self._schedule(self._steps)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._scaler.step(self._optimizer)
        self._scaler.update()
        for penalty in self._penalties:
            penalty(self._model, self._optimizer.defaults["lr"] * factor)
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        if self._ema is not None:
            self._ema.update(self._model)
        if self.swa is not None:
            self.swa.update(self._model, self._steps)

    def move_to(self, steps: int) -> None:
        """Go on as if `steps` optimizer steps had been made, where a resumed run counts an epoch in other steps than before."""
        self._steps = steps

    def validated(self, figures: Mapping[str, float]) -> None:
        """Hear how validation went, name -> value, the same on every rank; a plateau schedule may answer with a lower rate."""
        if isinstance(self._schedule, Plateau):
            self._schedule.observe(figures)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model hold the averaged weights inside the block; without an average, its own."""
        with nullcontext() if self._ema is None else self._ema.applied(self._model):
            yield

    def take_buffers(self) -> None:
        """Inside `averaged`: keep the buffers that the model holds now, where there is an average to keep them with."""
        if self._ema is not None:
            self._ema.take_buffers(self._model)

    def averages(self) -> dict[str, Tensor] | None:
        """Return the averaged weights under the names of the model's state dict, or None."""
        return None if self._ema is None else self._ema.average()

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and the tensors themselves, between two groups."""
        assert not self._group_open, "the gradients of an unfinished group cannot be saved"
        moments = self._optimizer.state_dict()["state"]
        group = self._optimizer.param_groups[0]
        return {
            "steps": self._steps,
            "optimizer": {
                "kind": kind_of(self._optimizer),
                "state": {self._names[index]: values for index, values in moments.items()},
                "counters": {name: value for name, value in group.items() if name not in self._settings},
            },
            "scaler": self._scaler.state_dict(),
            "plateau": self._schedule.state_dict() if isinstance(self._schedule, Plateau) else None,
            "ema": None if self._ema is None else self._ema.state_dict(),
            "swa": None if self.swa is None else self.swa.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; tensors are copied to the device of their parameter.

        The file gives the history. Rates, decay and betas stay those that the optimizer was built with.

        Raises:
            UserError: the state was written with another optimizer, model or averaging.
        """
        kind, written = kind_of(self._optimizer), state["optimizer"]["kind"]
        if kind != written:
            raise UserError(f"the checkpoint was written by {written}, this run uses {kind}; resume with the same --opt")
        if (self._ema is None) != (state["ema"] is None):
            now, then = ("without", "with") if self._ema is None else ("with", "without")
            raise UserError(f"the checkpoint was written {then} --ema, this run is {now} it; resume with the same --ema")
        load_optimizer_state(self._optimizer, state["optimizer"]["state"], self._names)
        for group in self._optimizer.param_groups:
            group |= {name: _copied(value) for name, value in state["optimizer"]["counters"].items()}
        # A run that turns to another schedule on the way has no history of it.
        if isinstance(self._schedule, Plateau) and state["plateau"] is not None:
            self._schedule.load_state_dict(state["plateau"])
        # A scaler that was off has no state; one that is new starts at its default.
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
        # Averaging over epochs may begin or end with any resumption.
        if self.swa is not None and state["swa"] is not None:
            self.swa.load_state_dict(state["swa"], self._params[0].device)
        self._steps = state["steps"]


def load_optimizer_state(optimizer: Optimizer, saved: Mapping[str, dict[str, Any]], names: Sequence[str]) -> None:
    """Give `optimizer` the moments in `saved`, in the memory format that its parameters have now.

    A parameter that did not learn before starts without moments; moments of one that is frozen now are left behind.

    Args:
        optimizer: it holds the parameters in the order of `names`.
        saved: name of the parameter -> its moments.
        names: of the parameters.

    Raises:
        UserError: the moments belong to other parameters.
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    moments: dict[int, dict[str, Any]] = {}
    for index, (name, param) in enumerate(zip(names, params, strict=True)):
        values = saved.get(name, {})
        if any(_is_misfit(value, param) for value in values.values()):
            raise UserError("the optimizer state in the checkpoint belongs to another model; resume with the --arch that wrote it")
        if values:
            moments[index] = {key: _laid_out_like(value, param) for key, value in values.items()}
    if saved and not moments:
        raise UserError("the optimizer state in the checkpoint belongs to another model; resume with the --arch that wrote it")
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _is_misfit(value: Any, param: Tensor) -> bool:
    """A moment has the shape of its parameter, or one that is summed over some dimensions (Adafactor)."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return False
    return value.ndim != param.ndim or any(size not in (1, whole) for size, whole in zip(value.shape, param.shape, strict=True))


def _laid_out_like(value: Any, param: Tensor) -> Any:
    """Fused kernels walk memory and ignore strides: a moment must lie exactly as its parameter does."""
    if isinstance(value, Tensor) and value.ndim > 0 and value.shape == param.shape:
        return torch.empty_like(param, dtype=value.dtype).copy_(value)
    return _copied(value)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
