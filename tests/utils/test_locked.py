"""A lock between processes: refused to a second one, or waited for."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import locked

ROOT = Path(__file__).parent.parent.parent
HOLD = """
import sys, time
from pathlib import Path
from utils.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(0.2)
    Path(sys.argv[1] + ".done").touch()
"""


def test_another_process_is_refused_or_waits(tmp_path):
    file = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process"), locked(file):
            pass
        other.stdin.write("\n")
        other.stdin.flush()
        start = time.monotonic()
        told = []
        with locked(file, wait=lambda: told.append("wait")):
            assert (tmp_path / "lock.done").exists(), "not before the other one is done"
        assert told == ["wait"]
        assert time.monotonic() - start < 30
