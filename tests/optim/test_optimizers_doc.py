"""docs/optimizers.md lists what the tables list."""

from pathlib import Path

import pytest

from optim import OPTIMIZERS, SCHEDULES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "optimizers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [OPTIMIZERS, SCHEDULES], ids=lambda table: table.kind)
def test_the_page_shows_the_table(table):
    assert "\n".join(f"| `{name}` | {row.help} |" for name, row in table.items()) in PAGE
