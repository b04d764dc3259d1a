from pathlib import Path

import pytest

from utils.user_cache import cache_folder, read_cached, write_cached


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_was_kept_about_a_place_is_read_again_under_any_spelling(tmp_path):
    write_cached("kind", tmp_path / "x" / ".." / "set", {"a": [1, "größe\udcff"]})
    assert read_cached("kind", tmp_path / "set") == {"a": [1, "größe\udcff"]}
    assert read_cached("other", tmp_path / "set") is None
    assert read_cached("kind", tmp_path / "elsewhere") is None


def test_a_damaged_cache_counts_as_none(tmp_path):
    write_cached("kind", tmp_path, 1)
    next((cache_folder() / "kind").iterdir()).write_text("{")
    assert read_cached("kind", tmp_path) is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "cache").touch()
    write_cached("kind", tmp_path, 1)
    assert read_cached("kind", tmp_path) is None


def test_without_the_variable_the_cache_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == Path(tmp_path, ".cache", "darkroom")
