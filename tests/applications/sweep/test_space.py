"""Spaces are read by the types of the flags, and what cannot be varied is refused in one line."""

import pytest

from applications.sweep.space import Parameter, flags_of, parse_space
from utils.errors import UserError


def test_a_space_is_read_by_the_types_of_the_flags() -> None:
    lr, decay, mixup, batch, size, aug, ema = parse_space(
        "lr=1e-4..1e-2 wd=0.01,0.05 mixup=on,off --batch-size=16..64 image_size=32x32,64x64 aug=flip|crop(0.2, 0.3),default ema=off,0.99"
    )
    assert (lr.low, lr.high, lr.is_logarithmic) == (1e-4, 1e-2, True)
    assert decay == Parameter("weight_decay", (0.01, 0.05))
    assert mixup.choices == (True, False)
    assert (batch.name, batch.low, batch.high, batch.whole, batch.is_logarithmic) == ("batch_size", 16, 64, True, False)
    assert size.choices == ((32, 32), (64, 64))
    assert aug.choices == ("flip|crop(0.2, 0.3)", "default")
    assert ema.choices == (None, 0.99)


@pytest.mark.parametrize(("text", "logarithmic"), [("0..1", False), ("0.1..1", False), ("0.09..1", True), ("-1..1", False)])
def test_a_range_is_logarithmic_above_a_factor_of_ten(text: str, logarithmic: bool) -> None:
    assert parse_space(f"momentum={text}")[0].is_logarithmic is logarithmic


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs what to vary"),
        ("learing_rate=1..2", "is no flag"),
        ("weight_decy=0.1,0.2", "Did you mean weight_decay"),
        ("lr", "name=low..high"),
        ("lr=1..0.1", "must be below"),
        ("lr=0.1", "two different values"),
        ("lr=0.1,0.1", "two different values"),
        ("lr=a..b", "'a' is no number"),
        ("lr=nan..1", "is no number"),
        ("batch_size=8..9.5", "no whole number"),
        ("mixup=yes,no", "neither on nor off"),
        ("lr=0.1,0.2 lr=0.3,0.4", "twice"),
        ("precision=fp32,fp31", "is not one of"),
        ("data=a,b", "which images"),
        ("seed=1,2", "which images"),
        ("fold=0/5,1/5", "which images"),
        ("epochs=1..9", "how long a run or a part of it is"),
        ("epoch_size=100,1000", "how long a run or a part of it is"),
        ("aug_repeats=1,4", "how long a run or a part of it is"),
        ("patience=2..5", "how long a run or a part of it is"),
        ("cooldown=0..5", "how long a run or a part of it is"),
        ("recipe=strong,quick", "many settings at once"),
        ("lr=1e-4...1e-2", r"write two dots between the ends, lr=1e-4\.\.1e-2, and a number below 1 as 0\.1"),
        ("batch_size=1....4", r"two dots between the ends, batch_size=1\.\.4"),
        ("lr=1e-4..inf", "write numbers up to"),
        ("batch_size=1..1" + 400 * "0", "write numbers up to"),
        ("logdir=a,b", "how and where"),
        ("nproc=1,2", "how and where"),
        ("port=1,2", "not used by training"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse_space(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["warmup=1,3", "accumulate=1,4", "batch_size=16,64"])
def test_what_changes_steps_alone_is_varied(text: str) -> None:
    assert len(parse_space(text)[0].choices) == 2


def test_settings_are_written_as_they_are_typed() -> None:
    values = {"lr": 0.0012345678901234, "mixup": False, "ema": None, "image_size": (32, 48), "arch": "resnet18"}
    assert flags_of(values) == ["--lr", "0.0012345678901234", "--no_mixup", "--no_ema", "--image_size", "32", "48", "--arch", "resnet18"]
