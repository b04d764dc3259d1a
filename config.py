"""argv and an optional --config file -> a Request."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from applications.listing.table_names import TABLES
from applications.settings.config_file import read_config_file
from applications.settings.duration import in_minutes, joined
from applications.settings.flag_checks import check_request
from applications.settings.foreign_flags import OTHER_VALUES, advice
from applications.settings.optimizer_change import rates_of_another
from applications.settings.options import SECTIONS, Request, RunConfig
from applications.settings.quantization_aware import without_length
from applications.settings.recipes import settings_below
from utils.errors import UserError
from utils.flags import FlagParser, add_flags, flag, make_parser, underscored

__all__ = ["Request", "build_parser", "parse"]


@dataclass(frozen=True)
class ActionOptions:
    """What to do. Without any of these, train."""

    evaluation: bool = flag(False, "measure the model of --resume on held-out images", short="-e", also=("--evaluate",))
    export: str | None = flag(
        None,
        "write the model of --resume as files for other programs (--list formats), several with commas, and keep those that answer "
        "as it does; best: the fastest of several that is accurate enough",
        metavar="FORMAT",
    )
    benchmark: tuple[str, ...] | None = flag(
        None,
        "measure checkpoints and exported files on this device, each in a process of its own: time, memory, size, accuracy; as CSV, "
        "Markdown and a picture",
        metavar="FILE",
    )
    jit: bool = flag(False, "short for --export torchscript")
    info: bool = flag(False, "print layers, parameters, multiply-adds, memory and time of --arch")
    predict: tuple[str, ...] | None = flag(
        None,
        "predict with the model of --resume: files, folders, patterns, lists (.txt, .csv), videos, camera 0",
        metavar="PATH",
    )
    serve: tuple[str, ...] | None = flag(
        None,
        "answer for images on a page and through a JSON API of this machine: runs, checkpoints, exported files; several are compared",
        metavar="RUN|FILE",
    )
    check: bool = flag(False, "look for what is wrong with --data: broken files, leaks, copies, labels, balance; write a page of it")
    undo: str | None = flag(None, "bring back the files that --check --fix moved away", metavar="LOG")
    convert_yolov5: tuple[str, ...] | None = flag(
        None,
        "write the weights of a darknet_yolov5 backbone with the names of YOLOv5, or the other way around: the file to read, the file "
        "to write",
        metavar="FILE",
    )
    prune: float | None = flag(
        None, "remove this share of the multiply-adds of the model of --resume: the channels that it misses least", metavar="SHARE"
    )
    compare: tuple[str, ...] | None = flag(
        None, "say whether models differ on the same test images: run folders, checkpoints or evaluation folders", metavar="RUN"
    )
    table: str | None = flag(
        None, "list the runs below this folder: accuracy, parameters, multiply-adds, time; as CSV, Markdown and a picture", metavar="FOLDER"
    )
    probe: bool = flag(
        False,
        "fit a linear classifier on the frozen network of --pretrained or --init_from, in seconds: a model like any other, and what "
        "fine-tuning has to beat",
    )
    find_lr: bool = flag(False, "try rising learning rates on a throw-away model, draw the loss and suggest a rate")
    sweep: str | None = flag(
        None,
        "search for the best settings by successive halving: 'lr=1e-4..1e-2 wd=0.01,0.05 mixup=on,off', ranges or lists of values; "
        "--epochs or --minutes is the longest training; the same command goes on after an interruption",
        metavar="SPACE",
    )
    print_schedule: bool = flag(False, "draw the learning rate over the run as a picture under --logdir, without training")
    write_matrix: str | None = flag(
        None,
        "write a template of --matrix_kind for the classes of --data, to be filled in for --cost_matrix, --threshold_matrix or "
        "--class_weights",
        metavar="FILE",
    )
    visual_data: Literal["train", "val", "test"] | None = flag(
        None,
        "draw images of this split as the network sees them, train ones augmented; with --resume, what the model looked at in them",
    )
    prepare: str | None = flag(None, "write the images of --data resized, split and measured to a new folder", metavar="DIR")
    shard: str | None = flag(None, "write the images of --data as tar archives of the WebDataset kind to a new folder", metavar="DIR")
    convert_labels: Literal["yolo", "voc", "coco", "corners", "csv"] | None = flag(
        None, "write the images of --data with their boxes in this format to a new folder under --logdir"
    )
    knowledge: Literal["train", "val", "test"] | None = flag(
        None, "write the model's probabilities for this split to distill.txt, for --distill"
    )
    make_curriculum: Literal["train", "val", "test"] | None = flag(
        None, "write a weight for each of these images, by how sure the model of --resume is of its label, as curriculum.txt"
    )
    list: str | None = flag(
        None,
        f"print a table: models, weights, {', '.join(TABLES)}; or models such as 'timm/*vit*'",
        metavar="TABLE|PATTERN",
    )


@dataclass(frozen=True)
class CallOptions:
    """How this call is read."""

    config: str | None = flag(
        None,
        "settings from this .json, .yaml or .py file (a run's config.json too); flags outrank it; a .py file is run",
        short="-c",
        metavar="FILE",
    )
    debug: bool = flag(False, "show the traceback of an error")


def build_parser() -> FlagParser:
    """Return the parser of all flags, grouped by owner."""
    parser = make_parser(
        "python main.py",
        "python main.py [ACTION] [FLAGS]",
        "Train, evaluate, slim and ship image models. Without an action: train on --data. "
        "Flags may be spelled with hyphens, too; a switch is turned off with --no_NAME.",
    )
    add_flags(parser, "actions", ActionOptions)
    for title, options in SECTIONS.items():
        add_flags(parser, title, options)
    add_flags(parser, "this call", CallOptions)
    parser.other_values = OTHER_VALUES
    return parser


def parse(argv: list[str]) -> Request:
    """Read the command line.

    Raises:
        UserError: an unknown flag, key or value, or flags that contradict each other.
    """
    parser = build_parser()
    namespace, unknown = parser.parse_known_args(underscored(argv))
    if unknown:
        raise UserError(f"{_unknown(unknown[0], argv, parser)} See python main.py --help")
    values = vars(namespace)
    actions = {item.name: values.pop(item.name) for item in fields(ActionOptions) if item.name in values}
    chosen = [name for name, value in actions.items() if value is not None and value is not False]
    if len(chosen) > 1:
        raise UserError(f"choose one action, not {' and '.join('--' + name for name in chosen)}")
    call = {item.name: values.pop(item.name) for item in fields(CallOptions) if item.name in values}
    filed = read_config_file(Path(call["config"])) if call.get("config") else {}
    filed = _settled(without_length(filed, values))
    left_out = rates_of_another(filed, values.get("opt"), kept=values)
    given = joined({name: value for name, value in filed.items() if name not in left_out}, _settled(values))
    config = RunConfig().override(settings_below(given)).override(given, source=call.get("config") or "command line")
    looks = config.look.visual_method is not None
    action = chosen[0] if chosen else "visual_data" if looks else "train"
    subject = actions.get(action, "")
    if action == "visual_data" and config.train.resume:
        action = "explain"
    several = tuple(subject) if isinstance(subject, list) else ()
    named = "" if several or isinstance(subject, bool) else str(subject)
    request = Request(action, config, given, named, several, frozenset(values), left_out)
    check_request(request)
    return request


def _settled(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of one source as they are kept: --hours in minutes, --aug_config as what the file says."""
    return in_minutes(_with_aug_config(given))


