"""The page of --serve in a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.applications.conftest import NETS, start
from tests.applications.serving.chromium import Chromium
from tests.applications.serving.test_serve import wait_for_address

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")]


@pytest.fixture
def browser(runs: tuple[Path, Path], tmp_path: Path) -> Iterator[Chromium]:
    """Return a browser at the page of two models, which asks for a token."""
    assert PROGRAM is not None
    flags = ("--arch", f"{NETS}:TinyNet", "-j", 1, "--port", 0, "--token", "open-sesame", "--max_megapixels", 1)
    process = start("--serve", *runs, *flags, folder=tmp_path)
    try:
        address = wait_for_address(process)
        found = Chromium(PROGRAM, tmp_path / "profile", address)
        try:
            yield found
        finally:
            found.close()
    finally:
        process.kill()
        process.communicate()


def test_a_person_drops_files_and_reads_the_answers(browser, colors, tmp_path):
    # What the address holds behind the # is not read again by the same page.
    browser.wait_for("!document.getElementById('access').hidden || !document.getElementById('work').hidden")
    if browser.run("document.getElementById('work').hidden"):
        browser.run("document.getElementById('token').value = 'wrong'; document.querySelector('#access button').click()")
        browser.wait_for("document.getElementById('access-error').textContent")
        browser.run("document.getElementById('token').value = 'open-sesame'; document.querySelector('#access button').click()")
    browser.wait_for("!document.getElementById('work').hidden")
    assert browser.run("document.querySelectorAll('#models .model').length") == 2
    (tmp_path / "<b>notes.jpg").write_text("no image")
    red, blue = colors / "test" / "red" / "0.png", colors / "test" / "blue" / "0.png"
    browser.drop([red, blue, tmp_path / "<b>notes.jpg"])
    browser.wait_for("document.getElementById('progress').hidden && document.querySelectorAll('.card').length === 3")
    first, second, third = browser.run("[...document.querySelectorAll('.card')].map((card) => card.innerText)")
    assert "not an image, or damaged" in third
    assert "<b>notes.jpg" in third, "names are text, never markup"
    for text in (first, second):
        assert "one" in text
        assert "two" in text
        assert "20" in text
        assert "%" in text
    # Two models: the image and two heat maps.
    pictures = browser.wait_for("[...document.querySelectorAll('.card:first-child img')].every((i) => i.naturalWidth > 0) && 3")
    assert browser.run("document.querySelectorAll('.card:first-child img').length") == pictures
    assert "2 images" in browser.run("document.getElementById('summary').textContent")
    assert "1 not readable" in browser.run("document.getElementById('summary').textContent")
    browser.run("document.getElementById('only').value = 'error'; document.getElementById('only').dispatchEvent(new Event('change'))")
    assert browser.run("[...document.querySelectorAll('.card')].filter((card) => !card.hidden).length") == 1
