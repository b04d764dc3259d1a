"""The trainings of a sweep: which are to be run, how each is called, and what it has reached."""

import json
import math
import shutil
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from applications.settings.optimizer_change import rates_of_another
from applications.sweep.halving import Rung, best_of
from applications.sweep.space import absent, flags_of, shown
from applications.sweep.study import Figure, SweepStudy
from applications.sweep.trial_processes import TrialProcess, run_processes
from applications.tasks import TASKS
from utils.checkpoint import BEST, LAST, load_checkpoint
from utils.distributed import USER_MISTAKE
from utils.errors import UserError
from utils.files import locked
from utils.logs import log

# The name under which the figures of the best with other seeds are kept, in place of a rung.
SEEDS = "seed"
# How many other seeds the best is trained with.
OTHER_SEEDS = 2
# Failures without a single success after which the mistake is taken to be in what all trials share.
MOST_FAILURES = 3
# Exit codes of a training that was asked to stop; it is ended by the signal itself before it can save anything.
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
# How a training says that it may not go on with a run.
TAKEN = "another process is training in"


def shared_by(base: Mapping[str, Any], chosen: Mapping[str, Any], typed: Collection[str]) -> dict[str, Any]:
    """Return the settings of all trials that one of them keeps: with another --opt not the rates that a config file has for its own."""
    other = rates_of_another(base, chosen.get("opt"), kept=typed)
    return {name: value for name, value in base.items() if name not in other}


class AllFailedError(UserError):
    """No trial has worked yet."""


