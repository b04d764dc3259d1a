"""Claims about batch-norm statistics that are counted anew."""

import copy

import pytest
import torch
from torch import nn

from models import build_model
from optim.batchnorm_recalibration import learning_norms, recalibrate_norms


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def test_norm_statistics_become_the_mean_over_the_images():
    model = small_model()
    model[1].running_mean.fill_(float("nan"))
    model[1].num_batches_tracked.fill_(7)
    images = [torch.randn(count, 3, 6, 6) for count in (4, 4, 1)]
    assert recalibrate_norms(model, images, model) == 3
    maps = [model[0](image).detach() for image in images]
    shares = torch.tensor([4, 4, 1]) / 9
    for held, expected in ((model[1].running_mean, torch.Tensor.mean), (model[1].running_var, torch.Tensor.var)):
        each = torch.stack([expected(part, (0, 2, 3)) for part in maps])
        torch.testing.assert_close(held, (shares[:, None] * each).sum(0))
    assert (model[1].momentum, int(model[1].num_batches_tracked)) == (0.1, 7)
    assert not any(module.training for module in model.modules())


def test_frozen_norms_and_networks_without_norms_are_left_alone():
    model = small_model()
    model[1].requires_grad_(False)
    before = model[1].running_mean.clone()
    assert recalibrate_norms(model, [torch.randn(2, 3, 6, 6)], model) == 0
    assert torch.equal(model[1].running_mean, before)


def test_without_a_batch_the_statistics_stay() -> None:
    model = small_model()
    model(torch.randn(4, 3, 6, 6))
    before = copy.deepcopy(model.state_dict())
    assert recalibrate_norms(model, [], model) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("arch", ["resnet18", "torchvision/shufflenet_v2_x0_5", "timm/lcnet_050"])
def test_networks_of_every_source_get_what_torch_counts(arch: str) -> None:
    torch.manual_seed(0)
    model = build_model(arch, num_classes=3).train()
    batches = list(torch.randn(3, 4, 3, 48, 48))
    with torch.no_grad():
        model(torch.randn(4, 3, 48, 48))
    wanted = copy.deepcopy(model)
    torch.optim.swa_utils.update_bn(batches, wanted)
    assert recalibrate_norms(model, batches, model) == 3
    found = model.state_dict()
    held = [name for name in found if name.endswith(("running_mean", "running_var"))]
    assert len(held) == 2 * len(learning_norms(model)) > 20
    for name in held:
        torch.testing.assert_close(found[name], wanted.state_dict()[name], rtol=1e-4, atol=1e-5)
