"""Several processes: who am I, gather, agree, and the torchrun launcher."""

import json
import logging
import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from signal import SIG_IGN, SIGINT, SIGTERM, Signals, signal
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

from utils.errors import UserError
from utils.program_clock import shared_clock
from utils.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

# Set for the processes that `launch` starts.
LAUNCHER = "DARKROOM_LAUNCHER"
USER_MISTAKE = 2
# Where a process that `launch` started leaves the folder of the run.
RUN_NOTE = "DARKROOM_RUN"
# Exit code of a process that was left alone by another one, which has the real reason.
LEFT_ALONE = 3
# What the libraries say when a process at the other end is gone.
GONE = ("closed by peer", "reset by peer", "broken pipe", "remote process exited", "ncclremoteerror")


@dataclass(frozen=True)
class World:
    """The place of this process among all processes of the run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, in rank order, to all of them."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def sent_to_first(self, make: "Callable[[], Any]") -> "Iterator[Any]":
        """Send what `make` returns to the first process, which yields that of each of the others in rank order, one at a time."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        cpu = torch.device("cpu")
        if not self.is_first:
            dist.send_object_list([make()], dst=0, device=cpu)
            return
        for rank in range(1, self.size):
            received = [None]
            dist.recv_object_list(received, src=rank, device=cpu)
            yield received[0]

    def gather_tensors(self, tensor: "Tensor") -> "list[Tensor]":
        """Return the tensor of every process, in rank order, to all of them; all have one shape. Nothing waits for a GPU."""
        if self.size == 1:
            return [tensor]
        import torch
        import torch.distributed as dist

        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(tensors, tensor)
        return tensors

    def take_from_first(self, tensors: "Iterable[Tensor]") -> None:
        """Overwrite the tensors of every process with those of the first."""
        if self.size > 1:
            import torch.distributed as dist

            for tensor in tensors:
                dist.broadcast(tensor, 0)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def world_from_environment() -> World:
    """Return the world that torchrun describes in the environment; alone without it."""
    if not launched():
        return World()
    return World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))


def open_world(world: World, *, cuda: bool) -> None:
    """Join the other processes, where that has not been done: nccl between GPUs, gloo between CPUs."""
    if world.size == 1:
        return
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        return
    if cuda:
        torch.cuda.set_device(world.local_rank)
    # Objects and stop votes go over gloo, so that they never wait for the GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")


def close_world(world: World) -> None:
    """Leave the group."""
    if world.size > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


class StopVote:
    """Lets all processes stop or save after the same step, when any of them was asked to.

    The vote of a step is collected during the next one, so it costs no waiting.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._pending: tuple[Any, Any] | None = None

    def agreed(self, signal: int, save_is_due: bool) -> tuple[int, bool]:
        """Cast this process's vote (signal number or 0, whether a save is due); return what all agreed on a call ago."""
        if self.world.size == 1:
            return signal, save_is_due
        import torch
        import torch.distributed as dist

        result = (0, False)
        if self._pending is not None:
            work, vote = self._pending
            work.wait()
            result = (int(vote[0]), bool(vote[1]))
        vote = torch.tensor([signal, int(save_is_due)])
        self._pending = (dist.all_reduce(vote, dist.ReduceOp.MAX, async_op=True), vote)
        return result

    def settle(self) -> None:
        """Wait for the last vote: a process must not leave while one is on its way."""
        if self._pending is not None:
            work, _ = self._pending
            self._pending = None
            # The others may be gone already, with an error of their own.
            with suppress(RuntimeError):
                work.wait()


