"""The rate falls when validation stops improving: the one schedule with a memory."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from utils.errors import UserError, nearest


class Plateau:
    """A schedule (steps already made -> factor) times a factor that falls with every plateau of validation.

    Args:
        base: the schedule without any plateau, such as a warm-up.
        metric: the figure of validation to watch, such as 'loss' or 'top1'.
        lower_is_better: which way the figure improves.
        factor: what the rate is multiplied with at a plateau, in (0, 1).
        patience: validations without an improvement that are waited for.
        cooldown: validations after a fall in which nothing is counted.
        threshold: smallest change that counts as an improvement.
        floor: smallest factor.
    """

    def __init__(
        self,
        base: Callable[[float], float],
        *,
        metric: str,
        lower_is_better: bool,
        factor: float,
        patience: int,
        threshold: float,
        floor: float,
        cooldown: int = 0,
    ) -> None:
        self._base = base
        self.metric = metric
        self._sign = -1.0 if lower_is_better else 1.0
        self._fall, self._patience, self._threshold, self._floor = factor, patience, threshold, floor
        self._cooldown = cooldown
        self._factor, self._best, self._waited, self._cooling = 1.0, float("-inf"), 0, 0
        self._noise: Callable[[float], float] = lambda _: 1.0

    def __call__(self, step: float) -> float:
        return self._base(step) * self._factor * self._noise(step)

    def shake(self, noise: Callable[[float], float]) -> None:
        """Multiply by a function of the step from now on."""
        self._noise = noise

    def check(self, known: Collection[str]) -> None:
        """Raise UserError unless validation has the metric to watch.

        Args:
            known: names of its figures.

        Raises:
            UserError: it has not.
        """
        if self.metric not in known:
            has = f"It has {', '.join(known)}"
            raise UserError(f"--schedule plateau: validation has no figure '{self.metric}'.{nearest(self.metric, list(known))} {has}")

    def observe(self, figures: Mapping[str, float]) -> None:
        """Hear one validation.

        Raises:
            UserError: it has no figure of the name.
        """
        self.check(figures)
        value = self._sign * figures[self.metric]
        if value > self._best + self._threshold:
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        if self._waited > self._patience:
            self._factor, self._waited = max(self._factor * self._fall, self._floor), 0
            self._cooling = self._cooldown

    def state_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"factor": self._factor, "best": self._best, "waited": self._waited, "cooling": self._cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._factor, self._best, self._waited = state["factor"], state["best"], state["waited"]
        # Absent in checkpoints that were written before there was a cooldown.
        self._cooling = state.get("cooling", 0)
