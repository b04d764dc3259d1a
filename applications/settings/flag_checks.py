"""What flags must agree on: values out of range, combinations that contradict each other, settings that nothing would use."""

from pathlib import Path

from applications.settings.duration import check_timed
from applications.settings.flag_use import GROUPS, refuse_unused
from applications.settings.options import AUTO, DataOptions, OptimOptions, Request, RunConfig, flag_metadata
from applications.settings.quantization_aware import check_start
from dataloader.loading.size_schedule import parse_sizes
from dataloader.splits.holdout import parse_fold
from models.options import fixed_bn_momentum
from utils.errors import UserError
from utils.spec import parse_specs


def check_request(request: Request) -> None:
    """Raise UserError for values and combinations that cannot work."""
    config = request.config
    _check_action(request)
    _check_evaluation(request)
    _check_export(request)
    _check_processes(request)
    _check_sweep(request)
    _check_start(request)
    _check_ranges(config)
    _check_names(config)
    _check_optimizer(config.optim)
    if not config.train.resume or config.train.resume == AUTO:
        # On --resume these settings are completed by the checkpoint; the loss is checked when it is built.
        _check_loss(request)
        _check_cache(config.data)
        _check_unused_teaching(request)
        check_together(config)
        _check_augmentation(config)
    _check_teaching(request)


def check_together(config: RunConfig) -> None:
    """Raise UserError for settings that cannot work together, in a fresh run or in one that goes on with other settings."""
    data, optim = config.data, config.optim
    if optim.sam is not None and optim.accumulate > 1:
        raise UserError("--sam looks at one batch twice and cannot be joined with --accumulate; leave one of them out")
    if optim.swa is not None and optim.ema is not None:
        raise UserError("--swa and --ema are two averages of the same weights; give one of them")
    check_timed(config)
    if data.aug_splits > 1 and (data.mixup or data.cutmix):
        raise UserError("--aug_splits compares copies of one image, which --mixup and --cutmix blend with others; leave one of them out")
    if data.aug_splits > 1 and not data.aug:
        raise UserError(f"--aug_splits {data.aug_splits} needs --aug: without it all copies of an image are the same")
    if data.aug_repeats > 1 and not data.aug:
        raise UserError(f"--aug_repeats {data.aug_repeats} needs --aug: without it all copies of an image are the same")
    if data.aug_repeats > 1 and data.aug_splits > 1:
        raise UserError("--aug_repeats and --aug_splits both put copies of an image into its batch; give one of them")
    if config.loss.jsd is not None and data.aug_splits < 2:
        raise UserError("--jsd compares copies of an image; add --aug_splits 3")
    if config.teach.curriculum is not None and (data.mixup or data.cutmix or data.aug_splits > 1 or data.aug_repeats > 1):
        raise UserError(
            "--curriculum follows the loss of single images; leave it out, or --mixup, --cutmix, --aug_splits and --aug_repeats"
        )


def _check_action(request: Request) -> None:
    """Raise UserError for an action without its model, and for flags that it would not use."""
    config, action = request.config, request.action
    looks = action == "visual_data" and config.look.visual_method is not None
    if (looks or action in GROUPS["model"]) and not config.train.resume:
        raise UserError(f"--{action} needs --resume RUN_OR_FILE, the model to look at")
    refuse_unused(request)


def _check_evaluation(request: Request) -> None:
    """Raise UserError for flags of --evaluation that contradict each other, and for too few models to compare."""
    options = request.config.evaluation
    if options.calibrate and options.tta:
        raise UserError("--calibrate stores what single views need; leave --tta out of that call")
    if request.action == "compare" and len(request.subjects) < 2:
        raise UserError("--compare needs at least two models: --compare RUN RUN ...")


