"""A trained model read back from its checkpoint, with all that belongs to it, and the images to look at it with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from applications import assemble
from applications.assemble import Machine
from applications.assemble.seen_images import Overlap, Seen, describe_overlap, overlap, read_seen
from applications.contract import Task
from applications.settings.options import RunConfig, is_run_folder, run_folder_parent
from applications.tasks import TASKS
from applications.trained.exported import Exported, is_exported
from dataloader.images.preprocess import Preprocess
from dataloader.opening.folds import take_fold
from dataloader.opening.named_groups import read_groups
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.catalog import Catalog, groups_of, with_groups
from dataloader.splits.split import Split
from dataloader.splits.white_value import mismatch
from models.backbone import Backbone, Network, Pretrainable
from models.input_channels import set_input_channels
from models.slimming.layer_widths import set_widths
from utils.checkpoint import BEST, find_checkpoint, load_checkpoint
from utils.errors import UserError, shorten
from utils.logs import log
from utils.metrics.calibration import Calibration
from utils.registry import is_user_code
from utils.spec import parse_specs

# In a checkpoint: as large as the weights, or read on their own.
LARGE = ("state_dict", "state_dict_ema", "stepper", "loss_state", "teaching", "trained_on")


def check_same_model(content: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    """Raise UserError when the command line names another model than the checkpoint holds.

    A model of the user's own file is imported only when the command line names it too.
    """
    arch = content["arch"]
    if "arch" in given and given["arch"] != arch:
        raise UserError(f"{path} holds {arch}, not {given['arch']}; leave --arch out, or start a new run with --init_from {path}")
    for flag in ("encoder", "neck", "anchors", "output_stride"):
        held = content["config"].get(flag)
        if given.get(flag, held) != held:
            known = "the default" if held is None else held
            raise UserError(f"{path} was trained with {known} for --{flag}, not {given[flag]}; leave --{flag} out, or start a new run")
    if given.get("task", content["task"]) != content["task"]:
        raise UserError(f"{path} holds a model of --task {content['task']}, not {given['task']}; leave --task out")
    if is_user_code(arch) and given.get("arch") != arch:
        raise UserError(f"{path} holds a model of your own file; name it too: --arch {arch}")
    check_own_code({"criterion": content["criterion"]}, given, path)
    if "num_classes" in given and given["num_classes"] != content["num_classes"]:
        known = shorten(tuple(content["classes"]))
        raise UserError(f"--num_classes {given['num_classes']}: {path} has {content['num_classes']} classes ({known})")


def check_own_code(saved: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    """Raise UserError when specs of a checkpoint name code of the user's own that the command line does not name too.

    Args:
        saved: flag -> the spec in the checkpoint, or None.
        given: what the command line and a config file say.
        path: the checkpoint.
    """
    for name, source in saved.items():
        if source and name not in given and any(is_user_code(spec.name) for spec in parse_specs(source)):
            raise UserError(f"{path} was trained with code of your own file; name it too: --{name} '{source}'")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model read back from a checkpoint, in evaluation mode, with all that belongs to it."""

    path: Path
    task: str
    config: RunConfig
    classes: tuple[str, ...]
    preprocess: Preprocess
    model: nn.Module
    averaging: str | None
    epoch: int
    # What a model of labels chose on its validation images.
    calibration: Calibration = field(default_factory=Calibration)
    # The split that the run saved; None where there is none.
    split_file: Path | None = None
    # Whether --data names other images than those of its run.
    other_data: bool = False
    # The images that it was trained on; None where the checkpoint does not say.
    seen: Seen | None = None
    # The exported file that it was read from; None for a checkpoint.
    exported: Exported | None = None
    # Whether the settings name images of its own: an exported file may know none.
    knows_images: bool = True
    # What else the checkpoint says besides tensors of the run, such as what a task without labels chose; empty for an exported file.
    saved: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        """Return which weights of which file these are."""
        if self.exported is not None:
            return f"{self.config.model.arch}, {self.exported.describe()}"
        which = f"averaged weights ({self.averaging})" if self.averaging else "weights"
        return f"{self.config.model.described()}, {len(self.classes)} classes, {which} after epoch {self.epoch} of {self.path}"

    def origin(self) -> str:
        """Return which file this is, and of when."""
        if self.exported is not None:
            return f"{self.path}, exported from {self.exported.facts.source or 'a checkpoint'}"
        return f"{self.path}, after epoch {self.epoch}"

    def precision(self, machine: Machine) -> str:
        """Return what it computes in."""
        return str(machine.precision) if self.exported is None else f"{self.exported.facts.precision} (of the file, in its own runtime)"

    def results_folder(self) -> Path:
        """Return where results go: the run folder of the checkpoint, or the folder of all runs when it lies elsewhere."""
        folder = self.path.parent
        return folder if is_run_folder(folder) else run_folder_parent(self.config.output, self.task)