def run_and_exit(program: "Callable[[list[str]], int]", argv: list[str]) -> NoReturn:
    """Run the program and end with its exit code.

    One process of several, or their launcher, ends at once, after a mistake of ours too: torch's threads between processes now and
    then abort an interpreter that is shutting down, and take the exit code with them. By then all is written and the launcher has
    waited for its children; only helpers of this process may be left.
    """
    try:
        code = program(argv)
    except Exception as error:
        if not _in_company():
            raise
        if is_left_alone(error):
            code = LEFT_ALONE
            if LAUNCHER not in os.environ:
                print("error: another process of the run has ended; what it said tells why", file=sys.stderr)
        else:
            # What Python itself would do, before it shuts down.
            traceback.print_exc()
            code = 1
    # All is said and saved: a further Ctrl-C must not break into what Python does as it leaves.
    signal(SIGINT, SIG_IGN)
    if not _in_company():
        sys.exit(code)
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        # Nobody may read it any more.
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def is_left_alone(error: BaseException) -> bool:
    """Whether an error means that a process at the other end of a connection between processes is gone."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(library in text for library in ("gloo", "nccl")) and any(say in text for say in GONE)


def _in_company() -> bool:
    """Whether this is one process of several, or has launched them."""
    return launched() or LAUNCHER in os.environ


def launch(script: str, argv: list[str], *, processes: int, nodes: int = 1, node_rank: int = 0, address: str | None = None) -> int:
    """Start the script once a process through torch's elastic launcher; return its exit code.

    Args:
        script: file to run.
        argv: its arguments.
        processes: processes on this machine.
        nodes: machines of the run.
        node_rank: number of this machine.
        address: tcp://HOST:PORT of machine 0; needed for more than one machine.

    Raises:
        UserError: several machines without an address.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if nodes > 1 and not address:
        raise UserError("--nodes needs --init_method tcp://HOST:PORT, the address of machine 0")
    endpoint = (address or "").removeprefix("tcp://")
    # One thread a core in all, not one a core in each process.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.environ[LAUNCHER] = "darkroom"
    # What the launcher warns of is told by the processes themselves, in one line.
    logging.disable(logging.ERROR)
    with TemporaryDirectory(prefix="darkroom-") as notes, shared_clock():
        os.environ[RUN_NOTE] = os.path.join(notes, "run.txt")
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=processes,
            run_id="darkroom",
            rdzv_backend="static" if nodes > 1 else "c10d",
            rdzv_endpoint=endpoint or "localhost:0",
            rdzv_configs={"rank": node_rank} if nodes > 1 else {},
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=notes),
        )
        try:
            elastic_launch(config, sys.executable)("-u", script, *argv)
        except SignalException as ended:
            return 128 + int(ended.sigval)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode == USER_MISTAKE:
                raise UserError(failure.message) from error
            return _told(error.failures, processes, Path(os.environ[RUN_NOTE]))
        return 0


def _told(failures: "Mapping[int, ProcessFailure]", processes: int, note: Path) -> int:
    """Say in one line which process was killed, and what is left; return the exit code of the first that failed by itself."""
    rows = sorted(failures.items(), key=lambda item: (item[1].exitcode in (LEFT_ALONE, -SIGTERM), item[1].timestamp))
    rank, failure = rows[0]
    if failure.exitcode > 0 and failure.exitcode != LEFT_ALONE:
        # It has said itself what was wrong.
        return failure.exitcode
    if failure.exitcode == LEFT_ALONE:
        what = "a process of another machine has ended"
    else:
        name = Signals(-failure.exitcode).name
        why = " (often for lack of memory)" if name == "SIGKILL" else ""
        what = f"process {rank + 1} of {processes} (pid {failure.pid}) was ended by {name}{why}"
    print(f"error: {what}, so the run stopped; {_left_behind(note)}", file=sys.stderr)
    return 1 if failure.exitcode > 0 else 128 - failure.exitcode


def _left_behind(note: Path) -> str:
    """Return what a run has saved and how to go on, by the note that it left."""
    if not note.is_file():
        return "nothing was saved"
    folder = note.read_text(encoding="utf-8", errors="surrogateescape")
    from utils.checkpoint import LAST, load_checkpoint

    last = Path(folder) / LAST
    if not last.is_file():
        return f"nothing was saved in {folder} yet"
    try:
        progress = load_checkpoint(last)["progress"]
    except (UserError, KeyError):
        return f"{last} cannot be read"
    at = counted(progress["epoch"], "epoch") + (f" and {counted(progress['batch'], 'step')} of the next" if progress["batch"] else "")
    return f"{last} holds {at}: go on with python main.py --resume {quote(folder)}, with the same --nproc or --gpus"


def tell_run(folder: Path) -> None:
    """Leave the folder of the run where our launcher finds it, if there is one."""
    if LAUNCHER in os.environ and RUN_NOTE in os.environ:
        Path(os.environ[RUN_NOTE]).write_text(str(folder), encoding="utf-8", errors="surrogateescape")


def tell_launcher(message: str) -> bool:
    """Leave the message of a mistake where our launcher finds it; False when nobody reads it there.

    Several processes may meet the same mistake, or one alone: the launcher says the first one, once.
    """
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if LAUNCHER not in os.environ or place is None:
        return False
    with open(place, "w", encoding="utf-8") as file:
        json.dump({"message": message, "timestamp": int(time.time())}, file)
    return True