class TrialRunner:
    """Runs what is not yet known of each rung.

    Args:
        folder: of the sweep; the runs lie in runs/TASK below it.
        base: settings that all trials share.
        typed: names of those among them that the command line gives, not a config file.
        study: keeps the figures.
        rungs: lengths of runs.
        jobs: trainings at a time.
        gpus: to share among them.
        seed: of all trials.
    """

    def __init__(
        self,
        folder: Path,
        base: Mapping[str, Any],
        typed: Collection[str],
        study: SweepStudy,
        rungs: Sequence[Rung],
        *,
        jobs: int,
        gpus: Sequence[str],
        seed: int,
    ) -> None:
        self._folder, self._base, self._typed, self._study, self._rungs = folder, base, typed, study, rungs
        self._jobs, self._gpus, self._seed = jobs, gpus, seed
        (folder / "trials").mkdir(exist_ok=True)

    def run_rung(self, rung: int) -> None:
        """Run the trials of a rung that have no figure yet: in the first, proposals; later, the best of the one before.

        Raises:
            AllFailedError: the first trials all failed.
            KeyboardInterrupt: a signal came.
        """
        plan, done = self._rungs[rung], self._study.figures(rung)
        chosen = best_of(self._study.figures(rung - 1), plan.runs) if rung else list(self._study.settings())
        waiting = [number for number in chosen if number not in done]

        def next_process() -> TrialProcess | None:
            if not waiting:
                if rung or len(self._study.settings()) >= plan.runs:
                    return None
                waiting.append(self._study.propose())
            number = waiting.pop(0)
            return self._process((rung, number), _name(rung, number), self.settings_of(number, plan))

        run_processes(next_process, self._ended, jobs=self._jobs, gpus=self._gpus)

    def repeat(self, winner: int) -> None:
        """Train the best settings again with other seeds, on the same split."""
        seeds = [self._seed + more for more in range(1, OTHER_SEEDS + 1) if self._seed + more not in self._study.figures(SEEDS)]
        settings = self.settings_of(winner, self._rungs[-1])

        def next_process() -> TrialProcess | None:
            if not seeds:
                return None
            seed = seeds.pop(0)
            return self._process((SEEDS, seed), _name(SEEDS, seed), {**settings, "seed": seed})

        run_processes(next_process, self._ended, jobs=self._jobs, gpus=self._gpus)

    def settings_of(self, number: int, rung: Rung) -> dict[str, Any]:
        """Return all settings of a trial, at the length of a rung."""
        chosen = self._study.settings()[number]
        return {**shared_by(self._base, chosen, self._typed), **chosen, **rung.settings}

    def headline(self, number: int) -> str:
        """Return the name of the figure, from the longest run of a trial."""
        run = self._run_of(_name(len(self._rungs) - 1, number))
        assert run is not None, "a trial with a figure has a run"
        return TASKS.resolve(load_checkpoint(run / BEST)["task"]).headline

    def reason(self, rung: int | str, numbers: Sequence[int] | Mapping[int, Figure]) -> str:
        """Return why the last of these trials failed: the last line that it wrote."""
        output = self._output(_name(rung, list(numbers)[-1]))
        lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it wrote nothing"])[-1].removeprefix("error: ")

    def _process(self, key: tuple[int | str, int], name: str, settings: Mapping[str, Any]) -> TrialProcess:
        """Return the training that begins a run, or goes on with one that was interrupted."""
        run = self._run_of(name)
        if run is not None:
            wait_for(run)
        if run is not None and (run / LAST).is_file():
            return TrialProcess(key, ["--resume", str(run)], self._output(name))
        if run is not None:
            # It ended before it saved anything.
            shutil.rmtree(run)
        file = self._folder / "trials" / f"{name}.json"
        file.write_text(json.dumps({**settings, "logdir": str(self._folder / "runs"), "name": name}, indent=2) + "\n", encoding="utf-8")
        return TrialProcess(key, ["--config", str(file), *flags_of(absent(settings))], self._output(name))

    def _output(self, name: str) -> Path:
        return self._folder / "trials" / f"{name}.txt"

    def _run_of(self, name: str) -> Path | None:
        return next(iter(sorted((self._folder / "runs").glob(f"*/{name}"))), None)

    def _ended(self, key: tuple[int | str, int], code: int) -> None:
        """Keep what a training has reached."""
        rung, number = key
        name = _name(rung, number)
        if code in STOPPED:
            raise KeyboardInterrupt
        run = self._run_of(name)
        figure = read_figure(run) if code == 0 and run is not None else None
        if code == USER_MISTAKE and self.reason(rung, [number]).startswith(TAKEN):
            raise UserError(f"--sweep: {TAKEN} {run}; the same command goes on when that has ended")
        tried = "" if rung == SEEDS else " ".join(f"{key}={shown(value)}" for key, value in self._study.settings()[number].items())
        if figure is None:
            why = self._why(code, rung, number)
            log().warning(f"{name}{f' ({tried})' if tried else ''} failed: {why}")
            self._stop_when_all_fail(rung, why)
        self._study.tell(rung, number, figure)
        if figure is None or run is None:
            return
        if rung != SEEDS:
            # What only going on with the run needs; best.pt stays.
            (run / LAST).unlink(missing_ok=True)
        log().info(f"{name}  val {figure[0]:.2%}  {tried}".rstrip())

    def _why(self, code: int, rung: int | str, number: int) -> str:
        """Return why a training failed."""
        if code < 0:
            # It could not say so itself, and what an earlier call wrote is no reason.
            memory = " (often for lack of memory)" if code == -signal.SIGKILL else ""
            return f"it was ended by {signal.Signals(-code).name}{memory}"
        return self.reason(rung, [number]) if code else "it ended without a figure of validation"

    def _stop_when_all_fail(self, rung: int | str, why: str) -> None:
        """Raise AllFailedError where no trial has worked yet."""
        known = self._study.figures(0)
        if rung == 0 and len(known) + 1 >= min(MOST_FAILURES, self._rungs[0].runs) and not any(known.values()):
            raise AllFailedError(f"--sweep: the first {len(known) + 1} trials all failed, the last one so: {why}")


def wait_for(run: Path) -> None:
    """Wait until no other process trains in a run: a call that was killed may have left one, which saves before it ends."""
    with locked(run / "log.txt", wait=lambda: log().info(f"waits     {TAKEN} {run}: this sweep goes on when that has ended")):
        pass


def read_figure(run: Path) -> Figure:
    """Return the best validation of a run, (headline figure, minus the loss); None where there is none."""
    if not (run / BEST).is_file():
        return None
    figure, loss = load_checkpoint(run / BEST)["progress"]["best"]
    return (float(figure), float(loss)) if math.isfinite(figure) else None


def _name(rung: int | str, number: int) -> str:
    """Return the name of a run."""
    return f"best-seed-{number}" if rung == SEEDS else f"trial-{number:03}-rung-{rung}"
