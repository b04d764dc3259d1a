"""Twelve years of convolutional networks on one data set, each trained from scratch by a recipe of its time.

    python -m benchmarks.architectures --data DIR                       the recipes as they are: days on a CPU, hours on a GPU
    python -m benchmarks.architectures --data digits --image_size 64 64 --epochs 2 --only resnet
    python -m benchmarks.architectures --data DIR --orders              also the other order of units in the residual networks

Every row is a run of `python main.py` under --out; a run that has all its epochs is read, not repeated, so that a table that was
interrupted goes on, and the table has every row that was trained, whatever --only names. Figures are those of the last epoch,
not of the luckiest: training loss and accuracy are means over the epoch, of augmented images, as the weights changed; validation
is measured after it. Rates that fall when nothing improves look at validation. Writes architectures.md and .csv into --out.
"""

import csv
import re
import statistics
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.shared import ROOT, run_quietly
from utils.files import write_csv, write_text
from utils.flags import add_flags, flag, make_parser

# Mirrored, turned, shifted in brightness and contrast, and a crop of 224 out of 256.
AUGMENTATION = "flip|rotate(15)|color(0.1)|crop(0.125, p=1)"
SGD = ("--opt", "sgd", "--lr", "0.01", "--momentum", "0.9", "--wd", "0.01")
ADAM = ("--opt", "adam", "--lr", "0.001", "--weight_decay", "0.0001", "--schedule", "cosine(t_max=5, eta_min=1e-5)", "--warmup", "0")
BY_LOSS = ("--schedule", "plateau(factor=0.5, patience=5)", "--warmup", "0")
BY_ACCURACY = ("--schedule", "plateau(metric=top1, factor=0.5, patience=3)", "--warmup", "0")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is compared, and how long."""

    data: str = flag("digits", "folder with train/ and val/, or a built-in set", metavar="DIR|NAME")
    image_size: tuple[int, int] | None = flag(None, "height and width, in place of each recipe's", metavar="H W")
    epochs: int | None = flag(None, "epochs of every run, in place of each recipe's")
    batch_size: int | None = flag(None, "images a step, in place of each recipe's")
    workers: int | None = flag(None, "loader processes")
    orders: bool = flag(False, "train the residual networks with ReLU behind the convolutions, too")
    only: str | None = flag(None, "run only rows with this in their names", metavar="TEXT")
    out: str = flag("runs/architectures", "folder for runs and table", metavar="DIR")


@dataclass(frozen=True)
class Recipe:
    """A row of the table: the network, and how it is trained."""

    name: str
    arch: str
    epochs: int
    batch_size: int
    flags: tuple[str, ...]
    side: int = 224


RECIPES = (
    Recipe("AlexNet", "alexnet", 100, 256, (*SGD, "--weight_decay", "0.0005", *BY_LOSS), side=227),
    Recipe("ZFNet", "zfnet", 100, 256, (*SGD, "--weight_decay", "0.0005", *BY_LOSS), side=227),
    Recipe("VGG13", "vgg13", 70, 32, (*SGD, "--weight_decay", "0.0005", *BY_ACCURACY)),
    Recipe("GoogLeNet, SGD", "googlenet", 70, 128, (*SGD, "--weight_decay", "0.0002", *BY_ACCURACY)),
    Recipe("GoogLeNet, Adam", "googlenet", 90, 128, ADAM),
    Recipe("SqueezeNet", "squeezenet1_0", 100, 128, ADAM),
    Recipe("ResNet-26", "resnet_26", 80, 128, (*SGD, "--weight_decay", "0.0001", *BY_ACCURACY)),
    Recipe("ResNet-20", "resnet_20", 80, 128, ADAM),
)
ORDERS = (
    Recipe("BN-conv-ReLU ResNet-26", "resnet_26_bn_conv_relu", 80, 128, (*SGD, "--weight_decay", "0.0001", *BY_ACCURACY)),
    Recipe("BN-conv-ReLU ResNet-20", "resnet_20_bn_conv_relu", 80, 128, ADAM),
)


@dataclass(frozen=True)
class Outcome:
    """What a run reached in its last epoch; the best validation accuracy of all beside it."""

    architecture: str
    epochs: int
    training_loss: float
    training_accuracy: float
    validation_accuracy: float
    best_validation_accuracy: float
    seconds_an_epoch: float


def folder_name(recipe: Recipe) -> str:
    return recipe.name.lower().replace(", ", "-").replace(" ", "-")


def fitting(value: str, epochs: int) -> str:
    """Return a schedule that neither waits nor falls for longer than the run lasts."""
    value = re.sub(r"patience=(\d+)", lambda found: f"patience={min(int(found[1]), epochs - 1)}", value)
    return re.sub(r"t_max=(\d+)", lambda found: f"t_max={min(int(found[1]), epochs)}", value)


def command(recipe: Recipe, options: BenchmarkOptions) -> list[str]:
    """Return the call of main.py for a row."""
    height, width = options.image_size or (recipe.side, recipe.side)
    call = [sys.executable, str(ROOT / "main.py"), "--data", options.data, "--arch", recipe.arch, "--image_size", str(height), str(width)]
    epochs = options.epochs or recipe.epochs
    flags = [fitting(each, epochs) for each in recipe.flags]
    call += ["--epochs", str(epochs), "--batch_size", str(options.batch_size or recipe.batch_size)]
    call += ["--aug", AUGMENTATION, "--logdir", str(Path(options.out).resolve()), "--name", folder_name(recipe), *flags]
    return call if options.workers is None else [*call, "--workers", str(options.workers)]


def find_rows(recipe: Recipe, options: BenchmarkOptions) -> list[dict[str, str]]:
    """Return the rows of metrics.csv of a run that has all its epochs, else none."""
    for table in sorted(Path(options.out).glob(f"*/{folder_name(recipe)}*/metrics.csv"), reverse=True):
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if len(rows) == (options.epochs or recipe.epochs):
            return rows
    return []


def outcome(recipe: Recipe, options: BenchmarkOptions) -> Outcome | None:
    """Return what the finished run of a row reached; None before there is one."""
    rows = find_rows(recipe, options)
    if not rows:
        return None
    last = rows[-1]
    return Outcome(
        recipe.name,
        len(rows),
        float(last["train_loss"]),
        float(last["train_top1"]),
        float(last["val_top1"]),
        max(float(row["val_top1"]) for row in rows),
        statistics.median(float(row["seconds"]) for row in rows),
    )


def as_markdown(outcomes: list[Outcome]) -> str:
    """Return the table, a line a network."""
    head = "| architecture | epochs | training loss | training accuracy | validation accuracy | best | s an epoch |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for each in outcomes:
        shares = " | ".join(f"{share:.2%}" for share in (each.training_accuracy, each.validation_accuracy, each.best_validation_accuracy))
        line = f"| {each.architecture} | {each.epochs} | {each.training_loss:.4f} | {shares} |"
        lines.append(f"{line} {each.seconds_an_epoch:.1f} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    name = "python -m benchmarks.architectures"
    parser = make_parser(name, f"{name} [FLAGS]", "Train networks of twelve years on one data set.")
    add_flags(parser, "what is compared", BenchmarkOptions)
    options = BenchmarkOptions(**vars(parser.parse_args(argv)))
    chosen = [*RECIPES, *(ORDERS if options.orders else ())]
    chosen = [recipe for recipe in chosen if (options.only or "").lower() in recipe.name.lower()]
    if not chosen:
        raise SystemExit(f"--only {options.only}: no row has this in its name; rows: {', '.join(each.name for each in RECIPES)}")
    table, names = "", [field.name for field in fields(Outcome)]
    for recipe in chosen:
        print(f"{recipe.name} ...", flush=True)
        if outcome(recipe, options) is None:
            run_quietly(command(recipe, options))
        outcomes = [each for each in (outcome(row, options) for row in (*RECIPES, *ORDERS)) if each is not None]
        table = as_markdown(outcomes)
        write_text(Path(options.out) / "architectures.md", table)
        write_csv(Path(options.out) / "architectures.csv", [names, *([getattr(each, name) for name in names] for each in outcomes)])
    print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
