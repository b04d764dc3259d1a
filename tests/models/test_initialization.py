"""Claims about --init: every scheme draws what its formula says, from nothing but the seed."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from models import INITS, build_model
from models.initialization import initialize
from utils.errors import UserError

# Inputs 64 x 9, outputs 128 x 9 for the kernel; the standard deviation that each formula gives it.
FANS = (64 * 9, 128 * 9)
SPREADS = {
    "xavier": math.sqrt(2 / sum(FANS)),
    "xavier_uniform": math.sqrt(2 / sum(FANS)),
    "xavier(gain=3)": 3 * math.sqrt(2 / sum(FANS)),
    "kaiming": math.sqrt(2 / FANS[1]),
    "kaiming_uniform": math.sqrt(2 / FANS[1]),
    "kaiming(mode=fan_in)": math.sqrt(2 / FANS[0]),
    "orthogonal": math.sqrt(1 / (64 * 9)),
    "normal": 0.01,
    "normal(std=0.5)": 0.5,
    # A normal cut at two standard deviations has 0.88 of its spread.
    "trunc_normal": 0.02 * 0.8796,
}


def net():
    return nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.Linear(128, 4))


@pytest.mark.parametrize("spec", SPREADS)
def test_weights_have_the_spread_of_the_formula(spec):
    torch.manual_seed(0)
    model = net()
    nn.init.constant_(model[1].weight, 0.25)
    assert initialize(model, spec).startswith(f"--init {spec.partition('(')[0]}")
    assert float(model[0].weight.detach().std()) == pytest.approx(SPREADS[spec], rel=0.02)
    assert abs(float(model[0].weight.detach().mean())) < 0.02 * SPREADS[spec]
    assert float(model[0].bias.detach().abs().max()) == float(model[2].bias.detach().abs().max()) == 0
    assert set(model[1].weight.tolist()) == {0.25}, "norms are left as they were"


def test_every_scheme_of_the_table_is_tested():
    assert set(INITS) == {spec.partition("(")[0] for spec in SPREADS}


def test_orthogonal_rows_are_orthogonal():
    model = net()
    initialize(model, "orthogonal")
    rows = model[0].weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(128), atol=1e-5, rtol=0)


def test_the_seed_decides_the_draws():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build_model("mobilenetv3_small", num_classes=3)
        initialize(model, "xavier")
        drawn.append(model.get_classifier().weight.detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xaver", "Did you mean xavier"),
        ("xavier|kaiming", "one scheme"),
        ("kaiming(mode=out)", "mode=out"),
        ("kaiming(gain=2)", "has no 'gain'"),
        ("normal(std=0)", "std=0"),
        ("xavier(3)", "no weights"),
    ],
)
def test_a_wrong_scheme_is_answered_in_one_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        initialize(net(), spec)
    assert "\n" not in str(caught.value)


def test_a_scheme_of_the_users_own_is_taken(tmp_path):
    (tmp_path / "fill.py").write_text("def ones(weight, *, factor):\n    weight.fill_(factor)\n")
    model = net()
    initialize(model, f"{tmp_path / 'fill.py'}:ones(factor=2.0)")
    assert set(model[2].weight.flatten().tolist()) == {2.0}


def test_the_page_shows_the_table():
    page = (Path(__file__).parent.parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
    assert "\n".join(f"| `{name}` | {row.help} |" for name, row in INITS.items()) in page