def _check_export(request: Request) -> None:
    """Raise UserError for a tolerance that means nothing."""
    options = request.config.export
    if options.tolerance is not None and not 0 <= options.tolerance < 1:
        raise UserError(f"--tolerance {options.tolerance:g} is a difference of probabilities, from 0 up to, not including, 1")
    if options.int8 and options.half:
        raise UserError("--int8 and --half both say how the network is written; give one of them")
    best = request.action == "export" and request.subject == "best"
    if "int8_images" in request.typed and not (options.int8 or best):
        raise UserError(f"--int8_images {options.int8_images} has no effect without --int8")
    if "max_drop" in request.typed and not (options.int8 or best):
        raise UserError(f"--max_drop {options.max_drop:g} has no effect without --int8")
    for name, value in (("max_drop", options.max_drop), ("min_accuracy", options.min_accuracy)):
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"--{name} {value:g} is a share, from 0 to 1; half a point is 0.005")
    for name in ("min_accuracy", "max_ms"):
        if name in request.typed and request.action == "export" and not best:
            raise UserError(f"--{name} chooses among files; write --export best")


def _check_processes(request: Request) -> None:
    """Raise UserError for two numbers of processes."""
    runtime = request.config.runtime
    if runtime.nproc and runtime.gpus and runtime.nproc != runtime.gpus:
        raise UserError("--nproc and --gpus both give the number of processes; give one of them")


def _check_sweep(request: Request) -> None:
    """Raise UserError for settings of one run that a sweep of many cannot take."""
    if request.action != "sweep":
        return
    for name in ("resume", "max_minutes"):
        if name in request.given:
            raise UserError(f"--{name} is for one run; a stopped sweep goes on by the same command: leave --{name} out")


def _check_start(request: Request) -> None:
    """Raise UserError for two beginnings of one training, and for what only a beginning can choose."""
    config = request.config
    resumes = config.train.resume is not None and config.train.resume != AUTO
    if config.train.resume == AUTO and request.action != "train":
        raise UserError(f"--resume auto is for training; name the run that --{request.action} is to look at")
    if resumes and config.model.init_from:
        raise UserError("--resume goes on with a run, --init_from starts one from its weights; give one of them")
    if resumes and config.train.recipe is not None and "recipe" in request.typed:
        raise UserError("--recipe belongs to the start of a training: a run that goes on has its settings; leave it out")
    check_start(request.given)
    if config.model.pretrained and config.model.init_from:
        raise UserError("--pretrained and --init_from both name the starting weights; give one of them")
    if config.model.advprop and not config.model.pretrained:
        raise UserError("--advprop chooses among published weights; add --pretrained")
    if config.model.init is not None and (config.model.pretrained or config.model.init_from) and not resumes:
        source = "--pretrained" if config.model.pretrained else "--init_from"
        raise UserError(f"--init and {source} both say what the weights start from; give one of them")
    if config.data.batch is not None and (resumes or request.action != "train"):
        raise UserError("--batch auto belongs to the start of a training; give a number, --batch_size N")
    if config.data.batch is not None and "batch_size" in request.given:
        raise UserError("--batch auto and --batch_size both give the images per step; give one of them")
    if resumes and config.data.mean_std is not None:
        raise UserError(
            "--mean_std belongs to the start of a training: the numbers travel with the weights; start a new run with --init_from FILE"
        )


def _check_ranges(config: RunConfig) -> None:
    """Raise UserError for numbers that mean nothing, and for a name that is none."""
    for name, value, meaning in (("conf", config.boxes.conf, "a score"), ("nms", config.boxes.nms, "an overlap of two boxes")):
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"--{name} {value:g} is {meaning}, from 0 to 1")
    for name, value in config.to_dict().items():
        declared = flag_metadata(name)
        above, least = declared["above"], declared["least"]
        if value is not None and above is not None and not value > above:
            raise UserError(f"--{name} must be above {above:g}, not {value}")
        if value is not None and least is not None and not value >= least:
            raise UserError(f"--{name} must be {least:g} or more, not {value}")
    fixed_bn_momentum(config.model.bn_momentum)
    if min(config.data.image_size) < 1:
        raise UserError("--image_size needs two numbers above 0: height and width")
    name = config.output.name
    if name is not None and (name in ("", ".", "..") or Path(name).name != name):
        raise UserError(f"--name {name!r} is to be the name of one folder; --logdir says where it lies")