def same_data(given: str, saved: str) -> bool:
    """Whether two values of --data mean the same images."""
    return given == saved or Path(given).expanduser().resolve() == Path(saved).expanduser().resolve()


def load_trained(place: Path | str, given: Mapping[str, Any], action: str, device: torch.device) -> Trained:
    """Rebuild a model: the best weights of a run, averaged ones first.

    Everything comes from the checkpoint; the command line may change where and how to look.

    Args:
        place: a run, or a checkpoint.
        given: what the command line and a config file say, by which the settings of the checkpoint are changed.
        action: what the model is for: an application, or the flag that names it, such as 'teacher'.
        device: where the model comes to lie.

    Raises:
        UserError: there is no such model, `given` contradicts it, or its task cannot do this.
    """
    if is_exported(str(place)):
        raise UserError(f"--resume {place} is an exported file, which only answers; give the run or the checkpoint that it came from")
    path = find_checkpoint(str(place), BEST)
    content = load_checkpoint(path)
    check_same_model(content, given, path)
    config = RunConfig.from_dict(content["config"], source=str(path)).override({**given, "resume": str(place)})
    check_fold(config.data.fold, content["config"].get("fold"), path)
    classes = tuple(content["classes"])
    kind: type[Task] = TASKS.resolve(content["task"])
    assemble.refuse_unable(kind, {**config.to_dict(), action: True})
    model = kind.build_model(replace(config.model, arch=content["arch"], drop_path=None), classes)
    if isinstance(model, Backbone):
        set_widths(model, content["channels"])
    elif isinstance(model, Pretrainable):
        set_input_channels(model.published_part(content["arch"])[0], config.model.channels)
    averages = content["state_dict_ema"]
    # Updated in place: some networks look for the version that a state dict carries beside its tensors.
    content["state_dict"].update(averages or {})
    model.load_state_dict(content["state_dict"])
    if isinstance(model, Network):
        model.check_size(config.data.image_size)
    model.eval().to(device)
    split_file, calibration = path.parent / "split.csv", Calibration.from_plain(content)
    return Trained(
        path=path,
        task=content["task"],
        config=config,
        classes=classes,
        preprocess=assemble.build_preprocess(config, content),
        model=model,
        averaging=content["averaging"],
        epoch=content["epoch"],
        calibration=calibration,
        split_file=split_file if split_file.is_file() else None,
        other_data="data" in given and not same_data(given["data"], content["config"]["data"]),
        seen=read_seen(content),
        saved={name: value for name, value in content.items() if name not in LARGE and name not in calibration.to_plain()},
    )


def check_fold(asked: str | None, trained: str | None, path: Path) -> None:
    """Raise UserError when --fold names other parts than the model was trained and validated on."""
    if asked != trained:
        known = "without folds" if trained is None else f"with --fold {trained}"
        raise UserError(f"--fold {asked}: {path} was trained {known}, so other parts would mix what it has seen; leave --fold out")


