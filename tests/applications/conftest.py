"""A small data set of three colors, and main.py in this process or in one of its own."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from applications.settings.flag_use import is_used

ROOT = Path(__file__).parent.parent.parent
NETS = Path(__file__).parent / "tiny_net.py"
COLORS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 40)}


def write_colors(folder: Path, counts: dict[str, int], *, size: tuple[int, int] = (20, 24)) -> Path:
    """Write folder/<split>/<color>/*.png with `counts` noisy images a class; a split named '' is the folder itself."""
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        for name, color in COLORS.items():
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(color, 40, (*size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with 60 training, 15 validation and 15 test images of three classes."""
    return write_colors(tmp_path_factory.mktemp("data") / "my colors", {"train": 20, "val": 5, "test": 5})


@dataclass
class Outcome:
    """What a call of main.py ended with."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> Path:
        """Return the run folder that the output names."""
        line = next(line for line in self.out.splitlines() if line.startswith("run "))
        return Path(line.split(maxsplit=1)[1])


@dataclass(frozen=True)
class DenseRuns:
    """Runs of the tasks whose answers are for pixels, and their data."""

    scenes: Path
    cloth: Path
    segmenter: Path
    detector: Path


Call = Callable[..., Outcome]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs main.py in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main.main([str(part) for part in argv])
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header."""
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def tiny(data: Path | str, *more: object, net: str = "TinyNet", action: str = "train") -> list[object]:
    """Return the flags of a run of a second, those that the action uses."""
    flags = {"data": [data], "arch": [f"{NETS}:{net}"], "image_size": [16, 16], "epochs": [2], "batch_size": [10], "workers": [0]}
    flags |= {"lr": [0.02], "warmup": [0], "precision": ["fp32"]}
    used = {name: values for name, values in flags.items() if is_used(name, action)}
    return [*(part for name, values in used.items() for part in (f"--{name}", *values)), *more]


@pytest.fixture(autouse=True)
def hang_up_ends() -> Iterator[None]:
    """Let started programs not inherit that SIGHUP is ignored, as where tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def start(*argv: object, folder: Path) -> subprocess.Popen[str]:
    """Start main.py in a process of its own."""
    command = [sys.executable, str(ROOT / "main.py"), *map(str, argv)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_once(*argv: object) -> None:
    """Run main.py in this process for a fixture that several tests share; it must succeed."""
    assert main.main([str(part) for part in argv]) == 0


@pytest.fixture(scope="session")
def labels(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that names several labels."""
    folder = tmp_path_factory.mktemp("labels")
    rows = [
        f"{path},{path.parent.name};{'cold' if path.parent.name != 'red' else 'warm'},{path.parent.parent.name}\n"
        for path in sorted(colors.rglob("*.png"))
    ]
    (folder / "list.csv").write_text("image,labels,split\n" + "".join(rows))
    run_once(*tiny(folder / "list.csv", "--logdir", folder, "--name", "one", "--criterion", "bce", "--epochs", 4))
    return folder / "multilabel" / "one"


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return data and two finished runs: one label per image, several labels per image."""
    from tests.applications.tasks.test_multilabel_runs import BCE, write_squares

    folder = tmp_path_factory.mktemp("evaluated")
    data = write_colors(folder / "data", {"train": 20, "val": 10, "test": 8})
    for split in ("val", "test"):
        # Two images of every class get the label of the next one: mistakes to find.
        for name, other in zip(("blue", "green", "red"), ("green", "red", "blue"), strict=True):
            for number in range(2):
                shutil.copy(data / split / name / f"{number}.png", data / split / other / f"wrong{number}.png")
    squares = write_squares(folder / "squares", 80)
    logs = ("--logdir", folder / "logs")
    assert main.main([str(part) for part in tiny(data, "--name", "one", *logs, "--epochs", 1)]) == 0
    assert main.main([str(part) for part in tiny(squares, *BCE, "--name", "several", *logs)]) == 0
    return {"one": folder / "logs/classify/one", "several": folder / "logs/multilabel/several", "data": data}


@pytest.fixture
def runs(evaluated: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Return copies that a test may change."""
    copies = {name: Path(shutil.copytree(evaluated[name], tmp_path / "runs" / name)) for name in ("one", "several")}
    return {**copies, "data": evaluated["data"]}


@pytest.fixture(scope="session")
def dense_runs(tmp_path_factory: pytest.TempPathFactory) -> DenseRuns:
    """Return a segmenter of crops and a detector of defects, barely trained, and their data."""
    from tests.applications.dense_data import SEGMENT, write_cloth, write_scenes

    home = tmp_path_factory.mktemp("dense")
    scenes, cloth = write_scenes(home / "scenes"), write_cloth(home / "cloth", good=10, tested=2, defective=1)
    run_once("--data", scenes, *SEGMENT, "--epochs", 1, "--logdir", home, "--name", "masks", "--crop")
    detector = ("--arch", "padim(dims=8)", "--encoder", "mobilenetv3_small", "--workers", 0, "--val_share", 0.4)
    run_once("--data", cloth, *detector, "--logdir", home, "--name", "cloth")
    return DenseRuns(scenes, cloth, home / "segment" / "masks", home / "anomaly" / "cloth")
