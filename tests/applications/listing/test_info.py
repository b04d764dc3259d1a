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