def _check_names(config: RunConfig) -> None:
    """Raise UserError for names that no table has, before anything slow begins."""
    from criterions import DISTILLATIONS
    from dataloader import SELF_PACED
    from models import INITS, check_arch
    from optim import SCHEDULES
    from optim.optimizer_name import read_optimizer

    check_arch(config.model.arch)
    read_optimizer(config.optim.opt)
    for spec in parse_specs(config.model.init or []):
        INITS.check(spec.name)
    config.data.check_names()
    for spec in parse_specs(config.optim.schedule):
        SCHEDULES.check(spec.name)
    for spec in parse_specs(config.teach.distill_loss):
        DISTILLATIONS.check(spec.name)
    for spec in parse_specs(config.teach.curriculum or []):
        SELF_PACED.check(spec.name)


def _check_optimizer(optim: OptimOptions) -> None:
    """Raise UserError for settings of the optimizer that nothing would use."""
    usual = type(optim)()
    if optim.slim != usual.slim and not optim.sparsity:
        raise UserError(f"--slim {optim.slim:g} has no effect without --sparsity")
    if optim.clip_mode != usual.clip_mode and optim.clip_grad is None:
        raise UserError(f"--clip_mode {optim.clip_mode} has no effect without --clip_grad X")


def _check_loss(request: Request) -> None:
    """Raise UserError for losses that cannot be read, and for files that nothing would use."""
    loss = request.config.loss
    loss.spec()
    for switch, on, matrix, file in (
        ("weighted_loss", loss.weighted_loss, "cost_matrix", loss.cost_matrix),
        ("threshold_loss", loss.threshold_loss, "threshold_matrix", loss.threshold_matrix),
    ):
        if file is not None and not on:
            raise UserError(f"--{matrix} {file} has no effect without --{switch}")
    if loss.hard_ratio != type(loss)().hard_ratio and not loss.ohm_loss:
        raise UserError(f"--hard_ratio {loss.hard_ratio} has no effect without --ohm_loss")


def _check_cache(data: DataOptions) -> None:
    """Raise UserError for settings of a cache that nothing would use."""
    if data.cache_dir is not None and data.cache != "disk":
        raise UserError(f"--cache_dir {data.cache_dir} has no effect without --cache disk")
    if data.cache_size is not None and (data.cache == "off" or not data.aug):
        raise UserError(f"--cache_size {data.cache_size} is for --cache with --aug; without --aug the model's own pixels are kept")


def _check_augmentation(config: RunConfig) -> None:
    """Raise UserError for settings that cannot be read, or that nothing would use."""
    data = config.data
    if data.fold is not None:
        parse_fold(data.fold)
    if data.size_schedule is not None:
        parse_sizes(data.size_schedule, data.image_size, config.train.epochs)
    if config.truths.crop and data.cache != "off":
        raise UserError("--cache keeps images at about the size of the model, and --crop needs them at their own; leave one of them out")
    if data.mix_mode != type(data)().mix_mode and not (data.mixup or data.cutmix):
        raise UserError(f"--mix_mode {data.mix_mode} has no effect without --mixup or --cutmix")
    if data.mix_off_epochs and not (data.mixup or data.cutmix):
        raise UserError(f"--mix_off_epochs {data.mix_off_epochs} has no effect without --mixup or --cutmix")


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
    if teach.distill_features is not None and config.runtime.compile != "off":
        raise UserError("--distill_features looks inside the network, which --compile closes; leave one of them out")
    if teach.teacher and config.data.batch is not None:
        raise UserError("--batch auto measures the student's memory, not the teacher's; give a number, --batch_size N")


def _check_unused_teaching(request: Request) -> None:
    """Raise UserError for settings of teachers and courses that nothing would use."""
    teach, given = request.config.teach, request.given
    if not teach.teacher:
        for name in ("distill_loss", "distill_temperature", "distill_weight", "distill_features"):
            if name in given and given[name] != getattr(type(teach)(), name):
                raise UserError(f"--{name} has no effect without --teacher RUN")
    if "distill_feature_weight" in given and teach.distill_features is None and given["distill_feature_weight"] != 1:
        raise UserError("--distill_feature_weight has no effect without --distill_features")
