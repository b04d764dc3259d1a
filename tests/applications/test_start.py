"""What a run does not use, it does not load: its first second is not spent on that."""

import os
import subprocess
import sys
from pathlib import Path

from tests.applications.conftest import NETS, ROOT, run_once, tiny


def loaded(argv: list[object], folder: Path) -> set[str]:
    """Return the modules that a call of main.py loads."""
    code = "import sys, main\nassert main.main(sys.argv[1:]) == 0\nprint(*sys.modules)"
    command, environment = [sys.executable, "-c", code, *map(str, argv)], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_training_loads_nothing_that_draws_or_fits(colors: Path, tmp_path: Path) -> None:
    # torch's optimizers load its compiler themselves.
    assert not loaded(tiny(colors, "--seed", 0), tmp_path) & {"torchvision", "sklearn", "matplotlib", "pandas"}


def test_an_evaluation_does_not_load_torchs_compiler(colors: Path, tmp_path: Path) -> None:
    run_once(*tiny(colors, "--logdir", tmp_path, "--name", "one"))
    argv = ["--evaluation", "--no_report", "--resume", tmp_path / "classify" / "one", "--split", "val", "--arch", f"{NETS}:TinyNet"]
    assert not loaded(argv, tmp_path) & {"torch._dynamo", "torchvision"}
