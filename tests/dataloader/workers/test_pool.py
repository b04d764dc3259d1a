import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch

from dataloader.cache.fill import fill
from dataloader.images.picture import Picture, whole
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.workers.pool import CurrentReads
from utils.errors import UserError


def train_loader(split, *, workers, read=None):
    return Loader(split, Preprocess(image_size=(8, 8)), workers=workers, batch_size=4, seed=3, shuffle=True, read=read)


def test_close_ends_the_workers_even_in_the_middle_of_an_epoch(make_split):
    before = len(multiprocessing.active_children())
    loader = train_loader(make_split(30), workers=2)
    walk = loader.batches(0)
    next(walk)
    assert len(multiprocessing.active_children()) == before + 2
    loader.close()
    deadline = time.monotonic() + 5
    while len(multiprocessing.active_children()) > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(multiprocessing.active_children()) == before


def test_workers_leave_signals_to_the_main_process(make_split):
    loader = train_loader(make_split(30), workers=1)
    walk = loader.batches(0)
    next(walk)
    (child,) = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGINT)
    os.kill(child.pid, signal.SIGTERM)
    os.kill(child.pid, signal.SIGHUP)
    assert len(list(walk)) == len(loader) - 1
    assert child.is_alive()
    loader.close()


def test_a_worker_that_dies_is_explained(make_split):
    handler = signal.getsignal(signal.SIGCHLD)
    loader = train_loader(make_split(60), workers=1)
    walk = loader.batches(0)
    next(walk)
    (child,) = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"loader process died.* \(exit code -9\).*-j 1"):
        list(walk)
    loader.close()
    assert signal.getsignal(signal.SIGCHLD) == handler


def _crash_at_17(index: int) -> Picture:
    if index == 17:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(np.zeros((6, 6, 3), np.uint8))


# torch looks for dead processes every five seconds.
@pytest.mark.slow
def test_the_file_that_crashes_its_decoder_is_named(make_split, tmp_path):
    split = make_split(40)
    loader = train_loader(split, workers=2, read=_crash_at_17)
    with pytest.raises(UserError, match=r"died at .*train/017\.png \(exit code -11\)"):
        list(loader.batches(0))
    loader.close()
    (tmp_path / "pixels").touch()
    with pytest.raises(UserError, match=r"died at .*train/017\.png \(exit code -11\)"):
        fill(_crash_at_17, 40, str(tmp_path / "pixels"), workers=2, advance=int, name=split.file)


@pytest.mark.parametrize(
    "ending", ["raise ValueError('stop')", "pass", "import os, signal; os.kill(os.getpid(), signal.SIGINT); walk.send(None)"]
)
def test_nothing_hangs_when_the_main_process_ends_in_the_middle_of_an_epoch(make_split, tmp_path, ending):
    make_split(40)
    script = f"""
        import signal
        from pathlib import Path
        import numpy as np
        # A shell's background jobs ignore Ctrl-C, and the tests may be one.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from dataloader.splits.catalog import Split
        from dataloader.loading.loader import Loader
        from dataloader.images.preprocess import Preprocess
        root = Path({str(tmp_path)!r})
        split = Split("train", root, tuple(f"train/{{i:03d}}.png" for i in range(40)), np.zeros(40, dtype=np.int64))
        loader = Loader(split, Preprocess((8, 8)), batch_size=4, workers=2, seed=0, shuffle=True)
        walk = loader.batches(0)
        next(walk)
        {ending}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    expected = {"pass": 0, "raise ValueError('stop')": 1}.get(ending, -signal.SIGINT)
    assert done.returncode == expected, done.stderr


def test_workers_can_be_started_from_a_thread(make_split):
    loader = train_loader(make_split(12), workers=1)
    counts = []
    thread = threading.Thread(target=lambda: counts.append(len(list(loader.batches(0)))))
    thread.start()
    thread.join(timeout=30)
    loader.close()
    assert counts == [3]


def test_a_loader_that_nobody_holds_ends_its_workers(make_split):
    loader = train_loader(make_split(30), workers=1)
    walk = loader.batches(0)
    next(walk)
    (child,) = multiprocessing.active_children()
    del walk, loader
    child.join(timeout=5)
    assert child.exitcode is not None


def test_the_image_of_a_process_is_found_by_its_number_alone():
    notes = CurrentReads(3)
    notes._rows[:] = torch.tensor([[111, 3], [222, 17], [333, -1]])
    assert [notes.last_of(process) for process in (222, 111, 333, 444, None)] == [17, 3, None, None, None]
