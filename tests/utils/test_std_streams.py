"""What a terminal, a pipe or a full disk behind stdout cannot take ends no program."""

import subprocess
import sys
from shlex import quote

import pytest

from tests.applications.conftest import ROOT

HEADER = "import sys; from utils.std_streams import open_streams, reader_left; open_streams(); "


def run(code: str, *, shell: str = "{}", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code behind a shell's redirections; `{}` stands for the program."""
    import os

    program = f'{quote(sys.executable)} -c "$CODE"'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(program)}"],
        cwd=ROOT,
        env={**os.environ, "CODE": HEADER + code, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_left_is_noticed_and_nothing_fails() -> None:
    code = "import time\nfor i in range(2000):\n    print('x' * 50, flush=True)\nprint(reader_left(), file=sys.stderr)"
    done = run(code, shell="{} | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 50 + b"\n", b"True\n")


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("{} > /dev/full", b"warning: stdout cannot be written (no space left on device); continuing without it\nFalse\n"),
        ("{} >&-", b"False\n"),
        ("{} 2>&-", b""),
        ("{} 2>/dev/full", b""),
        ("{} <&- >&- 2>&-", b""),
    ],
)
def test_streams_that_are_full_or_closed_end_nothing(shell: str, said: bytes) -> None:
    done = run("print('a' * 99999); sys.stdout.flush(); print('b'); print(reader_left(), file=sys.stderr)", shell=shell)
    assert (done.returncode, done.stderr) == (0, said)


def test_a_file_is_never_taken_for_a_closed_stream() -> None:
    assert run("print(open('main.py').fileno() > 2, file=sys.stderr)", shell="{} <&- >&-").stderr == b"True\n"


def test_what_an_encoding_lacks_is_written_in_escapes() -> None:
    done = run("print('n\\u00e4h \\udcff'); print('\\u2501', file=sys.stderr)", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"n\\xe4h \\udcff\n", b"\\u2501\n")


def test_a_traceback_is_still_printed() -> None:
    done = run("raise ValueError('ours')")
    assert done.returncode == 1
    assert b"ValueError: ours" in done.stderr
