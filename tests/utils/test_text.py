"""Words for people."""

import pytest

from utils.text import say_rate


@pytest.mark.parametrize(
    ("rate", "said"), [(1234.4, "1234"), (12.4, "12"), (9.96, "10"), (9.4, "9.4"), (0.4123, "0.41"), (0.012, "0.012"), (0, "0")]
)
def test_a_slow_rate_is_not_rounded_to_nothing(rate: float, said: str) -> None:
    assert say_rate(rate) == said
