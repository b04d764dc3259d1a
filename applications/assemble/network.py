"""The network: built, with its starting weights, and as training calls it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from applications.assemble.image_sizes import check_sizes
from applications.assemble.machine import Machine
from applications.assemble.task import activation_of
from applications.contract import LearnsInPasses, Task
from applications.settings.options import RunConfig
from criterions.priors import first_probabilities, prior_logits
from models.backbone import Backbone, Network, Pretrainable
from models.batchnorm_momentum import set_bn_momentum
from models.compiled import compile_training
from models.initialization import initialize
from models.input_channels import set_input_channels
from models.recompute import recompute_blocks
from models.slimming.layer_widths import LayerWidths, set_widths
from models.weights import load_published, load_state
from optim.param_groups import freeze
from utils.checkpoint import load_tensors
from utils.errors import UserError, shorten
from utils.logs import log
from utils.networks.first_conv import first_conv

PRETRAINED = Path("pretrained")
STARTS = ("pretrained", "init_from")
HEAD_FLAGS = (*STARTS, "prior_bias", "freeze", "head_lr")


def build_network(
    config: RunConfig,
    task: type[Task],
    classes: tuple[str, ...],
    steps_per_epoch: int,
    class_counts: Sequence[float],
    *,
    images: int,
) -> nn.Module:
    """Return the network with its starting weights, on the CPU.

    The seed decides the random ones, so equal settings start equal on every process.
    """
    model_options = config.model
    torch.manual_seed(config.runtime.seed)
    model = task.build_model(model_options, classes)
    _refuse_head_flags(model, config, task)
    if isinstance(model, Pretrainable):
        set_input_channels(model.published_part(model_options.arch)[0], model_options.channels)
        check_sizes(model, config)
    if model_options.init is not None:
        log().info(f"          {initialize(model, model_options.init)}")
    if config.loss.prior_bias is not None and isinstance(model, Network) and model.has_own_prior:
        raise UserError("--prior_bias: a detector begins at 1% for every object and class, whatever the data; leave it out")
    if config.loss.prior_bias is not None and isinstance(model, Network):
        # Before weights are loaded, so that a classifier that was trained on these classes keeps its bias.
        _start_at_prior(model, config, classes, class_counts, images)
    if model_options.pretrained and isinstance(model, Pretrainable):
        backbone, name = model.published_part(model_options.arch)
        log().info(str(load_published(backbone, name, folder=PRETRAINED, advprop=model_options.advprop, announce=log().info)))
    if model_options.init_from and isinstance(model, Network):
        _load_from(model, Path(model_options.init_from), classes)
    elif model_options.init_from and isinstance(model, Pretrainable):
        part, _ = model.published_part(model_options.arch)
        log().info(str(load_state(part, load_tensors(Path(model_options.init_from)), source=model_options.init_from)))
    if issubclass(task, LearnsInPasses):
        if not model_options.pretrained and not model_options.init_from:
            log().warning("the encoder has random weights, and nothing here trains it: add --pretrained, or --init_from FILE")
        return model
    # Norms of a network that rounds rest, and measure nothing.
    rests = config.train.quantization_aware
    if not rests and (changed := set_bn_momentum(model, model_options.bn_momentum, steps_per_epoch=steps_per_epoch)):
        log().info(f"          {changed}")
    head = find_head(model)
    if config.optim.freeze and head is not None:
        log().info(f"          {freeze(model, config.optim.freeze, head=head)}")
    return model


def _refuse_head_flags(model: nn.Module, config: RunConfig, task: type[Task]) -> None:
    """Raise UserError for flags that need to know which part of the network is its head."""
    if isinstance(model, Network):
        return
    settings = config.to_dict()
    for flag in HEAD_FLAGS:
        # What learns without steps has no use for a rate, which --pretrained brings along.
        if settings[flag] and not (flag in (*STARTS, "head_lr") and isinstance(model, Pretrainable)):
            raise UserError(f"--{flag} needs a network whose head is known, and that of --task {task.name} has none; leave it out")


def _start_at_prior(model: Network, config: RunConfig, classes: tuple[str, ...], class_counts: Sequence[float], images: int) -> None:
    """Set the classifier's bias to the logits of --prior_bias, for the images of every class out of all."""
    wish = config.loss.prior_bias
    assert wish is not None
    bias = model.get_classifier().bias
    if bias is None:
        raise UserError(f"--prior_bias: the classifier of {config.model.arch} has no bias; leave the flag out")
    activation = activation_of(config.loss)
    logits = prior_logits(first_probabilities(wish, classes=classes, counts=class_counts, images=images), activation)
    with torch.no_grad():
        bias.copy_(torch.from_numpy(logits))


