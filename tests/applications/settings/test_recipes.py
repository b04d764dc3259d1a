"""Recipes lie under the user's own flags."""

import pytest

import config
from applications.settings.options import RunConfig
from applications.settings.recipes import DETECTOR_AUG, RECIPES, describe_settings, settled_by
from optim import OPTIMIZERS
from optim.usual import DECAY_IN_GRADIENT, FAMILIES
from utils.errors import UserError

ROUNDING = ["--quantization_aware", "--init_from", "best.pt"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_read_and_changes_something_and_says_where_it_comes_from(name: str) -> None:
    recipe = RECIPES[name]
    more = ["--pretrained"] if recipe.needs_weights else []
    found, usual = config.parse(["--recipe", name, *more]).config.to_dict(), RunConfig().to_dict()
    for setting, value in recipe.values.items():
        assert found[setting] == (list(value) if isinstance(value, tuple) else value)
    assert any(found[setting] != usual[setting] for setting in recipe.values)
    assert all((recipe.purpose, recipe.origin, recipe.measured))


def test_a_flag_wins_and_what_it_overrode_is_said() -> None:
    request = config.parse(["--recipe", "core", "--lr", "0.01", "--epochs", "85"])
    assert (request.config.optim.lr, request.config.optim.opt, request.config.train.epochs) == (0.01, "adam", 85)
    first, second = describe_settings(request.given)
    assert "--opt adam" in first
    assert "--lr 0.01 in place of --lr 0.0001" in second
    assert "--epochs" not in second, "the same value overrides nothing"
    assert len(describe_settings(config.parse(["--recipe", "core"]).given)) == 1


def test_a_size_of_the_users_own_is_not_held_against_the_sizes_of_a_recipe() -> None:
    request = config.parse(["--recipe", "quick", "--image_size", "64", "64"])
    assert (request.config.data.image_size, request.config.data.size_schedule) == ((64, 64), None)
    assert describe_settings(request.given)[-1].endswith("left out: --size_schedule 96:0.4,128:0.8,160: it goes with another --image_size")
    data = config.parse(["--recipe", "quick", "--size_schedule", "128:0.5,224"]).config.data
    assert (data.image_size, data.size_schedule) == ((224, 224), "128:0.5,224")


def test_the_rates_of_the_toolbox_follow_the_batch() -> None:
    optim = config.parse(["--recipe", "toolbox", "-b", "256"]).config.optim
    assert (optim.lr, optim.warmup_lr) == (0.125, 0.00125)
    assert config.parse(["--recipe", "toolbox", "-b", "256", "--lr", "0.3"]).config.optim.lr == 0.3


def test_the_rates_of_the_toolbox_follow_the_images_of_a_step() -> None:
    assert config.parse(["--recipe", "toolbox", "--accumulate", "4"]).config.optim.lr == 2
    assert config.parse(["--recipe", "toolbox", "--accumulate", "4", "-b", "256"]).config.optim.lr == 0.5


@pytest.mark.parametrize(
    ("argv", "kept", "left"),
    [
        (["finetune", "--pretrained", "--opt", "sgd"], {"lr": 0.015, "head_lr": 0.15}, "--lr 0.0003 --head_lr 0.003"),
        (["finetune", "--pretrained", "--opt", "radam"], {"lr": 3e-4, "head_lr": 3e-3}, ""),
        (["toolbox", "--opt", "adamw"], {"lr": 1e-3, "warmup_lr": None, "weight_decay": 0.01}, "--lr 0.5 --warmup_lr 0.005 --weight_decay"),
        (["toolbox", "--opt", "lookahead(nesterov)"], {"lr": 0.5, "warmup_lr": 0.005, "weight_decay": 2e-5}, ""),
        (
            ["core", "--opt", "sgd"],
            {"lr": 0.05, "weight_decay": 5e-4},
            "--lr 0.0001 --weight_decay 0.0005: meant for --opt adam, not for sgd",
        ),
        (
            ["core", "--opt", "adamw"],
            {"lr": 1e-4, "weight_decay": 0.01},
            "left out: --weight_decay 0.0005: meant for --opt adam, not for adamw",
        ),
        (["core", "--opt", "sgd", "--lr", "0.1", "--wd", "1e-4"], {"lr": 0.1, "weight_decay": 1e-4}, ""),
        (["a3", "--opt", "adamw"], {"lr": 1e-3, "weight_decay": 0.01}, "left out: --lr 0.008 --weight_decay 0.02"),
        (["a3", "--opt", "lambc"], {"lr": 8e-3, "weight_decay": 0.02}, ""),
        (["strong", "--opt", "lars"], {"lr": 1.0, "weight_decay": 5e-4}, "left out: --weight_decay 0.05"),
    ],
)
def test_rates_of_a_recipe_give_way_with_its_optimizer_and_the_first_lines_say_so(
    argv: list[str], kept: dict[str, object], left: str
) -> None:
    request = config.parse(["--recipe", *argv])
    found, said = request.config.to_dict(), "\n".join(describe_settings(request.given))
    assert {name: found[name] for name in kept} == kept
    assert left in said
    assert ("left out" in said) == bool(left)


def test_families_of_rates_are_made_of_rows() -> None:
    named = [name for family in FAMILIES for name in family.names]
    assert len(named) == len(set(named))
    assert {*named, *DECAY_IN_GRADIENT} <= set(OPTIMIZERS)


def test_rounding_has_its_own_rates_where_those_of_a_recipe_give_way() -> None:
    request = config.parse([*ROUNDING, "--recipe", "toolbox", "--opt", "adamw"])
    assert (request.config.optim.lr, request.config.optim.head_lr) == (1e-4, 1e-4)
    assert describe_settings(request.given)[-1] == "usual     --lr 0.0001 --head_lr 0.0001: for --quantization_aware; your own flags win"


@pytest.mark.parametrize(
    ("argv", "warmup"),
    [
        (["quick", "--epochs", "1"], 0.2),
        (["core", "--epochs", "4"], 0.4),
        (["core", "--epochs", "4", "--warmup", "3"], 3.0),
        (["core", "--epochs", "60"], 5.0),
        (["core", "--epochs", "60", "--cooldown", "40"], 2.0),
    ],
)
def test_the_warm_up_of_a_recipe_shrinks_with_its_run(argv: list[str], warmup: float) -> None:
    request = config.parse(["--recipe", *argv])
    assert request.config.optim.warmup == pytest.approx(warmup)
    said = [line for line in describe_settings(request.given) if "the run is shorter" in line]
    assert [line.split()[1] for line in said] == ([] if warmup in (3.0, 5.0) else [f"{warmup:g}"])


def test_a_climb_that_the_user_leaves_no_room_for_is_not_held_against_him() -> None:
    for more in (["--lr", "0.001"], ["--warmup", "0"]):
        request = config.parse(["--recipe", "toolbox", *more])
        assert request.config.optim.warmup_lr is None
        assert "left out: --warmup_lr 0.005" in describe_settings(request.given)[-1]


def test_what_a_plan_has_of_its_own_is_not_said_to_be_that_of_a_recipe() -> None:
    request = config.parse(["--recipe", "core", "--minutes", "1"])
    recipe, left = describe_settings(request.given)
    assert "--epochs" not in recipe
    assert "--warmup" not in recipe
    assert left.endswith("left out: --epochs 85 --warmup 5: the plan of --minutes has its own")
    assert "image_size" in settled_by(request.given), "its size stays"
    assert not {"epochs", "warmup", "lr"} & settled_by(request.given)


def test_pretrained_weights_learn_at_the_rates_of_finetune() -> None:
    rates = RECIPES["finetune"].values
    request = config.parse(["--pretrained"])
    assert (request.config.optim.lr, request.config.optim.head_lr) == (rates["lr"], rates["head_lr"])
    assert request.config.train.epochs == RunConfig().train.epochs
    assert "for trained weights" in describe_settings(request.given)[0]
    own = config.parse(["--pretrained", "--lr", "0.01"]).config.optim
    assert (own.lr, own.head_lr) == (0.01, None)
    assert config.parse(["--pretrained", "--head_lr", "0.01"]).config.optim.lr == rates["lr"]
    assert config.parse(["--pretrained", "--opt", "my_file.py:build"]).config.optim.lr == RunConfig().optim.lr, "nobody knows its rates"


def test_every_optimizer_has_the_rate_and_decay_that_suit_its_steps_and_a_line_says_so() -> None:
    request = config.parse(["--opt", "lookahead(sgd)"])
    assert (request.config.optim.lr, request.config.optim.weight_decay) == (0.05, 5e-4)
    assert describe_settings(request.given) == ["usual     --lr 0.05 --weight_decay 0.0005: for --opt lookahead(sgd); your own flags win"]
    own = config.parse(["--opt", "sgd", "--lr", "0.1", "--wd", "0"])
    assert (own.config.optim.lr, own.config.optim.weight_decay) == (0.1, 0)
    assert describe_settings(own.given) == describe_settings(config.parse([]).given) == []
    from_weights = config.parse(["--opt", "sgd", "--pretrained"])
    assert (from_weights.config.optim.lr, from_weights.config.optim.head_lr) == (0.015, 0.15)
    rates, usual = describe_settings(from_weights.given)
    assert rates.startswith("rates     --lr 0.015 --head_lr 0.15: those of --recipe finetune, in proportion for --opt sgd")
    assert usual == "usual     --weight_decay 0.0005: for --opt sgd; your own flags win"
    in_recipe = config.parse(["--recipe", "standard", "--opt", "sgd"])
    assert in_recipe.config.optim.lr == 0.05
    recipe, usual = describe_settings(in_recipe.given)
    assert "--lr" not in recipe, "the recipe has none"
    assert usual == "usual     --lr 0.05 --weight_decay 0.0005: for --opt sgd; your own flags win"


def test_a_recipe_wins_over_what_is_usual_with_rounding_and_says_so() -> None:
    request = config.parse([*ROUNDING, "--recipe", "finetune"])
    found = request.config
    assert (found.train.epochs, found.optim.lr, found.optim.head_lr) == (10, 3e-4, 3e-3)
    recipe, replaced = describe_settings(request.given)
    assert "finetune: --epochs 10 --lr 0.0003 --head_lr 0.003" in recipe
    assert "in place of --epochs 5 --lr 0.0001 --head_lr 0.0001, usual for --quantization_aware: leave --recipe out for these" in replaced
    own = describe_settings(config.parse([*ROUNDING, "--recipe", "finetune", "--epochs", "3", "--lr", "0.1", "--head_lr", "0.2"]).given)
    assert not any("usual" in line for line in own)


def test_a_recipe_without_rates_leaves_those_of_rounding() -> None:
    request = config.parse([*ROUNDING, "--recipe", "standard"])
    found = request.config
    assert (found.train.epochs, found.optim.lr, found.optim.head_lr) == (60, 1e-4, 1e-4)
    recipe, replaced, usual = describe_settings(request.given)
    assert "--lr" not in recipe
    assert "in place of --epochs 5, usual" in replaced
    assert usual == "usual     --lr 0.0001 --head_lr 0.0001: for --quantization_aware; your own flags win"
    assert len(describe_settings(config.parse([*ROUNDING, "--recipe", "quick"]).given)) == 2, "its epochs are as many"
    steep = config.parse([*ROUNDING, "--recipe", "toolbox"])
    assert (steep.config.optim.lr, steep.config.optim.head_lr) == (0.5, 0.5)
    own = config.parse([*ROUNDING, "--opt", "sgd"]).config.optim
    assert (own.lr, own.head_lr, own.weight_decay) == (1e-3, 1e-3, 5e-4), "steps by the gradient"


def test_a_plan_by_minutes_has_its_own_epochs_with_rounding_too() -> None:
    request = config.parse([*ROUNDING, "--minutes", "3"])
    assert (request.config.optim.lr, request.config.train.epochs) == (1e-4, RunConfig().train.epochs)
    assert describe_settings(request.given) == ["usual     --lr 0.0001 --head_lr 0.0001: for --quantization_aware; your own flags win"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--recipe", "finetune"], "add --pretrained, or --init_from FILE"),
        (["--recipe", "strng"], "Did you mean strong?"),
        (["--resume", "run", "--recipe", "quick"], "belongs to the start"),
        (["--minutes", "3", "--epochs", "2"], "leave --epochs out"),
        (["--minutes", "3", "--hours", "2"], "give one of them"),
        (["--hours", "0"], "--hours must be above 0"),
        (["--minutes", "-1"], "--minutes must be above 0"),
        (["--minutes", "3", "--schedule", "plateau"], "--schedule plateau"),
        (["--minutes", "3", "--schedule", "multistep(30,60)"], "counts epochs"),
        (["--minutes", "3", "--schedule", "step(every=10)"], "counts epochs"),
        (["--minutes", "3", "--schedule", "cosine(t_max=5)"], "counts epochs"),
        (["--minutes", "3", "--swa"], "--swa counts epochs"),
        (["--minutes", "3", "--soup"], "when the time of --minutes is over"),
        (["--minutes", "3", "--mixup", "--mix_off_epochs", "2"], "--mix_off_epochs counts epochs"),
        (["--minutes", "3", "--cooldown", "2"], "--cooldown counts epochs"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(argv: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")) as caught:
        config.parse(argv)
    assert "\n" not in str(caught.value)


def test_hours_are_minutes_and_minutes_outrank_the_epochs_of_a_recipe_and_of_a_file(tmp_path) -> None:
    assert config.parse(["--hours", "1.5"]).config.train.minutes == 90
    assert config.parse(["--recipe", "quick", "--minutes", "3"]).config.train.minutes == 3
    file = tmp_path / "run.json"
    file.write_text('{"minutes": 5, "epochs": 7}')
    planned = config.parse(["--config", str(file)]).config.train
    assert (planned.minutes, planned.epochs) == (None, 7), "the file of a planned run is followed as it is"
    assert config.parse(["--config", str(file), "--minutes", "2"]).given == {"minutes": 2.0}
    assert config.parse(["--config", str(file), "--epochs", "3"]).given == {"epochs": 3}


def test_detectors_have_usual_rates_and_augmentation_under_those_of_the_user() -> None:
    nothing = ["--arch", "yolox_nano"]
    for more, lr in (([], 3e-3), (["--opt", "sgd"], 1e-2), (["--opt", "lion"], 9e-4), (["--lr", "0.5"], 0.5), (["--pretrained"], 3e-4)):
        found = config.parse([*nothing, *more, "--data", "x"]).config
        assert (found.optim.lr, found.data.aug) == (lr, DETECTOR_AUG), more
    assert config.parse([*nothing, "--aug", "none", "--data", "x"]).config.data.aug == "none"
    assert config.parse(["--arch", "resnet18", "--data", "x"]).config.data.aug is None
    taught = config.parse([*nothing, "--teacher", "run", "--data", "x"])
    assert taught.config.teach.distill_temperature == 1
    assert config.parse([*nothing, "--teacher", "run", "--distill_temperature", "2", "--data", "x"]).config.teach.distill_temperature == 2
    (said,) = describe_settings(config.parse([*nothing, "--data", "x"]).given)
    assert said.startswith("usual ")
    assert "--lr 0.003" in said
    assert len(describe_settings(config.parse([*nothing, "--pretrained", "--data", "x"]).given)) == 2
    from_weights = config.parse([*nothing, "--pretrained", "--opt", "sgd", "--data", "x"]).config.optim
    assert (from_weights.lr, from_weights.head_lr) == (1e-3, 1e-2), "slower than from nothing, as with adamw"


def test_what_a_recipe_sets_can_be_switched_off() -> None:
    request = config.parse(["--recipe", "standard", "--no_ema"])
    assert (request.config.optim.ema, request.given["ema"]) == (None, None)
    assert "your own flags win: --no_ema in place of --ema 0.999" in describe_settings(request.given)[1]
    assert config.parse(["--recipe", "quick", "--no_size_schedule"]).config.data.size_schedule is None
    assert config.parse(["--pretrained", "--no_head_lr"]).config.optim.head_lr is None
    assert config.parse(["--arch", "yolox_nano", "--no-aug", "--data", "x"]).config.data.aug is None


def test_a_recipe_is_known_in_capitals() -> None:
    found = config.parse(["--recipe", "FineTune", "--pretrained", "--opt", "sgd"]).config.optim
    assert (found.lr, found.head_lr) == (0.015, 0.15)
