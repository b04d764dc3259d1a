"""The documents are true: commands parse, files exist, flags are known, examples work, tables are complete."""

import ast
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import config
from applications import APPLICATIONS
from applications.explain.methods import METHODS
from criterions import ASSIGNMENTS, BOX_LOSSES, CRITERIONS, DISTILLATIONS, REGION_LOSSES, WEIGHTERS
from criterions.weighted import build_criterion
from dataloader import AUGMENT_PRESETS, AUGMENTS, MIXES, SAMPLERS, SELF_PACED, SOURCES
from dataloader.augment.chain import build_augment
from dataloader.checks import CHECKS
from dataloader.opening.open_catalog import open_catalog
from dataloader.sample import Sample
from dataloader.targets.label import Label
from models import FAMILIES, build_model
from models.detectors import DETECTORS
from models.segmenters import SEGMENTERS
from optim import OPTIMIZERS, SCHEDULES
from optim.optimizers import build_optimizer
from optim.schedules import build_schedule
from utils.randomness import numpy_rng
from utils.spec import parse_specs

ROOT = Path(__file__).parent.parent
GUIDES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md", ROOT / "pretrained/README.md"])
SCRIPTS = sorted((ROOT / "z_task_shell").glob("*.sh"))
FOLDERS = "applications|benchmarks|criterions|data|dataloader|demos|docs|models|optim|pretrained|tests|utils|z_task_shell"
# Flags of pip, pytest, torchrun, docker and the benchmarks, which the documents mention beside our own.
FOREIGN_FLAGS = {
    "--weights",
    "--formats",
    "--runs",
    "--only",
    "--timm_train",
    "--ultralytics",
    "--nproc_per_node",
    "--logdir",
    "--rm",
    "--build",
    "--model",
    "--hang_seconds",
    "--seconds",
    "--rounds",
    "--counts",
    "--seeds",
    "--starts",
    "--extras",
}


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def inline_code(text: str) -> list[str]:
    """Return what stands between single backticks; a bar in a table is escaped."""
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))]


