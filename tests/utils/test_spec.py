"""The spec language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.errors import UserError
from utils.spec import Spec, parse_specs


def test_a_chain_is_read_in_order_with_its_literals() -> None:
    assert parse_specs("flip|rotate(20)|randaug(2,m=9,name='a|b')") == (
        Spec("flip"),
        Spec("rotate", (20,)),
        Spec("randaug", (2,), {"m": 9, "name": "a|b"}),
    )


def test_a_bare_word_stands_for_itself() -> None:
    assert parse_specs("cost(costs.csv)") == (Spec("cost", ("costs.csv",)),)


def test_a_config_file_may_write_mappings() -> None:
    assert parse_specs([{"type": "ghm", "kwargs": {"bins": 30}}, "ohm(0.7)"]) == (Spec("ghm", (), {"bins": 30}), Spec("ohm", (0.7,)))


@pytest.mark.parametrize("text", ["", "a||b", "a(", "a(1", "a)b", "a(b())", "a(1+x)", "a(**k)", "(1)"])
def test_what_is_no_chain_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_specs(text)


def test_nothing_is_evaluated() -> None:
    with pytest.raises(UserError):
        parse_specs("a(__import__('os').getcwd())")


names = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True)
literals = st.one_of(st.integers(-9, 9), st.floats(-9, 9, allow_nan=False), st.booleans(), st.text("ab|(,'\"", max_size=5))


@given(st.lists(st.builds(Spec, names, st.lists(literals, max_size=3).map(tuple)), min_size=1, max_size=3))
def test_what_is_printed_can_be_read_again(specs: list[Spec]) -> None:
    assert parse_specs("|".join(map(str, specs))) == tuple(specs)


@pytest.mark.parametrize("path", ["/data/costs.csv", "../costs.csv", "sub-dir/my costs.csv", "~/costs.csv"])
def test_a_file_as_the_only_argument_needs_no_quotes(path):
    assert parse_specs(f"bce|cost({path})")[1].args == (path,)


@pytest.mark.parametrize("source", [{"type": 5}, {"type": "ghm", "kwargs": [1]}, {"type": "ghm", "args": 3}, {"type": "ghm", "bins": 3}])
def test_a_mapping_of_another_form_is_one_line(source: dict) -> None:
    with pytest.raises(UserError, match="cannot read the spec"):
        parse_specs(source)
