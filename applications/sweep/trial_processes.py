"""Trainings in processes of their own, several at a time; an interruption lets each save before it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from utils.cores import available_cores
from utils.environment import ROOT
from utils.interruptible import hear_ctrl_c_alone, interruptible

# Starts main.py in a process that ends when this one has ended.
STARTER = Path(__file__).with_name("watched_process.py")
POLL_SECONDS = 0.1
# What a training of small images takes at least, with torch.
MEMORY_OF_A_JOB = 2 * 1024**3


@dataclass(frozen=True)
class TrialProcess:
    """One training to start.

    Attributes:
        key: by which its end is reported.
        argv: arguments of main.py.
        output: file that its lines are appended to.
    """

    key: Any
    argv: Sequence[str]
    output: Path


def usual_jobs(most: int) -> int:
    """Return how many trainings suit this machine: one per GPU, else one per core, as memory allows; `most` at most."""
    import torch

    from utils.runtime import available_memory

    if torch.cuda.is_available():
        return max(1, min(most, torch.cuda.device_count()))
    return max(1, min(most, available_cores(), available_memory() // MEMORY_OF_A_JOB))


def environment_of(slot: int, jobs: int, gpus: Sequence[str]) -> dict[str, str]:
    """Return the environment of the training in a slot: its GPU, or its share of the cores.

    Args:
        slot: from 0, below `jobs`.
        jobs: trainings at a time.
        gpus: as CUDA_VISIBLE_DEVICES names them; none on a CPU.
    """
    known = dict(os.environ)
    if gpus:
        return {**known, "CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]}
    return {**known, "OMP_NUM_THREADS": known.get("OMP_NUM_THREADS", str(max(1, available_cores() // jobs)))}


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def run_processes(
    next_process: Callable[[], TrialProcess | None], ended: Callable[[Any, int], None], *, jobs: int, gpus: Sequence[str]
) -> None:
    """Run trainings until there are no more.

    Args:
        next_process: returns what to start next; None where there is nothing left.
        ended: called with the key and the exit code of each, in the order in which they end.
        jobs: at a time.
        gpus: what to share among them.

    Raises:
        KeyboardInterrupt: a signal came; the trainings were asked to save, and have ended.
    """
    running: dict[int, tuple[TrialProcess, subprocess.Popen, IO[bytes]]] = {}
    more = True
    with interruptible():
        try:
            while more or running:
                for slot in range(jobs):
                    if more and slot not in running:
                        process = next_process()
                        more = process is not None
                        if process is not None:
                            running[slot] = _start(process, environment_of(slot, jobs, gpus))
                for slot in [slot for slot, (_, child, _) in running.items() if child.poll() is not None]:
                    process, child, output = running.pop(slot)
                    _close(child, output)
                    ended(process.key, child.returncode)
                time.sleep(POLL_SECONDS if running else 0)
        finally:
            _stop([(child, output) for _, child, output in running.values()])


def _start(process: TrialProcess, environment: dict[str, str]) -> tuple[TrialProcess, subprocess.Popen, IO[bytes]]:
    output = process.output.open("ab")
    command = [sys.executable, str(STARTER), str(ROOT / "main.py"), *process.argv]
    # A group of its own: Ctrl-C reaches the sweep alone, which passes it on once. The pipe tells the child when the sweep is gone: its end
    # here is open for as long as this process lives, and no other child has it.
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    return process, child, output


def _close(child: subprocess.Popen, output: IO[bytes]) -> None:
    """Close what was open for a training that has ended."""
    assert child.stdin is not None, "it was given a pipe"
    child.stdin.close()
    output.close()


def _stop(children: Sequence[tuple[subprocess.Popen, IO[bytes]]]) -> None:
    """Ask the trainings to save and end, and wait for them; Ctrl-C, once more, ends them at once."""
    hear_ctrl_c_alone()
    for child, _ in children:
        child.send_signal(signal.SIGINT)
    try:
        for child, _ in children:
            child.wait()
    except KeyboardInterrupt:
        for child, _ in children:
            child.kill()
            child.wait()
        raise
    finally:
        for child, output in children:
            _close(child, output)
