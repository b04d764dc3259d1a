"""What is said of the flags of other programs is true here: every flag exists, every command can be read."""

import re
import shlex
from pathlib import Path

import pytest

import config
from applications.settings.foreign_flags import OTHER_VALUES, PROGRAMS, advice
from dataloader.augment.chain import build_augment
from optim.schedules import build_schedule
from utils.errors import UserError

ROWS = [(program, spelling, here) for program, rows in PROGRAMS.items() for spelling, here in rows.items()]
COMMANDS = sorted({here for _, _, here in ROWS if here.startswith("--")} | set(OTHER_VALUES.values()))
KNOWN = {option for action in config.build_parser()._actions for option in action.option_strings}
# Words that other programs use for what is not here, and that look like flags that mean something else.
STRANGERS = "box profile verbose fraction angle optimize save_conf show tracker accelerator strategy gamma lora"


@pytest.mark.parametrize(("program", "spelling", "here"), ROWS)
def test_every_flag_that_is_named_exists_and_no_spelling_is_one_of_ours(program: str, spelling: str, here: str) -> None:
    del program
    assert set(re.findall(r"--\w+", here)) <= KNOWN
    assert f"--{spelling}" not in KNOWN, "argparse takes it, so that this row is never shown"


@pytest.mark.parametrize("here", COMMANDS)
def test_every_command_that_is_shown_can_be_given(here: str, tmp_path: Path) -> None:
    command = here.partition(" (")[0] if here.endswith(")") else here
    (tmp_path / "file.json").write_text('{"flip": {"p": 0.5}}' if "aug_config" in command else '{"seed": 1}')
    command = command.replace("config FILE", f"config {tmp_path / 'file.json'}")
    parsed = config.parse(shlex.split(command)).config
    build_augment(parsed.data.aug or "")
    build_schedule(parsed.optim.schedule, epochs=100, steps_per_epoch=2, warmup=1)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--model resnet50", "timm's and Ultralytics' --model is --arch here, such as --arch resnet50."),
        ("--sched cosine", "timm's --sched is --schedule here"),
        ("--min-lr 1e-6", r"timm's --min-lr is --schedule here, such as --schedule 'cosine\(floor=0.01\)' \(a share of --lr\)"),
        ("--smoothing=0.1", "--label_smoothing"),
        ("--model-ema", "is --ema here"),
        ("--drop 0.1", "--drop_rate"),
        ("--reprob 0.25", r"erase\(p=0.25\)"),
        ("--aa rand-m9", "randaug"),
        ("--mixup 0.2", "--mixup takes no value, such as '0.2'; write --mixup --mixup_alpha 0.2"),
        ("--lr 0.2 --cutmix 0.2", "--cutmix takes no value"),
        ("--batch 64", "perhaps --batch_size 64 is meant"),
        ("--device 0", "perhaps --device cuda is meant"),
        ("epochs=100", "Write --epochs 100."),
        ("imgsz=224", "is --image_size here, such as --image_size 224 224"),
        ("image_size=96,64", "Write --image_size 96 64."),
        ("image_size=96", "Write --image_size H W."),
        ("batch=16", "Write --batch_size 64."),
        ("resume=True", "Write --resume RUN"),
        ("pretrained=True", "Write --pretrained."),
        ("pretrained=weights.pt", "Write --init_from FILE."),
        ("mode=train", "needs no flag here: without an action this program trains"),
    ],
)
def test_users_of_other_programs_are_told_what_to_write(argv: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        config.parse(argv.split())
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("word", STRANGERS.split())
def test_a_word_for_what_is_not_here_gets_no_guess(word: str) -> None:
    with pytest.raises(UserError, match=f"unknown flag --{word}. See") as caught:
        config.parse([f"--{word}", "1"])
    assert "mean" not in str(caught.value)


@pytest.mark.parametrize("flag", [option[2:] for option in sorted(KNOWN) if option.startswith("--") and not option.startswith("--no_")])
def test_a_flag_with_two_letters_swapped_is_found_again(flag: str) -> None:
    if len(flag) < 6:
        return
    middle = len(flag) // 2
    typo = flag[:middle] + flag[middle + 1] + flag[middle] + flag[middle + 2 :]
    known = [option[2:] for option in KNOWN if option.startswith("--")]
    if typo not in known:
        assert advice(typo, known, prefix="--") == f"Did you mean --{flag}?"


def test_settings_of_a_file_get_the_same_advice(tmp_path: Path) -> None:
    file = tmp_path / "args.yaml"
    file.write_text("model: resnet50\nsched: cosine\nepochs: 3\nepoch: 3\n")
    with pytest.raises(UserError) as caught:
        config.parse(["--config", str(file)])
    said = str(caught.value)
    assert "'model': timm's and Ultralytics' model is --arch here, such as --arch resnet50." in said
    assert "'sched': timm's sched is --schedule here" in said
    assert "'epoch': Did you mean epochs?" in said
    assert "\n" not in said
