"""Every script of z_task_shell runs, at toy size, from another directory."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "z_task_shell"
TOY = ("--epochs", "1", "--arch", "mobilenetv3_small", "-j", "0", "-b", "128")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the program beside the environment of this one, so that runs land in the copy."""
    if not (ROOT / ".venv" / ".installed").is_file():
        pytest.skip("the environment was not made by z_task_shell/test.sh")
    copy = tmp_path_factory.mktemp("house") / "dark room"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "data", "pretrained", "__pycache__", ".pytest_cache", "tests")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


def run(house: Path, script: str, *flags: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", str(house / "z_task_shell" / script), *flags], cwd="/", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_script_is_run_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for script in SCRIPTS.glob("*.sh"):
        if script.name not in ("_environment.sh", "test.sh", "nightly.sh"):
            assert f'"{script.name}"' in tested, script


def test_a_full_disk_is_said_before_anything_is_downloaded(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "z_task_shell")
    for name in ("df", ".venv/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\ndisk 90000000 87000000 3000000\\n'\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        ["bash", str(tmp_path / "z_task_shell/test.sh")], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert said.returncode == 2
    assert said.stderr.startswith("error: the packages and their downloads take up to 10 GB, and 3 GB are free")
    assert not (tmp_path / ".venv/install.log").exists()


# What the export says at its end, and what is run on each written file, task by task.
DEMOS = {"classify": "classifier", "segment": "segmenter", "detect": "detector", "anomaly": ""}


@pytest.mark.parametrize("task", DEMOS)
def test_exported_files_are_opened_by_the_demo_of_their_task(task: str, tmp_path: Path) -> None:
    """All of them were given to the demo of classifiers."""
    shutil.copytree(SCRIPTS, tmp_path / "z_task_shell")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    next_line = f'echo "next: python demos/{DEMOS[task]}.py $5/model.onnx IMAGE_OR_FOLDER"' if DEMOS[task] else ":"
    python.write_text(f'#!/bin/sh\necho "$@" >>asked\n[ "$2" != --export ] || {next_line}\n')
    python.chmod(0o755)
    for name in ("requirements.lock", "requirements.txt", "requirements-test.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv/.installed").write_bytes(subprocess.run(["cksum"], input=b"", capture_output=True, check=True).stdout)
    said = run(tmp_path, "8_export.sh", f"runs/{task}/one", "onnx,openvino,aoti", "a photo.jpg")
    asked = (tmp_path / "asked").read_text().splitlines()
    wanted = [f"main.py --export onnx,openvino,aoti --resume runs/{task}/one"]
    for file in (f"runs/{task}/one/model.onnx", f"runs/{task}/one/model.xml"):
        wanted += [f"main.py --evaluation --no_report --resume {file}"]
        wanted += [f"demos/{DEMOS[task]}.py {file} a photo.jpg"] if DEMOS[task] else []
    assert asked == wanted
    assert ("no demo opens these files" in said) == (not DEMOS[task])


def test_the_model_table(house: Path) -> None:
    assert "1820.16 M" in run(house, "1_model_info.sh")


def test_the_data_check(house: Path) -> None:
    assert "0 errors" in run(house, "0_check_data.sh", "--name", "digits")
    assert (house / "runs/check/digits/check.html").is_file()


@pytest.mark.slow
def test_the_learning_rate_search(house: Path) -> None:
    run(house, "0_find_learning_rate.sh", *TOY, "--name", "rates")
    assert (house / "runs/find_lr/rates/find_lr.png").is_file()


@pytest.mark.slow
def test_training_evaluation_conversion_and_demo(house: Path) -> None:
    run(house, "2_train.sh", *TOY, "--name", "one")
    assert "top1" in run(house, "4_evaluate.sh", "runs/classify/one")
    assert "index.html" in run(house, "5_visualize.sh", "runs/classify/one", "--limit", "4")
    assert "0.png" in run(house, "8_export.sh", "runs/classify/one", "torchscript", "data/digits/test/3")
    assert "course 1" in run(house, "6_make_curriculum.sh", "runs/classify/one", *TOY)
    assert "distill   distill.txt" in run(house, "7_knowledge.sh", "runs/classify/one", *TOY)


@pytest.mark.slow
def test_what_is_written_about_other_data_is_read_from_there(house: Path) -> None:
    """The first step wrote beside the data of the run, the training read beside --data."""
    run(house, "2_train.sh", *TOY, "--name", "here")
    data = house / "moved digits"
    shutil.copytree(house / "data/digits", data, ignore=shutil.ignore_patterns("*.txt"))
    assert "course 1" in run(house, "6_make_curriculum.sh", "runs/classify/here", "--data", str(data), *TOY)
    assert "distill   distill.txt" in run(house, "7_knowledge.sh", "runs/classify/here", f"--data={data}", *TOY)
    assert {"curriculum.txt", "distill.txt"} <= {file.name for file in data.iterdir()}


@pytest.mark.slow
def test_training_with_several_processes(house: Path) -> None:
    assert "2 processes" in run(house, "3_train_distributed.sh", *TOY, "--name", "two")


@pytest.mark.slow
def test_preparing_and_packing(house: Path) -> None:
    run(house, "9_prepare_data.sh", "data/small", "--data", "digits", "--smaller_side", "16")
    assert (house / "data/small/mean_std.json").is_file()
    assert (house / "data/small-shards/manifest.json").is_file()


@pytest.mark.slow
def test_segmentation(house: Path) -> None:
    said = run(house, "10_segment.sh", "--epochs", "1", "--epoch_size", "64", "-j", "0")
    assert "mIoU" in said
    for line in said.splitlines():
        if line.startswith("  runs/"):
            assert (house / line.split()[0]).exists()
    folder = said.partition("The run is in ")[2].partition(". Open")[0]
    images = "data/shapes/images/test/star"
    answers = [line for line in run(house, "8_export.sh", folder, "torchscript", images).splitlines() if line.startswith(images)]
    assert len(answers) == len(list((house / images).iterdir()))
    assert all("%" in line for line in answers)


def test_the_quickstart(house: Path) -> None:
    said = run(house, "quickstart.sh", *TOY)
    assert "labels agree" in said
    for line in said.splitlines():
        if line.startswith("  runs/"):
            assert (house / line.split()[0]).is_file()


@pytest.mark.slow
def test_finding_anomalies(house: Path) -> None:
    said = run(house, "11_find_anomalies.sh", "--encoder", "mobilenetv3_small", "-j", "0")
    assert "test: AUROC" in said
    for line in said.splitlines():
        if line.startswith("  runs/"):
            assert (house / line.split()[0]).exists()
    folder = said.partition("The run is in ")[2].partition(". Open")[0]
    assert "no demo opens these files" in run(house, "8_export.sh", folder, "torchscript", "data/weave/test/hole")


@pytest.mark.slow
def test_the_way_from_good_parts_to_kinds_of_defects(house: Path) -> None:
    said = run(house, "13_from_good_parts_to_kinds.sh", "--encoder", "mobilenetv3_small", "-j", "0")
    assert "test: top1" in said
    shown = [line.split()[0] for line in said.splitlines() if line.startswith("  runs/")]
    assert len(shown) == 4
    assert all((house / each).exists() for each in shown)


@pytest.mark.slow
def test_detection(house: Path) -> None:
    said = run(house, "12_detect.sh", "--epochs", "2", "--epoch_size", "256", "-j", "0")
    assert "test: AP" in said
    assert "0 errors" in said
    for line in said.splitlines():
        if line.startswith("  runs/"):
            assert (house / line.split()[0]).exists()
