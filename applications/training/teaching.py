"""Builds teachers (--teacher) and self-paced weights (--curriculum) around the task's objective."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from applications.assemble import Machine, with_layout_of
from applications.contract import Objective, Task
from applications.objectives.box_distillation import BoxDistillationObjective
from applications.objectives.distillation import DistillationObjective, FeatureMatching, StudentWithMaps, TeacherOutput, resize_images
from applications.objectives.self_paced import Rule, SelfPacedObjective, SelfPacedWeights
from applications.progress import Progress
from applications.settings.options import RunConfig, TeachOptions
from applications.tasks.detect import Detect
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained, load_trained
from applications.trained.exported import Exported, is_exported, load_exported, logits_of
from applications.trained.trained_task import build_label_task
from applications.training.box_teachers import box_teacher, check_pixels
from criterions.distillation import build_distillation
from criterions.elementwise import ActivationName
from dataloader import SELF_PACED
from dataloader.images.preprocess import Normalize
from dataloader.sidecars.format import check_classes
from dataloader.splits.catalog import Catalog
from dataloader.targets.target import Target
from models.backbone import Backbone
from models.detectors.detector import Detector
from models.memory_layout import lay_out
from utils.checkpoint import BEST, find_checkpoint, load_checkpoint
from utils.errors import UserError
from utils.logs import log
from utils.randomness import Stream, torch_generator
from utils.registry import is_user_code
from utils.spec import parse_specs


class NetworkTeacher:
    """A trained network as a teacher.

    Args:
        model: in evaluation mode, on its device; it is left alone.
        normalize: its own.
        image_size: (H, W) that it was trained on; a batch of another size is scaled.
        activation: what its logits mean.
        with_map: whether the last map is wanted.
    """

    def __init__(
        self, model: Backbone, normalize: Normalize, image_size: tuple[int, int], activation: ActivationName, *, with_map: bool
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.normalize = normalize
        self.image_size = image_size
        self.activation: ActivationName = activation
        self.with_map = with_map

    def __call__(self, images: Tensor) -> TeacherOutput:
        pixels = self.normalize(resize_images(images, self.image_size))
        if not self.with_map:
            return TeacherOutput(self.model(pixels).float(), None)
        maps = self.model.forward_features(pixels)
        return TeacherOutput(self.model.forward_head(maps).float(), maps[-1])


class FileTeacher:
    """An exported file as a teacher: the logits are found from its probabilities, up to what makes no difference."""

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self.activation: ActivationName = "softmax" if exported.activation == "softmax" else "sigmoid"

    def __call__(self, images: Tensor) -> TeacherOutput:
        with torch.autocast(images.device.type, enabled=False):
            probabilities = self.exported.module(resize_images(images, self.exported.preprocess.image_size))
        # Before the temperature: a teacher read from a checkpoint is used uncalibrated, and files must behave the same.
        return TeacherOutput(logits_of(probabilities, self.exported), None)


def load_teacher(place: str, config: RunConfig, catalog: Catalog, machine: Machine) -> NetworkTeacher | FileTeacher:
    """Return the teacher in a run folder, a checkpoint or an exported file.

    Raises:
        UserError: there is none, it knows other classes or has them in another order, or it cannot give what is asked.
    """
    device = machine.device
    if is_exported(place):
        if config.teach.distill_features is not None:
            raise UserError(
                f"--teacher {place}: an exported file shows no feature maps; give its run folder, or leave --distill_features out"
            )
        exported = load_exported(Path(place), device)
        check_classes(exported.classes, catalog.classes, source=f"--teacher {place}")
        _check_kind(place, exported.target, catalog)
        check_pixels(place, exported.preprocess, catalog, config.model.channels)
        log().info(f"teacher   {exported.describe()}")
        return FileTeacher(exported)
    trained = _load(place, config, device)
    check_classes(trained.classes, catalog.classes, source=f"--teacher {place}")
    task = build_label_task(trained, device)
    _check_kind(place, task.target, catalog)
    wants_map = config.teach.distill_features is not None
    assert isinstance(trained.model, Backbone)
    if wants_map:
        last_channels(trained.model, f"--teacher {place}: {trained.config.model.arch}")
    check_pixels(place, trained.preprocess, catalog, config.model.channels)
    log().info(f"teacher   {trained.describe()}")
    precision = with_layout_of(trained.config.model.pretrained_name(), machine.precision, device)
    lay_out(trained.model, precision.memory_format)
    normalize = Normalize(trained.preprocess.mean, trained.preprocess.std).to(device)
    return NetworkTeacher(trained.model, normalize, trained.preprocess.image_size, task.criterion.activation, with_map=wants_map)


def _load(place: str, config: RunConfig, device: torch.device) -> Trained:
    """Return the trained model at `place`. Code of the user's own is imported only where the student's flags have named it."""
    try:
        path = find_checkpoint(place, BEST)
        content = load_checkpoint(path)
        given: dict[str, Any] = {}
        if is_user_code(content["arch"]):
            given["arch"] = config.model.arch
        if any(is_user_code(spec.name) for spec in parse_specs(content["criterion"])):
            given["criterion"] = config.loss.criterion
        named = {"arch": config.model.arch, "criterion": config.loss.canonical()}
        if any(content[name] != named[name] for name in given if name in named):
            raise UserError(
                f"{path} needs code of your own that is not the student's; convert it with --jit and give the file as the teacher"
            )
        return load_trained(path, given, "teacher", device)
    except UserError as error:
        raise UserError(f"--teacher: {str(error).removeprefix('--resume: ')}") from error


def _check_kind(place: str, target: type[Target], catalog: Catalog) -> None:
    if target is not catalog.target:
        raise UserError(
            f"--teacher {place} gives an image {target.per_image}, the data has {catalog.target.per_image}; take a teacher of such data"
        )


def last_channels(model: Backbone, name: str) -> int:
    """Return the channels of the last map.

    Raises:
        UserError: the network shows no maps.
    """
    if not model.feature_info:
        raise UserError(f"{name} shows no feature maps; leave --distill_features out")
    return model.feature_info[-1].channels


def build_projections(ours: int, theirs: Sequence[int], *, seed: int) -> nn.ModuleList:
    """Return a 1x1 convolution for every teacher, from `ours` channels to theirs; the seed decides the weights."""
    layers = nn.ModuleList(nn.Conv2d(ours, channels, 1, bias=False) for channels in theirs)
    for number, layer in enumerate(layers):
        assert isinstance(layer, nn.Conv2d)
        nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=torch_generator(Stream.MODEL, seed, number))
    return layers


@dataclass(frozen=True)
class Teaching:
    """What a run learns from, besides its data.

    Attributes:
        objective: what training asks for a batch; the task's own step when nothing was added.
        network: what training calls: the model, or the model with its maps shown.
        extra_modules: what learns with it and is no part of it, or None.
        pace: sample weights that follow the running loss, or None.
    """

    objective: Objective
    network: nn.Module
    extra_modules: nn.Module | None
    pace: SelfPacedWeights | None

    def transforms(self) -> list:
        """Return what comes before all other transforms of a batch."""
        return [] if self.pace is None else [self.pace.transform]

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, for the checkpoint."""
        return {
            "projections": None if self.extra_modules is None else self.extra_modules.state_dict(),
            "pace": None if self.pace is None else self.pace.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; what is new begins afresh."""
        saved = state["projections"]
        if self.extra_modules is not None and saved is not None:
            own = self.extra_modules.state_dict()
            if {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in saved.items()}:
                self.extra_modules.load_state_dict(saved)
        if self.pace is not None and state["pace"] is not None:
            self.pace.load_state_dict(state["pace"])


def build_teaching(
    config: RunConfig,
    model: nn.Module,
    task: Task,
    catalog: Catalog,
    progress: Progress,
    machine: Machine,
    *,
    images: int,
    done: Callable[[], float],
) -> Teaching:
    """Return what --teacher and --curriculum ask for; without them, the task and the model as they are.

    Args:
        config: the settings.
        model: the bare network.
        task: that it learns.
        catalog: the data.
        progress: where the run stands.
        machine: where it computes.
        images: of training.
        done: gives the share of the run that is done.

    Raises:
        UserError: a teacher, a distance or a rule cannot be used.
    """
    options = config.teach
    objective: Objective = task.training_step
    network: nn.Module = model
    extra_modules, pace = None, None
    if options.teacher and isinstance(task, Detect):
        assert isinstance(model, Detector)
        loaders = [(place, partial(_load, place, config, machine.device)) for place in options.teacher]
        objective = BoxDistillationObjective(
            objective,
            [box_teacher(place, load, config, model, catalog, machine) for place, load in loaders],
            build_distillation(options.distill_loss, "sigmoid"),
            temperature=options.distill_temperature,
            weight=options.distill_weight,
        )
    elif options.teacher:
        assert isinstance(task, LabelTask), "other tasks refuse --teacher"
        teachers = [load_teacher(place, config, catalog, machine) for place in options.teacher]
        match = _build_match(config, model, teachers, machine.device)
        if match is not None:
            network, extra_modules = match.student, match.student.projections
        objective = DistillationObjective(
            objective,
            teachers,
            build_distillation(options.distill_loss, task.criterion.activation),
            activation=task.criterion.activation,
            num_classes=len(catalog.classes),
            temperature=options.distill_temperature,
            weight=options.distill_weight,
            match=match,
        )
    if options.curriculum is not None:
        assert isinstance(task, LabelTask), "other tasks refuse --curriculum"
        pace = SelfPacedWeights(
            build_rule(options.curriculum),
            images=images,
            progress=progress,
            done=done,
            part=config.data.batch_size // machine.world.size,
            world=machine.world,
            device=machine.device,
        )
        objective = SelfPacedObjective(objective, task.criterion, pace, len(catalog.classes))
    return Teaching(objective, network, extra_modules, pace)


def _build_match(
    config: RunConfig, model: nn.Module, teachers: Sequence[NetworkTeacher | FileTeacher], device: torch.device
) -> FeatureMatching | None:
    options: TeachOptions = config.teach
    if options.distill_features is None:
        return None
    assert isinstance(model, Backbone)
    channels = [last_channels(teacher.model, "the teacher") for teacher in teachers if isinstance(teacher, NetworkTeacher)]
    projections = build_projections(last_channels(model, f"--arch {config.model.arch}"), channels, seed=config.runtime.seed)
    return FeatureMatching(StudentWithMaps(model, projections.to(device)), options.distill_features, options.distill_feature_weight)


def build_rule(source: str) -> Rule:
    """Return the rule that a spec such as 'selfpaced(start=0.3)' names: a row of SELF_PACED, or 'my_file.py:Name'.

    Raises:
        UserError: the name or an argument cannot be used.
    """
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--curriculum {source}: write one rule, such as selfpaced")
    try:
        return SELF_PACED.resolve(specs[0].name)(*specs[0].args, **specs[0].kwargs)
    except TypeError as error:
        raise UserError(f"--curriculum {source}: {error}") from error


def pin_teaching(config: RunConfig) -> RunConfig:
    """Return the settings with whole paths of teachers and sidecars, so that the run is understood from any folder."""
    options = config.teach
    teachers = tuple(str(Path(place).expanduser().resolve()) for place in options.teacher)
    folder = options.sidecar_dir if options.sidecar_dir is None else str(Path(options.sidecar_dir).expanduser().resolve())
    return replace(config, teach=replace(options, teacher=teachers, sidecar_dir=folder))