def code_lines(file: Path) -> list[str]:
    """Return the lines of code of a document or a script, continued ones joined."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sh":
        return text.replace("\\\n", " ").splitlines()
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", text, flags=re.S))
    return [*blocks.replace("\\\n", " ").splitlines(), *inline_code(text)]


def commands(file: Path) -> list[str]:
    found = (re.match(r"(?:COLUMNS=\d+ )?(?:python|torchrun .*?) ?main\.py\b(.*)", line.strip()) for line in code_lines(file))
    return [match.group(1).strip() for match in found if match]


def arguments(command: str) -> list[str]:
    """Return the argv of a command, with stand-ins for what the shell would fill in."""
    command = command.replace('--resume "$@"', "--resume RUN").replace('"$@"', "")
    command = re.sub(r'"\$\{\w+\[@\]\}"', "", command)
    command = command.replace("--arch NAME", "--arch resnet18").replace("--opt NAME", "--opt sgd")
    return shlex.split(command.partition(" > ")[0], comments=True)


CALLS = [(name_of(file), command) for file in [*DOCUMENTS, *SCRIPTS] for command in commands(file)]


@pytest.mark.parametrize("command", [pytest.param(command, id=f"{file}: {command}") for file, command in CALLS])
def test_every_command_is_understood(command: str) -> None:
    argv = arguments(command)
    if "--help" in argv:
        return
    # The files of settings need not exist here.
    for flag in {"--config", "--aug_config"} & set(argv):
        where = argv.index(flag)
        del argv[where : where + 2]
    config.parse(argv)


def test_the_commands_are_found() -> None:
    assert len(CALLS) > 40
    assert {file for file, _ in CALLS} >= {"README.md", "docs/training.md", "z_task_shell/2_train.sh"}


def known_flags() -> set[str]:
    ours = {flag for action in config.build_parser()._actions for flag in action.option_strings}
    demos = set(re.findall(r'"(--\w+)"', "".join(file.read_text(encoding="utf-8") for file in (ROOT / "demos").glob("*.py"))))
    return ours | demos | FOREIGN_FLAGS


@pytest.mark.parametrize("file", DOCUMENTS, ids=name_of)
def test_every_flag_exists(file: Path) -> None:
    text = "\n".join(code_lines(file))
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9_]*", text)) - {"--no_"}
    assert flags <= known_flags(), f"unknown: {sorted(flags - known_flags())}"


def new_files() -> set[str]:
    """Return the files that the recipes of CONTRIBUTING.md and the guides tell the reader to write."""
    return {name for file in DOCUMENTS for name in examples(file)}


@pytest.mark.parametrize("file", DOCUMENTS, ids=name_of)
def test_every_file_that_is_named_exists(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)]
    pattern = re.compile(rf"(?:python |bash )?((?:{FOLDERS})/[\w/.]*)(?=$| )")
    named = {ROOT / match.group(1) for code in code_lines(file) for match in [pattern.match(code)] if match}
    wanted = {(file.parent / link).resolve() for link in links if link} | named
    expected = {ROOT / name for name in new_files()} | {ROOT / "tests/models/families/test_plain.py"}
    # The example of a new task is not written.
    expected |= {path for path in named if "saliency" in path.name}
    # What a user puts there is no part of the tree.
    expected |= {path for path in named if ROOT / "data" in path.parents or ROOT / "pretrained" in path.parents}
    assert not sorted(str(path) for path in wanted - expected if not path.exists())


def headings(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DOCUMENTS, ids=name_of)
def test_every_link_into_a_page_has_its_heading(file: Path) -> None:
    for page, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", file.read_text(encoding="utf-8")):
        assert anchor in headings((file.parent / page).resolve() if page else file)


def test_readme_names_every_application() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    asked_otherwise = {"train": "python main.py --data", "explain": "python main.py --visual_data test --resume"}
    for name in APPLICATIONS:
        assert asked_otherwise.get(name, f"python main.py --{name}") in text, f"the table of README.md lacks --{name}"


TABLES = {
    "docs/distill.md": [*DISTILLATIONS],
    "docs/curriculum.md": [*SELF_PACED],
    "docs/losses.md": [*CRITERIONS, *WEIGHTERS],
    "docs/segment_networks.md": [*SEGMENTERS, *REGION_LOSSES],
    "docs/detect_networks.md": [*DETECTORS, *ASSIGNMENTS, *BOX_LOSSES],
    "docs/optimizers.md": [*OPTIMIZERS, *SCHEDULES],
    "docs/data.md": [*SOURCES],
    "docs/explain.md": [*METHODS],
    "docs/augmentation.md": [*AUGMENTS, *AUGMENT_PRESETS, *MIXES, *SAMPLERS],
    "docs/check.md": [*CHECKS],
    "docs/models.md": [name for family in FAMILIES.values() for name in (family.variants[0], family.variants[-1])],
}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in TABLES.items() for name in names])
def test_the_guides_name_every_row_of_the_tables(file: str, name: str) -> None:
    assert re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", (ROOT / file).read_text(encoding="utf-8")), f"{file} lacks {name}"


def test_architecture_lists_what_a_checkpoint_holds() -> None:
    """Read from the source: the dict of `checkpoint_content`, and what saver, writer and task add."""
    tree = ast.parse((ROOT / "applications/assemble/checkpoint_content.py").read_text(encoding="utf-8"))
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "checkpoint_content")
    content = next(node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    assert isinstance(content, ast.Dict)
    keys = {key.value for key in content.keys if isinstance(key, ast.Constant)}
    keys |= {"format", "probe", "epoch", "progress", "temperature", "thresholds"}
    section = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("### Checkpoint")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, flags=re.M)
    assert {name for row in rows for name in inline_code(row)} == keys


def test_the_changelog_has_a_place_for_what_comes() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", DOCUMENTS, ids=name_of)
def test_no_figure_is_left_to_fill_in(file: Path) -> None:
    assert "@FILL" not in file.read_text(encoding="utf-8")


def examples(file: Path) -> dict[str, str]:
    """Return file name -> code of the Python examples that are introduced by a file name."""
    return dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)```", file.read_text(encoding="utf-8"), flags=re.S | re.M))


RECIPES_PAGE = examples(ROOT / "CONTRIBUTING.md")
MODELS_PAGE = examples(ROOT / "docs/models.md")


@pytest.fixture
def written(tmp_path: Path):
    """Return a function that writes an example under a name of its own, as a user's file."""
    made = []

    def write(code: str) -> Path:
        made.append(f"documented_example_{len(made)}")
        path = tmp_path / f"{made[-1]}.py"
        path.write_text(code, encoding="utf-8")
        return path

    yield write
    for name in made:
        sys.modules.pop(name, None)


