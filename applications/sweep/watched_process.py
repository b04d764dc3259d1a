"""Starts a program, watched_process.py FILE ARGUMENTS, as `python FILE ARGUMENTS` does, in a process that ends when its parent has ended.

The parent holds the other end of the pipe that is the standard input here, so the system closes it however the parent ends, by SIGKILL,
too. A thread notices, on every system. Linux alone has a signal for it (PR_SET_PDEATHSIG); to ask for that between fork and exec is not
safe beside threads.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """Send SIGTERM to this process, after which a training saves, when the standard input has ended."""

    def follow() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, name="end-with-parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    # In place of this folder, as Python itself would have it.
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