def open_validation(trained: Trained, purpose: str) -> Split:
    """Return the val images, whatever --split says.

    Raises:
        UserError: there are none for the `purpose`.
    """
    catalog = _open_for_evaluation(trained, "test")
    if "val" not in catalog.splits:
        raise UserError(f"{purpose} chooses on val images, and {catalog.root} has only {', '.join(catalog.splits)}; name data with val")
    return catalog.splits["val"].seen_by(trained.preprocess)


def open_training(trained: Trained, purpose: str) -> Split:
    """Return the training images.

    Raises:
        UserError: there are none for the `purpose`.
    """
    catalog = _open_for_evaluation(trained, "train")
    if "train" not in catalog.splits:
        raise UserError(f"{purpose} needs training images, and {catalog.root} has only {', '.join(catalog.splits)}; name data with train")
    return catalog.splits["train"].seen_by(trained.preprocess)


def open_held_out(trained: Trained, preferred: tuple[str, ...]) -> Split:
    """Return the split to look at: --split, else the first of `preferred` that the data has.

    A single folder of classes is read through the split that the run saved; without one, all of it is looked at.
    """
    asked = trained.config.output.split
    catalog = _open_for_evaluation(trained, asked or preferred[0])
    for note in catalog.notes:
        log().warning(note)
    wanted = (asked,) if asked else preferred
    found = next((name for name in wanted if name in catalog.splits), None)
    if found is None:
        raise UserError(f"{catalog.root} has no {' or '.join(wanted)} images; it has {', '.join(catalog.splits)}: choose with --split")
    split = catalog.splits[found].seen_by(trained.preprocess)
    if note := mismatch(split):
        log().warning(note)
    return split


def warn_of_seen_images(trained: Trained, split: Split, model: str = "this model") -> Overlap | None:
    """Warn of images of a split that a model, or those it learned from, were trained on; return how many, None where it is not known."""
    found = overlap(trained.seen, split)
    if found is None:
        log().info(f"          {trained.path} does not say which images it was trained on; these may be among them")
    for line in describe_overlap(found, len(split), split.name, model=model):
        log().warning(line)
    return found


def _open_for_evaluation(trained: Trained, whole: str) -> Catalog:
    """Return the data through the run's own split, or a single folder of other images as the one split `whole`."""
    if not trained.knows_images:
        raise UserError(f"{trained.path} does not know its images, as its checkpoint is not beside it; name them: --data DIR")
    target = TASKS.resolve(trained.task).target
    reading = trained.config.truths.reading()
    open_it = partial(open_catalog, trained.config.data.data, classes=trained.classes, require_train=False, target=target, reading=reading)
    if trained.split_file is None:
        found = open_it(whole=whole)
        return found if trained.other_data else _with_run_groups(trained, found)
    if not trained.other_data:
        return _with_run_groups(trained, _through_split(trained, open_it))
    # --data names another folder: the run's images in a new place if the split fits exactly, else other images.
    everything = open_it(whole=whole)
    try:
        parts = _through_split(trained, open_it)
    except UserError:
        return everything
    fits = sum(map(len, parts.splits.values())) == sum(map(len, everything.splits.values()))
    return _with_run_groups(trained, parts) if fits else everything


def _with_run_groups(trained: Trained, catalog: Catalog) -> Catalog:
    """Return the data of the run with the groups that --group_by named in training, where these can still be had."""
    spec = trained.config.data.group_by
    if spec is None or groups_of(catalog.splits.values()):
        return catalog
    try:
        return with_groups(catalog, read_groups(spec, [path for split in catalog.splits.values() for path in split.paths]))
    except UserError as error:
        log().warning(f"the groups of the run are not known here, so every image counts for itself: {error}")
        return catalog


def _through_split(trained: Trained, open_it: Callable[..., Catalog]) -> Catalog:
    """Return the data in the parts that the run saved."""
    found, fold = open_it(split_file=trained.split_file), trained.config.data.fold
    if fold is None:
        return found
    return take_fold(found, fold, seed=trained.config.split_seed, split_file=trained.split_file)
