"""--info and --list: the figures of published tables, every row of every table."""

import pytest

from applications import APPLICATIONS
from applications.listing.tables import TABLES, rows
from applications.tasks import TASKS
from models import list_models
from tests.applications.conftest import Call


@pytest.mark.parametrize(
    ("arch", "parameters", "multiply_adds"), [("resnet18", "11.18 M", "1820.16 M"), ("resnet50", "23.52 M", "4109.68 M")]
)
def test_info_prints_the_published_figures(call: Call, arch: str, parameters: str, multiply_adds: str) -> None:
    outcome = call("--info", "--arch", arch, "--num_classes", 6, "--image_size", 224, 224)
    assert outcome.code == 0, outcome.err
    figures = {line.split("  ")[0]: line for line in outcome.out.splitlines() if line}
    assert figures["parameters"].split(maxsplit=1)[1] == parameters
    assert multiply_adds in figures["multiply-adds"]
    assert "forward time" in figures
    assert "layer4.1" in outcome.out


@pytest.mark.parametrize("subject", ["models", "weights", *TABLES])
def test_every_table_is_printed_whole(call: Call, subject: str) -> None:
    outcome = call("--list", subject)
    assert outcome.code == 0, outcome.err
    for name, _ in rows(subject):
        assert name in outcome.out
    if subject == "models":
        assert all(name in outcome.out for name in list_models())


def test_every_application_and_task_can_be_resolved() -> None:
    for table in (APPLICATIONS, TASKS):
        for name in table:
            assert callable(table.resolve(name))
            assert table[name].help


def test_models_are_listed_with_what_they_cost_and_what_their_weights_claim(call: Call) -> None:
    outcome = call("--list", "models", "--filter", "deit_tiny_pat*")
    assert outcome.code == 0, outcome.err
    header, row, count = [line.split() for line in outcome.out.splitlines() if line]
    assert count == ["1", "of", "the", str(len(list_models())), "networks", "written", "here"]
    assert header == ["name", "parameters", "multiply-adds", "input", "top-1", "license"]
    assert row == ["deit_tiny_patch16_224", "5.72", "M", "1.25", "G", "224x224", "72.2%", "Apache-2.0"]


def test_a_filter_narrows_every_table_and_one_that_matches_nothing_says_so(call: Call) -> None:
    outcome = call("--list", "inits", "--filter", "kai*")
    assert outcome.code == 0, outcome.err
    assert "kaiming_uniform" in outcome.out
    assert "xavier" not in outcome.out
    nothing = call("--list", "models", "--filter", "nothing*")
    assert nothing.code == 2
    assert "--filter nothing*: no name of --list models matches" in nothing.err
