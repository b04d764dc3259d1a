"""The study of a sweep: proposals by Optuna, and every figure, in a journal that outlives the call."""

import itertools
import json
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from applications.sweep.space import Parameter
from utils.errors import UserError
from utils.randomness import Stream, derive_seed, numpy_rng

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

# Trials that are drawn at random before earlier ones are learned from.
RANDOM_TRIALS = 8
# Proposals of settings that were tried before, after which other ones are drawn at random.
MOST_REPEATED = 20
# A space of no more settings is listed where one is to be drawn that was not tried.
MOST_LISTED = 10_000

# (headline figure, minus the loss); None for a run that failed.
Figure = tuple[float, float] | None


def check_installed() -> None:
    """Raise UserError when Optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError("--sweep needs optuna, which is not installed: pip install optuna") from error


class SweepStudy:
    """Trials and their figures, as they are kept in a folder.

    A proposal follows from the seed, its number and the figures known at that time, so that an interrupted sweep of one job proposes
    what an unbroken one does.

    Args:
        file: the journal; it is made where there is none.
        space: what is varied.
        seed: of the proposals.
    """

    def __init__(self, file: Path, space: Sequence[Parameter], seed: int) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._seed = space, seed
        storage = JournalStorage(JournalFileBackend(str(file)))
        self._study: Study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)

    def settings(self) -> dict[int, dict[str, Any]]:
        """Return number -> settings of every trial, also of those that were asked for by an earlier call and not told."""
        return {
            trial.number: self._decoded(trial.params)
            for trial in self._study.get_trials(deepcopy=False)
            if "repeated" not in trial.user_attrs and len(trial.params) == len(self._space)
        }

    def figures(self, rung: int | str) -> dict[int, Figure]:
        """Return number -> figure of the trials that ended in this rung."""
        kept = self._study.user_attrs
        prefix = f"{rung}/"
        return {
            int(name.removeprefix(prefix)): None if value is None else (value[0], value[1])
            for name, value in kept.items()
            if name.startswith(prefix)
        }

    def propose(self) -> int:
        """Return the number of a new trial, of settings that no other one has."""
        from optuna.trial import TrialState

        known = [json.dumps(values, sort_keys=True) for values in self.settings().values()]
        for _ in range(MOST_REPEATED):
            trial = self._ask()
            if json.dumps(self._decoded(trial.params), sort_keys=True) not in known:
                return trial.number
            trial.set_user_attr("repeated", True)
            self._study.tell(trial.number, state=TrialState.FAIL)
        chosen = self._drawn(known, numpy_rng(Stream.SWEEP, self._seed, len(known), 0))
        self._study.enqueue_trial({each.name: _encoded(each, chosen[each.name]) for each in self._space})
        return self._ask().number

    def _drawn(self, known: Collection[str], rng: Generator) -> dict[str, Any]:
        """Return settings, drawn at random, that are not among the known ones, of which there are fewer than settings."""
        count = count_settings(self._space)
        if count is not None and count <= MOST_LISTED:
            left = [values for values in every_setting(self._space) if json.dumps(values, sort_keys=True) not in known]
            return left[int(rng.integers(len(left)))]
        # Nearly all are unknown.
        while True:
            chosen = random_setting(self._space, rng)
            if json.dumps(chosen, sort_keys=True) not in known:
                return chosen

    def tell(self, rung: int | str, number: int, figure: Figure) -> None:
        """Keep the figure of a run; that of the first rung is what later proposals learn from."""
        from optuna.trial import TrialState

        # Kept before Optuna is told: a call that ends between the two tells it when it comes back.
        self._study.set_user_attr(f"{rung}/{number}", figure)
        if rung == 0:
            values, state = (None, TrialState.FAIL) if figure is None else (figure[0], None)
            self._study.tell(number, values, state, skip_if_finished=True)

    def catch_up(self) -> None:
        """Tell Optuna what an interrupted call had kept only, and drop proposals that were not whole."""
        from optuna.trial import TrialState

        for number, figure in self.figures(0).items():
            self.tell(0, number, figure)
        whole = self.settings()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in whole:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _ask(self) -> "Trial":
        from optuna.samplers import TPESampler

        number = len(self._study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            # constant_liar keeps trials that run side by side apart; it is marked experimental.
            warnings.simplefilter("ignore")
            seed = derive_seed(Stream.SWEEP, self._seed, number) % 2**31
            self._study.sampler = TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True)
            return self._study.ask({each.name: _distribution(each) for each in self._space})

    def _decoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a trial; choices are kept as their numbers."""
        return {each.name: each.choices[params[each.name]] if each.choices else params[each.name] for each in self._space}


def _encoded(parameter: Parameter, value: Any) -> Any:
    return parameter.choices.index(value) if parameter.choices else value


def _distribution(parameter: Parameter) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.choices:
        return CategoricalDistribution(tuple(range(len(parameter.choices))))
    if parameter.whole:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.is_logarithmic)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.is_logarithmic)


def count_settings(space: Sequence[Parameter]) -> int | None:
    """Return how many combinations of values there are; None for endless ones."""
    counts = [each.count for each in space]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def every_setting(space: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Return all combinations of values, of a space in which they can be counted."""
    names = [each.name for each in space]
    return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*(each.values or () for each in space))]


def random_setting(space: Sequence[Parameter], rng: Generator) -> dict[str, Any]:
    """Return one combination of values, all equally likely."""

    def drawn(each: Parameter) -> Any:
        values = each.values
        return rng.uniform(each.low, each.high) if values is None else values[int(rng.integers(len(values)))]

    return {each.name: drawn(each) for each in space}
