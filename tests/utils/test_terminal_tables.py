"""Claims about tables on the terminal."""

import pytest

from utils import logs
from utils.terminal_tables import print_table


@pytest.fixture(autouse=True)
def fresh_console():
    logs.console.cache_clear()
    yield
    logs.console.cache_clear()


def test_names_are_flush_left_and_figures_flush_right(capsys):
    print_table(["class", "share", "verdict"], [["a", "10", "x"], ["bb", "9", "yes"]], left=("verdict",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["class  share  verdict", "a         10  x", "bb         9  yes"]


def test_brackets_of_a_name_are_printed(capsys):
    print_table(["file [bold]"], [["cat[red].png"], ["[/]"]])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["file [bold]", "cat[red].png", "[/]"]
