"""The only argparse: argv and an optional --config file -> a Request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from applications.options import SECTIONS, Request, RunConfig
from utils.errors import UserError, nearest
from utils.flags import FlagParser, add_flags, flag, make_parser, underscored

__all__ = ["Request", "build_parser", "parse"]


@dataclass(frozen=True)
class ActionOptions:
    """What to do. Without any of these, train."""

    evaluation: bool = flag(False, "measure the model of --resume on held-out images", short="-e", also=("--evaluate",))
    jit: bool = flag(False, "convert the model of --resume to TorchScript and compare the answers")
    info: bool = flag(False, "print layers, parameters, multiply-adds, memory and time of --arch")
    check: bool = flag(False, "look for what is wrong with --data: broken files, leaks, copies, labels, balance; write a page of it")
    undo: str | None = flag(None, "bring back the files that --check --fix moved away", metavar="LOG")
    prune: float | None = flag(None, "remove this share of the channels of the model of --resume, the least active ones", metavar="SHARE")
    find_lr: bool = flag(False, "try rising learning rates on a throw-away model, draw the loss and suggest a rate")
    print_schedule: bool = flag(False, "draw the learning rate over the run as schedule.png, without training")
    write_matrix: str | None = flag(
        None, "write a template of --matrix_kind for the classes of --data, to be filled in for --cost_matrix and its kin", metavar="FILE"
    )
    list: str | None = flag(
        None,
        "print a table: models, criterions, weighters, optimizers, schedules, sources, augments, checks; or models: 'timm/*vit*'",
        metavar="TABLE|PATTERN",
    )


@dataclass(frozen=True)
class CallOptions:
    """How this call is read."""

    config: str | None = flag(
        None, "settings from this .json or .yaml file (a run's config.json too); flags outrank it", short="-c", metavar="FILE"
    )
    debug: bool = flag(False, "show the traceback of an error")


def build_parser() -> FlagParser:
    """Return the parser of all flags, grouped by owner."""
    parser = make_parser(
        "python main.py",
        "python main.py [ACTION] [FLAGS]",
        "Train, evaluate, slim and ship image classifiers. Without an action: train on --data. "
        "Flags may be spelt with hyphens too; a switch is turned off with --no_NAME.",
    )
    add_flags(parser, "actions", ActionOptions)
    for title, (_, options) in SECTIONS.items():
        add_flags(parser, title, options)
    add_flags(parser, "this call", CallOptions)
    return parser


def parse(argv: list[str]) -> Request:
    """Read the command line.

    Raises:
        UserError: an unknown flag, key or value, or flags that contradict each other.
    """
    parser = build_parser()
    namespace, unknown = parser.parse_known_args(underscored(argv))
    if unknown:
        raise UserError(_unknown(unknown[0], parser))
    values = vars(namespace)
    actions = {item.name: values.pop(item.name) for item in fields(ActionOptions) if item.name in values}
    chosen = [name for name, value in actions.items() if value is not None and value is not False]
    if len(chosen) > 1:
        raise UserError(f"choose one action, not {' and '.join('--' + name for name in chosen)}")
    call = {item.name: values.pop(item.name) for item in fields(CallOptions) if item.name in values}
    given = {**(read_config_file(Path(call["config"])) if call.get("config") else {}), **values}
    config = RunConfig().override(given, source=call.get("config") or "command line")
    action = chosen[0] if chosen else "train"
    subject = actions.get(action, "")
    request = Request(action, config, given, "" if isinstance(subject, bool) else str(subject))
    _check(request)
    return request


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Return the flat mapping in a .json or .yaml file.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"--config {path}: {(error.strerror or 'cannot be read').lower()}") from error
    try:
        if path.suffix == ".json":
            content = json.loads(text)
        else:
            import yaml

            content = yaml.safe_load(text)
    except ValueError as error:
        raise UserError(f"--config {path}: {error}") from error
    except Exception as error:
        # yaml's own error class is not at hand unless yaml was imported.
        raise UserError(f"--config {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: expected 'setting: value' lines")
    return {name: value for name, value in content.items() if value is not None}


def _unknown(argument: str, parser: FlagParser) -> str:
    if not argument.startswith("-"):
        return f"'{argument}' belongs to no flag; put a flag such as --data or --resume before it. See python main.py --help"
    name = argument.split("=")[0]
    known = [option for action in parser._actions for option in action.option_strings if not option.startswith("--no_")]
    return f"unknown flag {name}.{nearest(name, known)} See python main.py --help"


def _check(request: Request) -> None:
    """Raise UserError for values and combinations that cannot work."""
    config = request.config
    if request.action in ("evaluation", "jit", "prune") and not config.train.resume:
        raise UserError(f"--{request.action} needs --resume RUN_OR_FILE, the model to look at")
    if config.check.fix and request.action != "check":
        raise UserError("--fix is not used; add --check, or leave it out")
    if request.action in ("check", "undo") and (config.runtime.nproc or config.runtime.gpus or config.runtime.nodes > 1):
        raise UserError(f"--{request.action} starts processes of its own (-j N); leave --nproc, --gpus and --nodes out")
    if config.train.resume and config.model.init_from:
        raise UserError("--resume goes on with a run, --init_from starts one from its weights; give one of them")
    if config.model.pretrained and config.model.init_from:
        raise UserError("--pretrained and --init_from both name the starting weights; give one of them")
    if config.runtime.nproc and config.runtime.gpus and config.runtime.nproc != config.runtime.gpus:
        raise UserError("--nproc and --gpus both give the number of processes; give one of them")
    positive = ("epochs", "batch_size", "accumulate", "print_freq", "nodes", "save_minutes", "lr")
    plain = config.to_dict()
    for name in positive:
        if not plain[name] > 0:
            raise UserError(f"--{name} must be above 0, not {plain[name]}")
    for name in ("patience", "max_minutes", "nproc", "gpus", "clip_grad", "soup"):
        if plain[name] is not None and not plain[name] > 0:
            raise UserError(f"--{name} must be above 0, not {plain[name]}")
    for name in ("weight_decay", "warmup", "workers"):
        if plain[name] is not None and plain[name] < 0:
            raise UserError(f"--{name} must not be negative, not {plain[name]}")
    if not config.train.resume:
        # A resumed run has its other half in the checkpoint; the loss is read again when it is built.
        _check_loss(request)
    if config.optim.sam is not None and config.optim.accumulate > 1:
        raise UserError("--sam looks at one batch twice and cannot be joined with --accumulate; leave one of them out")
    if config.optim.swa is not None and config.optim.ema is not None:
        raise UserError("--swa and --ema are two averages of the same weights; give one of them")
    if min(config.data.image_size) < 1:
        raise UserError("--image_size needs two numbers above 0: height and width")


def _check_loss(request: Request) -> None:
    """Raise UserError for losses that cannot be read, and for files that nothing would use."""
    loss = request.config.loss
    loss.spec()
    for switch, on, matrix, file in (
        ("weighted_loss", loss.weighted_loss, "cost_matrix", loss.cost_matrix),
        ("threshold_loss", loss.threshold_loss, "threshold_matrix", loss.threshold_matrix),
    ):
        if file is not None and not on:
            raise UserError(f"--{matrix} {file} is not used; add --{switch}, or leave it out")
    if loss.hard_ratio != type(loss)().hard_ratio and not loss.ohm_loss:
        raise UserError(f"--hard_ratio {loss.hard_ratio} is not used; add --ohm_loss, or leave it out")
