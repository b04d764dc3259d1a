"""Tables, and parts that users bring."""

from pathlib import Path

import pytest

from utils.errors import UserError
from utils.registry import Row, Table

TABLE = Table("thing", {"path": Row("pathlib:Path", "a path"), "other": Row("pathlib:PurePath", "another")})


def test_a_name_resolves_to_what_its_row_says() -> None:
    assert TABLE.resolve("path") is Path


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown thing 'pth'\. Did you mean path\?"):
        TABLE.resolve("pth")


def test_a_users_own_file_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine_of_registry.py"
    file.write_text("ANSWER = 42\n")
    assert TABLE.resolve(f"{file}:ANSWER") == 42


def test_a_users_own_module_is_taken() -> None:
    assert TABLE.resolve("os.path:join") is __import__("os").path.join


@pytest.mark.parametrize("target", ["missing.py:X", "no.such.module:X", "os.path:joyn"])
def test_a_part_that_is_not_there_is_named(target: str) -> None:
    with pytest.raises(UserError, match=target.rpartition(":")[2] if "joyn" in target else target.split(":")[0]):
        TABLE.resolve(target)