def _with_aug_config(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings with the content of --aug_config as `aug`, so that a run does not depend on the file later."""
    if given.get("aug_config") is None:
        return given
    if given.get("aug") is not None:
        raise UserError("--aug and --aug_config both say how to augment; give one of them")
    from dataloader.augment.config_file import read_aug_config

    return {**given, "aug_config": None, "aug": read_aug_config(Path(given["aug_config"]))}


def _unknown(argument: str, argv: Sequence[str], parser: FlagParser) -> str:
    """Return what is wrong with an argument that no flag took, in sentences."""
    known = [option[2:] for action in parser._actions for option in action.option_strings if option.startswith("--")]
    name, equals, value = argument.lstrip("-").partition("=")
    if argument.startswith("-"):
        written = next(each for each in argv if underscored([each]) == [argument]).partition("=")[0]
        return f"unknown flag {written}. {advice(written.lstrip('-'), known, prefix='--')}".rstrip()
    if equals and name.isidentifier():
        return f"'{argument}' is not a flag. {_as_flag(name, value, parser) if name in known else advice(name, known)}".rstrip()
    before = [first[2:] for first, second in pairwise(underscored(argv)) if second == argument]
    switch = next((each for each in before if each in OTHER_VALUES and each in known), None)
    if switch is not None:
        return f"--{switch} takes no value, such as '{argument}'; write {OTHER_VALUES[switch]}."
    return f"'{argument}' belongs to no flag; put a flag such as --data or --resume before it."


def _as_flag(name: str, value: str, parser: FlagParser) -> str:
    """Return how a flag is written that was given as name=value."""
    action = parser._option_string_actions[f"--{name}"]
    if action.nargs == 0:
        switched = {"true": f"--{name}", "false": f"--no_{name}"}.get(value.lower(), OTHER_VALUES.get(name, f"--{name}"))
        return f"Write {switched}."
    words = [f"--{name}", *value.split(",")]
    try:
        fits = value.lower() not in ("true", "false") and not parser.parse_known_args(words)[1]
    except UserError:
        fits = False
    usage = f"--{name} {action.metavar if isinstance(action.metavar, str) else ' '.join(action.metavar or ())}"
    return f"Write {shlex.join(words) if fits else OTHER_VALUES.get(name, usage)}."
