"""The stepper: the only writer of weights. Backward, penalties, clipping, rate, step, average."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from optim.ema import Ema
from optim.schedules import Schedule
from utils.errors import UserError

Penalty = Callable[[nn.Module], None]

Precision = Literal["fp32", "bf16", "fp16"]


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
        clip_grad: largest norm of the whole gradient; None leaves it alone.
        ema: the average to keep; None keeps none.
        penalties: each is called once a step with the bare model and adds its part to the `.grad`
            of the parameters it concerns, after unscaling and before clipping, the same on every rank.

    Raises:
        UserError: the clipping norm is not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        device_type: str,
        precision: Precision,
        clip_grad: float | None = None,
        ema: Ema | None = None,
        penalties: Sequence[Penalty] = (),
    ) -> None:
        if clip_grad is not None and not clip_grad > 0:
            raise UserError(f"--clip_grad {clip_grad} is no positive norm; leave it out to turn clipping off")
        wrapped = isinstance(model, DistributedDataParallel)
        self._model: nn.Module = model.module if wrapped else model
        self._no_sync: Callable[[], Any] = model.no_sync if wrapped else nullcontext
        self._optimizer = optimizer
        self._schedule = schedule
        self._device_type = device_type
        self._half = torch.float16 if precision == "fp16" else torch.bfloat16
        self._autocast = precision != "fp32"
        self._scaler = torch.amp.GradScaler(device_type, enabled=precision == "fp16")
        self._clip_grad = clip_grad
        self._ema = ema
        self._penalties = tuple(penalties)
        # The current rate is overwritten every step; the peak is kept here.
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        self._params = [param for group in optimizer.param_groups for param in group["params"]]
        self._steps = 0
        self._group_open = False

    @property
    def steps(self) -> int:
        """Optimizer steps made since the run began, over all its resumptions."""
        return self._steps

    @property
    def lr(self) -> float:
        """The rate of the latest step, or of the first before it is made."""
        return self._peaks[0] * self._schedule(max(self._steps - 1, 0))

    @property
    def group_open(self) -> bool:
        """Whether gradients of an unfinished group wait: state is saved between groups only."""
        return self._group_open

    @contextmanager
    def forward(self, sync: bool) -> Iterator[None]:
        """Surround the forward pass of one batch: autocast, and no exchange of gradients unless `sync`.

        Args:
            sync: whether this batch closes its group.
        """
        with nullcontext() if sync else self._no_sync(), torch.autocast(self._device_type, dtype=self._half, enabled=self._autocast):
            yield

    def step(self, loss: Tensor, share: float, *, closes_group: bool) -> None:
        """Add the gradient of `share` x `loss`; at the end of a group, change the weights.

        Args:
            loss: scalar mean over the batch.
            share: the batch's part of its group; the shares of a group sum to one.
            closes_group: whether the weights change now.
        """
        self._scaler.scale(loss * share).backward()
        self._group_open = not closes_group
        if closes_group:
            self._change_weights()

    def _change_weights(self) -> None:
        self._scaler.unscale_(self._optimizer)
        for penalty in self._penalties:
            penalty(self._model)
        if self._clip_grad is not None:
            nn.utils.clip_grad_norm_(self._params, self._clip_grad)
        factor = self._schedule(self._steps)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        if self._ema is not None:
            self._ema.update(self._model)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model hold the averaged weights inside the block; without an average, its own."""
        with nullcontext() if self._ema is None else self._ema.applied(self._model):
            yield

    def averages(self) -> dict[str, Tensor] | None:
        """Return the averaged weights under the names of the model's state dict, or None."""
        return None if self._ema is None else self._ema.average()

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and the tensors themselves, between two groups."""
        assert not self._group_open, "the gradients of an unfinished group cannot be saved"
        return {
            "steps": self._steps,
            "optimizer": {"kind": type(self._optimizer).__name__, "state": self._optimizer.state_dict()["state"]},
            "scaler": self._scaler.state_dict(),
            "ema": None if self._ema is None else self._ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; tensors are copied to the device of their parameter.

        The file gives the history. Rates, decay and betas stay those that the optimizer was built with.

        Raises:
            UserError: the state was written with another optimizer, model or averaging.
        """
        kind, written = type(self._optimizer).__name__, state["optimizer"]["kind"]
        if kind != written:
            raise UserError(f"the checkpoint was written by {written}, this run uses {kind}; resume with the same --opt")
        if (self._ema is None) != (state["ema"] is None):
            now, then = ("without", "with") if self._ema is None else ("with", "without")
            raise UserError(f"the checkpoint was written {then} --ema, this run is {now} it; resume with the same --ema")
        load_optimizer_state(self._optimizer, state["optimizer"]["state"])
        # A scaler that was off has no state; one that is new starts at its default.
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
        self._steps = state["steps"]


def load_optimizer_state(optimizer: Optimizer, saved: dict[int, dict[str, Any]]) -> None:
    """Give `optimizer` the moments in `saved`, in the memory format that its parameters have now.

    Raises:
        UserError: the moments belong to other parameters.
    """
    params = [param for group in optimizer.param_groups for param in group["params"]]
    moments: dict[int, dict[str, Any]] = {}
    for index, values in saved.items():
        if index >= len(params) or any(_is_misfit(value, params[index]) for value in values.values()):
            raise UserError("the optimizer state in the checkpoint belongs to another model; resume with the --arch that wrote it")
        moments[index] = {key: _laid_out_like(value, params[index]) for key, value in values.items()}
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _is_misfit(value: Any, param: Tensor) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape != param.shape


def _laid_out_like(value: Any, param: Tensor) -> Any:
    """Fused kernels walk memory and ignore strides: a moment must lie exactly as its parameter does."""
    if isinstance(value, Tensor) and value.ndim > 0:
        return torch.empty_like(param, dtype=value.dtype).copy_(value)
    return value.clone() if isinstance(value, Tensor) else value
