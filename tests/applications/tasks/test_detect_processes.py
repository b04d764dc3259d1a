"""A batch of detection that is cut into parts, for several processes or for --accumulate, gives the gradient of the whole batch."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dataloader.sample import Batch
from dataloader.targets.boxes import BoxBatch
from optim.stepper import Stepper
from tests.applications.tasks.test_detect import images, network, task

IMAGES = 8


def part_of(batch: Batch, chosen: list[int]) -> Batch:
    """Return some images of a batch; the second one of the batch shows nothing."""
    boxes = batch.targets
    assert isinstance(boxes, BoxBatch)
    rows = [torch.arange(boxes.rows(number).start, boxes.rows(number).stop) for number in chosen if number != 1]
    kept = torch.cat([torch.empty(0, dtype=torch.int64), *rows])
    targets = BoxBatch(boxes.corners[kept], boxes.classes[kept], boxes.counts.index_fill(0, torch.tensor([1]), 0)[chosen])
    return Batch(batch.images[chosen], targets, batch.weights[chosen], batch.indices[chosen])


def weights_after_a_step(parts: list[list[int]], *, wrapped: bool = False) -> dict[str, Tensor]:
    """Return the weights after one step of a group of these parts."""
    net, given, batch = network(), task(), images(IMAGES)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            # Batch norms see their part alone, in any task.
            norm.eval()
    model = DistributedDataParallel(net) if wrapped else net
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    stepper = Stepper(model, optimizer, lambda _: 1.0, device_type="cpu", precision="fp32")
    for number, chosen in enumerate(parts):
        last = number == len(parts) - 1
        with stepper.forward(sync=last):
            result = given.training_step(model, part_of(batch, chosen))
        stepper.step(result.loss, len(chosen) / sum(map(len, parts)), closes_group=last, count=result.count)
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def differences(found: dict[str, Tensor]) -> float:
    """Return the largest difference from the step of the whole batch, over the largest change of that step."""
    start, whole = dict(network().named_parameters()), weights_after_a_step([list(range(IMAGES))])
    changed = max(float((whole[name] - start[name].detach()).abs().max()) for name in whole)
    assert changed > 0
    return max(float((whole[name] - found[name]).abs().max()) for name in whole) / changed


def test_parts_that_are_accumulated_give_the_step_of_the_whole_batch() -> None:
    assert differences(weights_after_a_step([[0, 1], [2, 3, 4], [5, 6, 7]])) < 1e-5


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    own = list(range(rank, IMAGES, 2))
    for name, parts in (("whole", [own]), ("parts", [own[:1], own[1:]])):
        found = weights_after_a_step(parts, wrapped=True)
        if rank == 0:
            torch.save(found, f"{folder}/{name}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_step_of_one(tmp_path: Path) -> None:
    mp.spawn(_one_of_two, args=(str(tmp_path),), nprocs=2)
    for name in ("whole", "parts"):
        assert differences(torch.load(tmp_path / f"{name}.pt")) < 1e-5