def _load_from(model: Network, path: Path, classes: tuple[str, ...]) -> None:
    """Load the weights of a file, with the widths that it says; the classifier's rows follow the names of the classes.

    A file of an encoder alone, such as one of a classifier that was trained here, fills the encoder.
    """
    tensors = load_tensors(path)
    if (part := model.filled_by(tensors)) is not model:
        log().info(str(load_state(part, tensors, source=str(path))))
        return
    if isinstance(model, Backbone) and isinstance(tensors, dict) and "channels" in tensors:
        set_widths(model, _but_input(model, tensors["channels"]), classifier=model.get_classifier())
    heads = nn.ModuleList(model.classifiers())
    fresh = {name: value.clone() for name, value in heads.state_dict().items()}
    log().info(str(load_state(model, tensors, source=str(path))))
    known = tuple(tensors.get("classes", ())) if isinstance(tensors, dict) else ()
    if len(known) == len(classes) and known != classes:
        log().info(f"          {sort_rows(heads, fresh, known=known, wanted=classes)}")


def _but_input(model: nn.Module, widths: LayerWidths) -> LayerWidths:
    """Return the widths of a file's layers, but with the channels of this run's images."""
    found = first_conv(model)
    if found is None or len(widths.get(found[0], ())) != 3:
        return widths
    name, conv = found
    return {**widths, name: [widths[name][0], conv.in_channels, widths[name][2]]}


def sort_rows(head: nn.Module, fresh: Mapping[str, Tensor], *, known: Sequence[str], wanted: Sequence[str]) -> str:
    """Give every class the row that a loaded classifier has for its name, or a fresh one; return one line that says so.

    Args:
        head: the classifier, or several, with the rows of `known`.
        fresh: its tensors as they were before.
        known, wanted: names of the classes, equally many. A layer may have a row of each for every anchor, one anchor after the other.
    """
    rows = {name: row for row, name in enumerate(known)}
    new = [name for name in wanted if name not in rows]
    with torch.no_grad():
        for name, value in head.state_dict().items():
            loaded = value.clone()
            for first in range(0, len(value), len(wanted)):
                for row, label in enumerate(wanted):
                    value[first + row] = loaded[first + rows[label]] if label in rows else fresh[name][first + row]
    return f"the classifier's rows follow the names of the classes; {shorten(new) or 'none'} begin{'s' if len(new) == 1 else ''} anew"


def find_head(model: nn.Module) -> nn.Module | None:
    """Return what a network of the model shelf has for its task alone; None of any other."""
    return model.get_head() if isinstance(model, Network) else None


def find_classifier(model: nn.Module) -> nn.Module | None:
    """Return the last layer of a network of the model shelf; None of any other."""
    return model.get_classifier() if isinstance(model, Network) else None


def wrap_network(config: RunConfig, model: nn.Module, machine: Machine) -> nn.Module:
    """Return the network as training calls it: with blocks that are computed again, compiled and distributed when asked for."""
    if config.runtime.checkpointing:
        log().info(f"          --checkpointing: {recompute_blocks(model)} blocks are computed again in the backward pass")
    if config.runtime.compile == "on":
        compile_training(model)
    if machine.world.size == 1:
        return model
    devices = [machine.device] if machine.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def synchronized(model: nn.Module) -> nn.Module:
    """Return the model with synchronized batch norms in place of plain ones.

    torch's own converter drops the activation that timm's layers carry beside their norm; timm's keeps it.
    """
    from timm.layers.norm_act import convert_sync_batchnorm

    return convert_sync_batchnorm(model)


def prepare_sync_bn(model: nn.Module, machine: Machine) -> nn.Module:
    """Return the model with batch-norm layers that count over all GPUs.

    Raises:
        UserError: the run is not on GPUs; torch has the layer for them alone.
    """
    if machine.device.type != "cuda":
        raise UserError("--sync_bn works on GPUs only; leave it out on the CPU")
    return synchronized(model)
