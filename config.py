"""The only argparse: argv and an optional --config file -> a Request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from applications.options import SECTIONS, Request, RunConfig, check_together
from dataloader.holdout import parse_fold
from dataloader.sizes import parse_sizes
from utils.errors import UserError, nearest
from utils.flags import FlagParser, add_flags, flag, make_parser, underscored
from utils.spec import parse_specs

__all__ = ["Request", "build_parser", "parse"]


@dataclass(frozen=True)
class ActionOptions:
    """What to do. Without any of these, train."""

    evaluation: bool = flag(False, "measure the model of --resume on held-out images", short="-e", also=("--evaluate",))
    jit: bool = flag(False, "convert the model of --resume to TorchScript and compare the answers")
    info: bool = flag(False, "print layers, parameters, multiply-adds, memory and time of --arch")
    predict: tuple[str, ...] | None = flag(
        None,
        "answers of the model of --resume for files, folders, patterns, lists (.txt, .csv), videos, camera 0",
        metavar="PATH",
    )
    check: bool = flag(False, "look for what is wrong with --data: broken files, leaks, copies, labels, balance; write a page of it")
    undo: str | None = flag(None, "bring back the files that --check --fix moved away", metavar="LOG")
    prune: float | None = flag(None, "remove this share of the channels of the model of --resume, the least active ones", metavar="SHARE")
    compare: tuple[str, ...] | None = flag(
        None, "say whether models differ on the same test images: run folders, checkpoints or evaluation folders", metavar="RUN"
    )
    find_lr: bool = flag(False, "try rising learning rates on a throw-away model, draw the loss and suggest a rate")
    print_schedule: bool = flag(False, "draw the learning rate over the run as a picture under --logdir, without training")
    write_matrix: str | None = flag(
        None, "write a template of --matrix_kind for the classes of --data, to be filled in for --cost_matrix and its kin", metavar="FILE"
    )
    visual_data: Literal["train", "val", "test"] | None = flag(
        None,
        "draw images of this split as the network sees them, train ones augmented; with --resume, what the model looked at in them",
    )
    prepare: str | None = flag(None, "write the images of --data resized, split and measured to a new folder", metavar="DIR")
    shard: str | None = flag(None, "write the images of --data as tar archives of the WebDataset kind to a new folder", metavar="DIR")
    knowledge: Literal["train", "val", "test"] | None = flag(
        None, "write what the model of --resume says of these images as distill.txt, from which --distill learns"
    )
    make_curriculum: Literal["train", "val", "test"] | None = flag(
        None, "write a weight for each of these images, by how sure the model of --resume is of its label, as curriculum.txt"
    )
    list: str | None = flag(
        None,
        "print a table: models, criterions, weighters, distillations, optimizers, schedules, sources, augments, mixes, samplers, "
        "checks, curricula, visual_methods; or models such as 'timm/*vit*'",
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
    filed = read_config_file(Path(call["config"])) if call.get("config") else {}
    given = {**_with_aug_config(filed), **_with_aug_config(values)}
    config = RunConfig().override(given, source=call.get("config") or "command line")
    looks = config.look.visual_method is not None
    action = chosen[0] if chosen else "visual_data" if looks else "train"
    subject = actions.get(action, "")
    several = tuple(subject) if isinstance(subject, list) else ()
    request = Request(action, config, given, "" if several or isinstance(subject, bool) else str(subject), several)
    _check(request)
    return request


def _with_aug_config(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings with the content of --aug_config as `aug`, so that a run does not depend on the file later."""
    if given.get("aug_config") is None:
        return given
    if given.get("aug") is not None:
        raise UserError("--aug and --aug_config both say how to augment; give one of them")
    from dataloader.augment.config_file import read_aug_config

    return {**given, "aug_config": None, "aug": read_aug_config(Path(given["aug_config"]))}


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
    looks = request.action == "visual_data" and config.look.visual_method is not None
    if (looks or request.action in ("evaluation", "jit", "prune", "predict", "knowledge", "make_curriculum")) and not config.train.resume:
        raise UserError(f"--{request.action} needs --resume RUN_OR_FILE, the model to look at")
    _check_evaluation(request)
    runtime = config.runtime
    if request.action in ("visual_data", "predict") and max(runtime.nproc or 1, runtime.gpus or 1, runtime.nodes) > 1:
        raise UserError(f"--{request.action} runs in one process; leave --nproc, --gpus and --nodes out")
    if config.look.visual_method is not None and request.action != "visual_data":
        raise UserError(f"--visual_method goes with --visual_data, not with --{request.action}")
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
    positive = ("epochs", "batch_size", "aug_splits", "accumulate", "print_freq", "nodes", "save_minutes", "lr")
    plain = config.to_dict()
    for name in (*positive, "smaller_side", "shard_size", "top_k", "frames"):
        if not plain[name] > 0:
            raise UserError(f"--{name} must be above 0, not {plain[name]}")
    for name in ("patience", "max_minutes", "nproc", "gpus", "clip_grad", "soup", "epoch_size", "cache_size", "limit"):
        if plain[name] is not None and not plain[name] > 0:
            raise UserError(f"--{name} must be above 0, not {plain[name]}")
    for name in ("weight_decay", "warmup", "workers", "mix_off_epochs"):
        if plain[name] is not None and plain[name] < 0:
            raise UserError(f"--{name} must not be negative, not {plain[name]}")
    name = config.output.name
    if name is not None and (name in ("", ".", "..") or Path(name).name != name):
        raise UserError(f"--name {name!r} is to be the name of one folder; --logdir says where it lies")
    _check_names(config)
    if not config.train.resume:
        # A resumed run has its other half in the checkpoint; the loss is read again when it is built.
        _check_loss(request)
        _check_cache(config)
        _check_unused(request)
    _check_teaching(request)
    if config.data.batch is not None and (config.train.resume or request.action != "train"):
        raise UserError("--batch auto belongs to the start of a training; give a number, --batch_size N")
    if config.data.batch is not None and "batch_size" in request.given:
        raise UserError("--batch auto and --batch_size both give the images a step; give one of them")
    usual = type(config.optim)()
    if config.optim.slim != usual.slim and not config.optim.sparsity:
        raise UserError(f"--slim {config.optim.slim:g} is not used; add --sparsity, or leave it out")
    if config.optim.clip_mode != usual.clip_mode and config.optim.clip_grad is None:
        raise UserError(f"--clip_mode {config.optim.clip_mode} is not used; add --clip_grad X, or leave it out")
    if config.train.resume and config.data.mean_std is not None:
        raise UserError(
            "--mean_std belongs to the start of a training: the numbers travel with the weights; start anew with --init_from FILE"
        )
    if not config.train.resume:
        check_together(config)
    if min(config.data.image_size) < 1:
        raise UserError("--image_size needs two numbers above 0: height and width")
    _check_augmentation(request)