def test_the_example_model_keeps_the_contract(written) -> None:
    build = "def build(num_classes):\n    return Plain('plain_small', num_classes=num_classes)\n"
    path = written(RECIPES_PAGE["models/families/plain.py"] + "\n\n" + build)
    model = build_model(f"{path}:build", num_classes=4).eval()
    images = torch.rand(2, 3, 64, 96)
    shapes = [tuple(each.shape[1:]) for each in model.forward_features(images)]
    assert shapes == [(info.channels, 64 // info.stride, 96 // info.stride) for info in model.feature_info]
    assert model(images).shape == (2, 4)
    model.reset_classifier(7)
    assert model(images).shape == (2, 7)


def test_the_example_network_of_a_user_works(written) -> None:
    path = written(MODELS_PAGE["my_net.py"])
    assert build_model(f"{path}:Net", num_classes=5)(torch.rand(2, 3, 20, 30)).shape == (2, 5)


def test_the_example_loss_is_its_formula(written) -> None:
    path = written(RECIPES_PAGE["criterions/generalized.py"])
    logits, targets = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    p = float(logits.softmax(1)[0, 2])
    loss = build_criterion(parse_specs(f"{path}:generalized(q=0.5)"))(logits, targets, torch.ones(1))
    assert float(loss) == pytest.approx((1 - p**0.5) / 0.5, rel=1e-5)


def test_the_example_weighter_doubts_hard_samples(written) -> None:
    path = written(RECIPES_PAGE["criterions/weighters/doubt.py"])
    logits, targets = torch.tensor([[1.0, -2.0, 0.5], [1.0, -2.0, 0.5]]), torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    p = logits[0].softmax(0)[[2, 1]].numpy()
    factors = 1 - 0.8 * (1 - p)
    loss = build_criterion(parse_specs(f"softmax|{path}:Doubt(0.8)"))(logits, targets, torch.ones(2))
    assert float(loss) == pytest.approx((-np.log(p) * factors).sum() / factors.sum(), rel=1e-5)


def test_the_example_augmentation_blurs(written) -> None:
    path = written(RECIPES_PAGE["dataloader/augment/blur.py"])
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    result = build_augment(f"{path}:Blur(1.5, p=1.0)")(Sample(image, Label(1)), numpy_rng(3)).image
    assert result.shape == image.shape
    assert result.std() < image.std()


def test_the_example_source_opens(written, tmp_path: Path) -> None:
    path = written(RECIPES_PAGE["dataloader/sources/drawings.py"])
    catalog = open_catalog(f"{path}:open_drawings", home=tmp_path / "home")
    assert catalog.classes == ("circle", "square")
    assert sum(map(len, catalog.splits.values())) == 40


def test_the_example_optimizer_remembers_its_largest_gradient(written) -> None:
    path = written(RECIPES_PAGE["optim/amsgrad.py"])
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(f"{path}:build_amsgrad", model, lr=0.1, momentum=0.0, weight_decay=0.0, opt_args="betas=(0.0,0.0)")
    before = model.weight.detach().clone()
    for gradient in (4.0, 1.0):
        model.weight.grad = torch.full((1, 2), gradient)
        optimizer.step()
    # The first step is the rate itself; the second is still divided by the gradient of the first.
    torch.testing.assert_close(model.weight.detach(), before - 0.1 - 0.1 / 4)


def test_the_example_schedule_falls_with_the_root(written) -> None:
    path = written(RECIPES_PAGE["optim/root.py"])
    schedule = build_schedule(f"{path}:build_root(power=0.5)", epochs=10, steps_per_epoch=4, warmup=1)
    assert schedule(4) == pytest.approx(1.0)
    assert schedule(19) == pytest.approx(0.5)


def test_the_example_application_counts(written, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from utils.logs import log
    from utils.registry import import_user_code

    for label, count in (("cat", 4), ("dog", 6)):
        (tmp_path / "animals" / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (4, 4)).save(tmp_path / "animals" / label / f"{number}.png")
    run = import_user_code(f"{written(RECIPES_PAGE['applications/listing/count.py'])}:run", "application")
    monkeypatch.setattr(log(), "propagate", True)
    with caplog.at_level("INFO", logger=log().name):
        assert run(config.parse(["--data", str(tmp_path / "animals")])) == 0
    lines = {tuple(record.getMessage().split()) for record in caplog.records}
    assert sum(int(count) for _, label, count in lines if label == "dog") == 6
