"""Claims about docs/losses.md: it has a card for everything that can be asked for."""

import re
from pathlib import Path

import pytest

from criterions import CRITERIONS, WEIGHTERS

PAGE = Path(__file__).parent.parent.parent / "docs" / "losses.md"
PARTS = ["Does", "Helps", "Hurts", "Costs", "Paper"]


def cards() -> dict[str, str]:
    sections = re.split(r"^#{1,2} ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {title: body for title, _, body in (section.partition("\n") for section in sections)}


@pytest.mark.parametrize("name", [*CRITERIONS, *WEIGHTERS, "--jsd", "--label_smoothing", "--logit_adjust", "--prior_bias"])
def test_every_loss_has_a_card_with_all_its_parts(name):
    assert re.findall(r"^- \*\*(\w+):\*\* \S", cards()[name], flags=re.MULTILINE) == PARTS


def test_no_card_is_left_of_a_loss_that_is_gone():
    with_parts = {title for title, body in cards().items() if "**Does:**" in body}
    assert with_parts == {*CRITERIONS, *WEIGHTERS, "--jsd", "--label_smoothing", "--logit_adjust", "--prior_bias"}
