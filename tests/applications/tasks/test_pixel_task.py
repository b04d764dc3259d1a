"""A task that is not about labels goes through the engine as it is: masks, and a meter without rows."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from applications.abilities import ABILITIES
from applications.assemble import build_task, refuse_unable
from applications.contract import Task
from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.fit import TrainingRun, fit
from applications.engine.norms_before_validation import BatchNormRecalibration
from applications.engine.run_length import RunLength
from applications.engine.score import score
from applications.progress import Progress
from applications.settings.options import LossOptions, RunConfig
from applications.tasks import TASKS
from dataloader.images.preprocess import Preprocess
from dataloader.loading.plan import TrainPlan
from dataloader.sample import Batch
from dataloader.sources.shapes import scene
from dataloader.targets.label import Label, Labels
from dataloader.targets.mask import IGNORE
from dataloader.targets.plane_change import scaled
from optim.stepper import Stepper
from tests.applications.tasks.pixel_task import PixelMeter, PixelNet, PixelTask
from utils.distributed import World
from utils.errors import UserError

CLASSES = ("ground", "shape")
CPU = torch.device("cpu")


def batch(numbers: list[int]) -> Batch:
    """Return generated scenes with their masks, a strip of which is not known; a negative number is a black image that fills up."""
    scenes = [scene(max(0, number), side=32) for number in numbers]
    masks = np.stack([(each.mask > 0).astype(np.uint8) for each in scenes])
    masks[:, :2] = IGNORE
    images = torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    weights = torch.tensor([float(number >= 0) for number in numbers])
    return Batch(images, torch.from_numpy(masks), weights, torch.tensor(numbers))


class Scenes:
    """A loader of scenes, as far as the engine knows it."""

    def __init__(self, count: int) -> None:
        self.plan = TrainPlan(count, 4)

    def batches(self, epoch: int, start_batch: int = 0, *, sized_as: int | None = None) -> Iterator[Batch]:
        del sized_as
        return (batch(indices.tolist()) for indices in self.plan.batches(epoch, start_batch))


@pytest.fixture
def task() -> PixelTask:
    found = build_task(LossOptions(), CLASSES, Preprocess(image_size=(32, 32)), CPU, kind=PixelTask)
    assert isinstance(found, PixelTask)
    return found


@pytest.fixture
def model() -> PixelNet:
    torch.manual_seed(0)
    return PixelNet(2)


def measure(model: PixelNet, task: Task, batches: list[Batch], world: Any = None) -> PixelMeter:
    exact = torch.autocast("cpu", enabled=False)
    meter = score(model, task, batches, images=8, device=CPU, autocast=exact, world=world or World())
    assert isinstance(meter, PixelMeter)
    return meter


def test_the_figures_of_pixels_are_those_of_all_of_them_together(model: PixelNet, task: PixelTask) -> None:
    given = batch(list(range(8)))
    with torch.no_grad():
        answers = model.eval()(task.normalize(given.images)).argmax(1).numpy()
    known = given.targets.numpy() != IGNORE
    truth, found = given.targets.numpy()[known], answers[known]
    ious = [((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum() for c in range(2)]
    figures = measure(model, task, [batch(list(range(5))), batch([5, 6, 7, -1])]).figures()
    assert figures["pixel_accuracy"] == pytest.approx((truth == found).mean())
    assert figures["mIoU"] == pytest.approx(np.mean(ious))
    assert tuple(figures) == task.metric_names


def test_processes_send_what_they_counted_and_no_rows(model: PixelNet, task: PixelTask) -> None:
    other = measure(model, task, [batch([4, 5, 6, 7])])
    sent = sum(np.asarray(each).nbytes for each in other.state())
    assert sent < 100, "whatever the number of images"
    first = SimpleNamespace(gather=lambda value: [value, (4, [])], sent_to_first=lambda _: iter([other.state()]))
    both = measure(model, task, [batch([0, 1, 2, 3])], first)
    whole = measure(model, task, [batch(list(range(8)))])
    assert np.array_equal(both.matrix, whole.matrix)
    assert both.figures() == pytest.approx(whole.figures())


def test_the_loop_trains_it(model: PixelNet, task: PixelTask, tmp_path: Path) -> None:
    held_out = [batch([20, 21, 22, 23])]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    stepper = Stepper(model, optimizer, lambda _: 1.0, device_type="cpu", precision="fp32")
    content = {"state_dict": model.state_dict(), "state_dict_ema": None, **task.calibration()}
    before, world, loader, progress = measure(model, task, held_out).figures(), World(), Scenes(12), Progress()
    run = TrainingRun(
        model=model,
        task=task,
        objective=task.training_step,
        loader=loader,  # pyright: ignore[reportArgumentType]
        transforms=[],
        stepper=stepper,
        progress=progress,
        observers=[],
        saver=CheckpointSaver(tmp_path, lambda: dict(content), save_minutes=10, patience=None, writes=True),
        norms=BatchNormRecalibration(model, task, stepper, [], batches=1, device=CPU, world=world),
        validate=lambda: measure(model, task, held_out).figures(),
        world=world,
        device=CPU,
        stop=SimpleNamespace(received=0),  # pyright: ignore[reportArgumentType]
        seed=0,
        length=RunLength(4),
        accumulate=1,
        print_freq=50,
    )
    fit(run)
    after = measure(model, task, held_out).figures()
    assert after["loss"] < 0.8 * before["loss"]
    assert progress.best[0] >= after["mIoU"] > before["mIoU"]
    assert (tmp_path / "best.pt").is_file()


def test_an_answer_is_carried_back_onto_the_original_image(model: PixelNet, task: PixelTask) -> None:
    given = batch([0, 1])
    outputs = task.forward(model.eval(), given)
    back = scaled((64, 48), (32, 32)).undone((64, 48))
    small, large = task.postprocess(outputs), task.postprocess(outputs, [back, back])
    assert [each.shape for each in large] == [(64, 48)] * 2
    assert np.array_equal(large[0][::2, ::3], small[0][:, ::2])


def test_one_answer_for_all_pixels_is_told(model: PixelNet, task: PixelTask) -> None:
    with torch.no_grad():
        last = model.layers[3]
        assert isinstance(last, torch.nn.Conv2d)
        last.weight.zero_()
        last.bias.copy_(torch.tensor([1.0, 0.0]))  # pyright: ignore[reportOptionalMemberAccess]
    assert measure(model, task, [batch([0])]).one_answer() == "all pixels are answered 'ground'"


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ({"mixup": True}, "mixup"),
        ({"teacher": ("a",)}, "teacher"),
        ({"visual_method": "cam"}, "visual_method"),
        ({"explain": True}, "visual_data"),
        ({"export": True}, "export"),
        ({"tta": "hflip"}, "tta"),
    ],
)
def test_what_a_task_cannot_do_is_refused_by_flag_and_task(setting: dict[str, Any], flag: str) -> None:
    asked = {**RunConfig().to_dict(), **setting}
    with pytest.raises(UserError, match=rf"^--{flag} is for .*, which --task pixels does not do; leave it out$"):
        refuse_unable(PixelTask, asked)


@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_of_labels_can_do_whatever_a_flag_asks_for_but_with_masks_and_defects(name: str) -> None:
    if TASKS.resolve(name).target in (Label, Labels):
        of_others = ("encoder-decoder networks", "necks", "anchors", "training on crops", "tiles", "answered boxes", "tables of OK and NG")
        asked = {flag: True for ability, flags in ABILITIES.items() for flag in flags if ability not in of_others}
        refuse_unable(TASKS.resolve(name), asked)
        with pytest.raises(UserError, match="--encoder is for encoder-decoder networks"):
            refuse_unable(TASKS.resolve(name), {"encoder": "resnet18"})
