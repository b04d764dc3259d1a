"""--probe_head: fine-tuning that begins with the classifier of a linear probe."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from applications.training import planning
from applications.training.probe_head import Embedded, fitted_head, kept_together
from applications.training.time_plan import Costs, Plan, Speed, Wishes, make_plan
from dataloader.splits.content_hash import NOTHING
from tests.applications.conftest import Call
from utils.checkpoint import load_checkpoint
from utils.errors import UserError

SMALL = ("--arch", "mobilenetv3_small", "--image_size", 32, 32, "-j", 0, "--warmup", 0)
PLAN = Plan(2, None, (96, 96), None, 16, 0.5, 60.0)


def test_a_plan_with_a_fitted_classifier_says_so_in_its_flags_and_one_without_does_not() -> None:
    assert "probe_head" not in PLAN.settings()
    assert "head_lr" not in PLAN.settings()
    fitted = replace(PLAN, probe_head=True, head_lr=3e-4)
    assert fitted.flags().endswith("--warmup 0.5 --probe_head --head_lr 0.0003")


def test_training_goes_on_from_the_fitted_classifier_and_its_average_begins_there(
    call: Call, colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = call("--data", colors, *SMALL, "--epochs", 1, "-b", 20).run / "best.pt"
    flags = ("--data", colors, *SMALL, "--epochs", 1, "--init_from", weights, "--lr", 1e-12, "--ema")
    plain, fitted = call(*flags), call(*flags, "--probe_head")
    assert fitted.code == 0, fitted.err
    assert "right in cross-validation" in fitted.out
    heads = [load_checkpoint(each.run / "last.pt")["state_dict"]["classifier.3.weight"] for each in (plain, fitted)]
    assert not torch.allclose(heads[0], heads[1], atol=1e-2)
    averaged = load_checkpoint(fitted.run / "last.pt")["stepper"]["ema"]["average"]["classifier.3.weight"]
    torch.testing.assert_close(averaged, heads[1], atol=1e-5, rtol=1e-4)


def test_random_weights_have_no_probe(call: Call, colors: Path) -> None:
    outcome = call("--data", colors, *SMALL, "--epochs", 1, "--probe_head")
    assert outcome.code == 2
    assert "--probe_head: it needs trained weights: add --pretrained, or --init_from FILE" in outcome.err


def test_images_of_one_group_or_of_equal_content_stay_together_also_by_way_of_others() -> None:
    names = kept_together(["a", "a", "b", "", "", ""], [1, 2, 2, 3, 3, 4])
    assert names[0] == names[1] == names[2], "the second and the third are equal"
    assert names[3] == names[4]
    assert len({names[0], names[3], names[5]}) == 3
    assert len(set(kept_together(["", ""], [NOTHING, NOTHING]))) == 2, "what could not be read is like nothing else"


def test_copies_of_images_change_neither_the_strength_nor_what_is_promised() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    seen = torch.randn(60, 40, generator=generator) + torch.nn.functional.one_hot(labels, 40)
    targets = torch.eye(3, dtype=torch.float64)[labels]
    network: Any = None
    alone = Embedded(seen, targets, [str(number) for number in range(60)])
    copied = Embedded(seen.repeat(5, 1), targets.repeat(5, 1), [str(number) for number in range(60)] * 5)
    (one, head), (five, same) = (fitted_head(each, network, "softmax", seed=0) for each in (alone, copied))
    assert abs(one.accuracy - five.accuracy) < 0.12
    assert one.accuracy < 0.8
    assert 0.1 < one.strength / five.strength < 10
    with pytest.raises(UserError, match="all images are equal"):
        fitted_head(Embedded(seen, targets, ["equal"] * 60), network, "softmax", seed=0)
    assert head.weight.shape == same.weight.shape


@pytest.mark.parametrize("asked", [False, True])
def test_the_time_of_fitting_the_classifier_is_planned_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    monkeypatch.setattr(planning, "why_not", lambda _: "")
    settings = SimpleNamespace(train=SimpleNamespace(probe_head=asked, minutes=2.0), optim=SimpleNamespace(lr=3e-4, head_lr=3e-3))
    parts: Any = SimpleNamespace(config=settings)
    costs = Costs(Speed(0.01, 0.0), Speed(0.003, 0.0), 100, 0.1, 5.0)
    wishes = Wishes(((96, 96),), stages=False, passes=0.7)
    plan = make_plan(costs, wishes, images=2000, minutes=2.0)
    found = planning._with_probe_head(parts, (), costs, wishes, plan, images=2000)
    if not asked:
        assert found == plan
        return
    assert (found.probe_head, found.head_lr) == (True, 3e-4)
    assert found.seconds <= 120
    trained = [each.epochs * (each.epoch_size or 2000) for each in (plan, found)]
    assert trained[1] < trained[0]
    kept = planning._with_probe_head(parts, ("head_lr",), costs, wishes, plan, images=2000)
    assert kept.head_lr == 3e-3
