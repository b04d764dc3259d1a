"""Prints layers, parameters, multiply-adds, memory and forward time of a model."""

from applications.contract import LearnsInPasses
from applications.settings.options import Request
from applications.tasks import TASKS
from models import TASK_NETWORKS, build_model, task_of
from models.backbone import Network
from models.detectors import is_object_detector
from models.input_channels import set_input_channels
from models.options import ModelOptions
from utils.errors import UserError
from utils.logs import log
from utils.networks.summary import summarize, time_forward
from utils.runtime import choose_device, describe_machine
from utils.terminal_tables import print_table

# Fewer multiply-adds than torch's own counter sees in products alone mean that thop missed a layer.
MISSED = 0.98
# Classes of the data that networks are usually published for.
IMAGENET_CLASSES, COCO_CLASSES = 1000, 80


def run(request: Request) -> int:
    """Print the table of --arch at --image_size."""
    config = request.config
    device = choose_device(config.runtime.device)
    size = config.data.image_size
    classes = config.model.num_classes or (COCO_CLASSES if is_object_detector(config.model.arch) else IMAGENET_CLASSES)
    model = _build(config.model, classes)
    set_input_channels(model.published_part(config.model.arch)[0], config.model.channels)
    model.check_size(size)
    summary = summarize(model, size, device)
    (timing,) = time_forward([model.eval().to(device)], size, device)
    rows = [[layer.name, layer.kind, layer.output, f"{layer.parameters:,}", f"{layer.multiply_adds / 1e6:.2f}"] for layer in summary.layers]
    print_table(("layer", "kind", "output", "parameters", "M multiply-adds"), rows, left=("kind",))
    log().info("")
    log().info(f"{config.model.described()} at {size[0]}x{size[1]}, {classes} classes")
    log().info(f"parameters      {summary.parameters / 1e6:.2f} M")
    log().info(
        f"multiply-adds   {summary.multiply_adds / 1e6:.2f} M ({summary.product_multiply_adds / 1e6:.2f} M in convolutions and products)"
    )
    if summary.multiply_adds < MISSED * summary.product_multiply_adds:
        log().info("                thop does not see all layers of this model; take the figure in parentheses")
    log().info(
        f"memory          weights {summary.weight_bytes / 2**20:.1f} MiB, activations {summary.activation_bytes / 2**20:.1f} MiB an image"
    )
    log().info(f"forward time    {timing} for one image in fp32 on {describe_machine(device)}")
    if timing.doubt():
        log().info(f"                {timing.doubt()}")
    return 0


def _build(options: ModelOptions, classes: int) -> Network:
    """Return the network of --arch, as its task builds it.

    Raises:
        UserError: it answers nothing before it is fitted, or a flag is for other networks.
    """
    if (task := task_of(options.arch)) is None:
        for name in ("encoder", "neck", "anchors", "output_stride"):
            if getattr(options, name) is not None:
                lists = "(--list segmenters, --list detectors)"
                raise UserError(f"--{name} is for segmenters and detectors {lists}, and {options.arch} is none; leave it out")
        return build_model(options.arch, num_classes=classes, drop_rate=options.drop_rate)
    kind = TASKS.resolve(task)
    if issubclass(kind, LearnsInPasses):
        raise UserError(f"--info: {options.arch} {TASK_NETWORKS[task].purpose}; it has no forward pass before it is fitted")
    return kind.build_model(options, [str(number) for number in range(classes)])