def _check_augmentation(request: Request) -> None:
    """Raise UserError for settings that cannot be read, or that nothing would use."""
    data = request.config.data
    if request.config.train.resume:
        # The other half of a resumed run's settings is in the checkpoint.
        return
    if data.fold is not None:
        parse_fold(data.fold)
    if data.size_schedule is not None:
        parse_sizes(data.size_schedule, data.image_size, request.config.train.epochs)
    if data.mix_off_epochs and not (data.mixup or data.cutmix):
        raise UserError(f"--mix_off_epochs {data.mix_off_epochs} is not used; add --mixup or --cutmix, or leave it out")


def _check_teaching(request: Request) -> None:
    """Raise UserError for teachers and curricula that cannot work."""
    config, teach = request.config, request.config.teach
    if request.action in ("knowledge", "make_curriculum") and config.output.split is not None:
        raise UserError(f"--{request.action} {request.subject} names the images; leave --split out")
    if request.action == "make_curriculum":
        teach.courses()
    if not 0 < teach.distill_temperature < float("inf"):
        raise UserError(f"--distill_temperature {teach.distill_temperature:g} must be above 0; 1 leaves the logits as they are")
    if not 0 <= teach.distill_weight <= 1:
        raise UserError(f"--distill_weight {teach.distill_weight:g} is a share from 0 (labels alone) to 1 (teachers alone)")
    if not 0 <= teach.distill_feature_weight < float("inf"):
        raise UserError(f"--distill_feature_weight {teach.distill_feature_weight:g} must be 0 or more")
    if teach.distill_features is not None and config.runtime.compile:
        raise UserError("--distill_features looks inside the network, which --compile closes; leave one of them out")
    if teach.teacher and config.data.batch is not None:
        raise UserError("--batch auto measures the student's memory, not the teacher's; give a number, --batch_size N")


def _check_unused(request: Request) -> None:
    """Raise UserError for settings of teachers that nothing would use."""
    teach, given = request.config.teach, request.given
    if not teach.teacher:
        for name in ("distill_loss", "distill_temperature", "distill_weight", "distill_features"):
            if name in given and given[name] != getattr(type(teach)(), name):
                raise UserError(f"--{name} is not used; it belongs to --teacher RUN")
    if "distill_feature_weight" in given and teach.distill_features is None and given["distill_feature_weight"] != 1:
        raise UserError("--distill_feature_weight is not used; it belongs to --distill_features")
    if request.action != "make_curriculum":
        for name in ("curriculum_thresholds", "curriculum_weights"):
            if name in given and tuple(given[name]) != getattr(type(teach)(), name):
                raise UserError(f"--{name} is not used; it belongs to --make_curriculum")


def _check_names(config: RunConfig) -> None:
    """Raise UserError for names that no table has, before anything slow begins."""
    from criterions import DISTILLATIONS
    from dataloader import CURRICULA
    from models import check_arch
    from optim import OPTIMIZERS, SCHEDULES

    check_arch(config.model.arch)
    OPTIMIZERS.check(config.optim.opt)
    for spec in parse_specs(config.optim.schedule):
        SCHEDULES.check(spec.name)
    for spec in parse_specs(config.teach.distill_loss):
        DISTILLATIONS.check(spec.name)
    for spec in parse_specs(config.teach.curriculum or []):
        CURRICULA.check(spec.name)


def _check_cache(config: RunConfig) -> None:
    """Raise UserError for settings of a cache that nothing would use."""
    data = config.data
    if data.cache_dir is not None and data.cache != "disk":
        raise UserError(f"--cache_dir {data.cache_dir} is not used; add --cache disk, or leave it out")
    if data.cache_size is not None and (data.cache == "off" or not data.aug):
        raise UserError(f"--cache_size {data.cache_size} is for --cache with --aug; without --aug the model's own pixels are kept")


def _check_evaluation(request: Request) -> None:
    """Raise UserError for flags of --evaluation that nothing would use."""
    options = request.config.evaluation
    for name in ("tta", "target", "calibrate"):
        if request.given.get(name) and request.action != "evaluation":
            raise UserError(f"--{name} belongs to --evaluation; add it, or leave --{name} out")
    if options.calibrate and options.tta:
        raise UserError("--calibrate stores what single views need; leave --tta out of that call")
    if request.action == "compare" and len(request.subjects) < 2:
        raise UserError("--compare needs at least two models: --compare RUN RUN ...")


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
