"""Claims about the switches and the one spec they are short for."""

from dataclasses import replace

import pytest

from criterions import CRITERIONS, WEIGHTERS
from criterions.options import LossOptions
from utils.errors import UserError
from utils.spec import parse_specs

EVERY = LossOptions(
    criterion="bce",
    weighted_loss=True,
    cost_matrix="costs.csv",
    threshold_loss=True,
    threshold_matrix="my bounds.csv",
    ohm_loss=True,
    hard_ratio=0.5,
    ghm_loss=True,
    class_weights="effective",
)


def test_without_flags_the_spec_is_softmax():
    assert LossOptions().canonical() == "softmax"


def test_switches_are_short_for_a_spec():
    assert EVERY.canonical() == "bce|class_weights('effective')|cost('costs.csv')|threshold('my bounds.csv')|ohm(0.5)|ghm"


def test_a_usual_chain_gives_way_to_the_switch_that_names_a_part_of_it():
    usual = "softmax|class_weights(sqrt)|dice"
    assert LossOptions().completed(usual).canonical() == "softmax|class_weights('sqrt')|dice"
    assert LossOptions(class_weights="auto").completed(usual).canonical() == "softmax|class_weights('auto')|dice"
    assert LossOptions(ghm_loss=True).completed(usual).canonical() == "softmax|class_weights('sqrt')|ghm|dice"


def test_the_canonical_spec_reads_back_as_itself():
    assert LossOptions(criterion=EVERY.canonical()).spec() == EVERY.spec()


def test_the_order_of_weighters_does_not_matter():
    ordered = "softmax|class_weights(auto)|cost(c.csv)|risk(c.csv)|threshold(t.csv)|ohm(0.7)|ghm(bins=30)"
    loss, *rest = parse_specs(ordered)
    assert set(WEIGHTERS) == {spec.name for spec in rest}
    shuffled = "|".join(map(str, [loss, *reversed(rest)]))
    assert LossOptions(criterion=shuffled).spec() == parse_specs(ordered)
    assert LossOptions(criterion="bce|ghm", ohm_loss=True) != LossOptions(criterion="bce|ohm(0.7)", ghm_loss=True)
    assert LossOptions(criterion="bce|ghm", ohm_loss=True).spec() == LossOptions(criterion="bce|ohm(0.7)", ghm_loss=True).spec()


def test_mappings_of_a_config_file_are_specs_too():
    given = [{"type": "bce"}, {"type": "ghm", "kwargs": {"bins": 10}}]
    assert replace(LossOptions(), criterion=given).canonical() == "bce|ghm(bins=10)"


def test_weighters_of_the_user_follow_those_of_the_table():
    assert LossOptions(criterion="my.py:loss|my.py:Mine|ghm").canonical() == "my.py:loss|ghm|my.py:Mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weighted_loss": True}, "--cost_matrix"),
        ({"threshold_loss": True}, "--threshold_matrix"),
        ({"criterion": "ghm"}, "softmax|ghm"),
        ({"criterion": "softmax|bce"}, "second loss"),
        ({"criterion": "softmax|ghm", "ghm_loss": True}, "twice"),
        ({"criterion": "softmax|ohm(0.1)|ohm(0.2)"}, "twice"),
        ({"criterion": "softmx"}, "Did you mean softmax"),
        ({"criterion": "softmax|treshold(t.csv)"}, "Did you mean threshold"),
        ({"criterion": "softmax|"}, "cannot read"),
        ({"criterion": []}, "empty"),
    ],
)
def test_mistakes_are_answered_in_one_line(options, said):
    with pytest.raises(UserError) as caught:
        replace(LossOptions(), **options).spec()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_losses_and_weighters_are_different():
    assert not set(CRITERIONS) & set(WEIGHTERS)
