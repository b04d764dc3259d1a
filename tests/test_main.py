"""The program ends in one line, whatever happens before it runs: a package that is missing, Ctrl-C while it is imported."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from utils.environment import explain_missing

ROOT = Path(__file__).parent.parent
INTERRUPTED_AT = """
import os, runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.path.insert(0, {root!r})
sys.argv = ["main.py", "--list", "models"]
runpy.run_path({root!r} + "/main.py", run_name="__main__")
"""


def ended(*command: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, *command], cwd="/", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("flags", [(), ("--list", "models"), ("--check", "--data", "digits")], ids=["bare", "list", "check"])
def test_without_the_packages_one_line_names_the_python_and_what_to_install(flags: tuple[str, ...]) -> None:
    # -S leaves out the folder of installed packages.
    code, out, err = ended("-S", str(ROOT / "main.py"), *flags)
    assert (code, out) == (2, "")
    assert err.startswith("error: the package ")
    assert sys.executable in err
    assert err.rstrip().endswith(f"-m pip install -r {shlex.quote(str(ROOT / 'requirements.txt'))}")
    assert err.count("\n") == 1


def test_a_module_of_our_own_that_is_missing_is_no_users_mistake() -> None:
    assert not explain_missing(ModuleNotFoundError("no", name="utils.nothing"))
    assert not explain_missing(ModuleNotFoundError("no", name="config"))
    assert "package nothing_of_the_kind " in explain_missing(ModuleNotFoundError("no", name="nothing_of_the_kind.part"))


@pytest.mark.parametrize("module", ["utils.std_streams", "utils.distributed", "config", "utils.flags", "rich"])
def test_an_interrupt_while_modules_are_imported_is_one_word(module: str) -> None:
    assert ended("-c", INTERRUPTED_AT.format(module=module, root=str(ROOT))) == (130, "", "interrupted\n")
