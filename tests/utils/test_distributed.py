"""How a program ends: its exit code, what it said, and who leaves at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from utils.distributed import LAUNCHER

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import atexit, os, sys
from utils.distributed import run_and_exit

def program(argv):
    atexit.register(print, "torn down")
    os.environ.update(pair.split("=") for pair in argv)
    print("said")
    if "MISTAKE" in os.environ:
        raise ArithmeticError("ours")
    return 7

run_and_exit(program, sys.argv[1:])
"""
LAUNCHES, LAUNCHED = f"{LAUNCHER}=darkroom", ("LOCAL_RANK=0", "WORLD_SIZE=1")


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ((), 7, ["said", "torn down"]),
        ((LAUNCHES,), 7, ["said"]),
        ((LAUNCHES, *LAUNCHED), 7, ["said"]),
        (("MISTAKE=1",), 1, ["said", "torn down"]),
        ((LAUNCHES, "MISTAKE=1"), 1, ["said"]),
        ((*LAUNCHED, "MISTAKE=1"), 1, ["said"]),
    ],
    ids=["alone", "launcher", "launched", "mistake alone", "mistake of a launcher", "mistake of a launched one"],
)
def test_processes_in_company_leave_at_once_with_code_and_all_they_said(environment: tuple[str, ...], code: int, said: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *environment], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.splitlines() == said
    assert ("ArithmeticError: ours" in done.stderr) is (code == 1)


def test_an_interrupt_while_leaving_changes_nothing() -> None:
    program = PROGRAM.replace('"torn down")', '"torn down")\n    atexit.register(os.kill, os.getpid(), 2)')
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (7, ["said", "torn down"], "")
