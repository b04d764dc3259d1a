"""Every flag is used by the action that it is typed for, or refused in one line before anything begins."""

from dataclasses import fields
from pathlib import Path

import pytest

import config
from applications import APPLICATIONS
from applications.settings.flag_use import GROUPS, actions_that_use, is_used, refuse_unused
from applications.settings.options import SECTIONS, Request, flag_metadata
from utils.errors import UserError

FLAGS = [item.name for options in SECTIONS.values() for item in fields(options)]
ACTIONS = sorted(set(APPLICATIONS))
SUBJECTS = {
    "convert_yolov5": ["a.pth", "b.pt"],
    **{name: ["x"] for name in ("predict", "benchmark", "serve", "prepare", "shard", "undo", "table", "list", "write_matrix")},
    **{name: ["train"] for name in ("visual_data", "knowledge", "make_curriculum")},
    "compare": ["x", "y"],
    "sweep": ["lr=1e-4..1e-2"],
    "prune": ["0.3"],
    "convert_labels": ["voc"],
    "export": ["onnx"],
}


def call_of(action: str) -> list[str]:
    """Return a command line that asks for the action and nothing else."""
    resume = ["--resume", "x"] if action in GROUPS["model"] else []
    if action == "explain":
        return ["--visual_data", "test", *resume]
    return ([] if action == "train" else [f"--{action}", *SUBJECTS.get(action, [])]) + resume


@pytest.mark.parametrize("action", ACTIONS)
def test_a_typed_flag_is_used_or_refused_in_one_line(action: str) -> None:
    for name in FLAGS:
        request = Request(action, config.RunConfig(), typed=frozenset({name}))
        if is_used(name, action):
            refuse_unused(request)
            continue
        with pytest.raises(UserError, match=rf"^--{name} belongs to .* and does nothing for .*; leave it out$") as caught:
            refuse_unused(request)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_command_line_asks_who_uses_its_flags(action: str) -> None:
    assert config.parse(call_of(action)).action == action
    unused = "top_k" if action in ("train", "sweep") else "patience"
    with pytest.raises(UserError, match=f"--{unused} belongs to"):
        config.parse([*call_of(action), f"--{unused}", "3"])


@pytest.mark.parametrize("name", FLAGS)
def test_who_uses_a_flag_is_an_action_or_a_group_of_them(name: str) -> None:
    assert flag_metadata(name)["used_for"] <= {*GROUPS, *ACTIONS}
    assert actions_that_use(name) is None or actions_that_use(name)


@pytest.mark.parametrize("argv", [["--sam"], ["--bn_images", "8"], ["--size_schedule", "16:0.5,32"], ["--class_weights", "auto"]])
def test_evaluation_refuses_what_only_training_uses(argv: list[str]) -> None:
    with pytest.raises(UserError, match=f"{argv[0]} belongs to training and does nothing for --evaluation"):
        config.parse(["--evaluation", "--resume", "x", *argv])


def test_all_unused_flags_of_one_owner_are_named_at_once() -> None:
    with pytest.raises(UserError, match="--arch, --batch_size and --lr belong to training and do nothing for --check; leave them out"):
        config.parse(["--check", "--lr", "0.1", "--arch", "resnet18", "-b", "4", "--top_k", "3"])


def test_other_data_may_be_evaluated() -> None:
    argv = ["--evaluation", "--resume", "x", "--data", "y", "--batch_size", "8", "--split", "val", "--image_size", "32", "32"]
    assert config.parse(argv).config.data.data == "y"


def test_settings_of_a_file_are_not_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("sam: 0.05\nbn_images: 8\npatience: 3\nnproc: 2\ntop_k: 3\n")
    for action in ACTIONS:
        assert config.parse(["--config", str(file), *call_of(action)]).action == action


@pytest.mark.parametrize(("argv", "said"), [(["--bn_images", "-1"], "--bn_images must be"), (["--bn_momentum", "2"], "--bn_momentum 2")])
def test_values_out_of_range_are_refused_before_anything_is_built(argv: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config.parse(argv)
