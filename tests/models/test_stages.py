"""A classifier of several stages of a network."""

import pytest
import torch
from torch import nn

from models import build_model, check_arch, staged_part
from models.adapters.wrapped import UserModel
from models.stages import StagedClassifier
from models.weights import load_state
from utils.errors import UserError


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("arch", ["mobilenetv3_small", "torchvision/mobilenet_v2"])
def test_the_classifier_reads_the_means_of_the_stages_and_the_vector_of_the_last(arch: str) -> None:
    plain, staged = build_model(arch, num_classes=4).eval(), build_model(f"stages({arch})", num_classes=4).eval()
    assert isinstance(staged, StagedClassifier)
    part = staged.filled_by(plain.state_dict())
    assert part is staged.backbone
    load_state(part, plain.state_dict(), source="the plain network")
    maps = plain.forward_features(images())
    wanted = [each.mean((2, 3)) for each, info in zip(maps[:-1], plain.feature_info[:-1], strict=True) if info.stride >= 8]
    wanted.append(plain.forward_head(maps, pre_logits=True).flatten(1))
    read = staged.forward_head(staged.forward_features(images()), pre_logits=True)
    torch.testing.assert_close(read, torch.cat(wanted, 1))
    torch.testing.assert_close(staged(images()), nn.functional.linear(read, staged.classifier.weight, staged.classifier.bias))


def test_its_own_weights_come_back_whole() -> None:
    saved, other = (build_model("stages(mobilenetv3_small)", num_classes=3).eval() for _ in range(2))
    assert other.filled_by(saved.state_dict()) is other
    report = load_state(other, saved.state_dict(), source="a checkpoint")
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    assert torch.equal(saved(images()), other(images()))


def test_every_tensor_learns() -> None:
    model = build_model("stages(mobilenetv3_small)", num_classes=3)
    model(images()).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_dropout_is_that_of_the_classifier() -> None:
    model = build_model("stages(resnet18)", num_classes=3, drop_rate=0.5).eval()
    assert isinstance(model, StagedClassifier)
    read, answer = torch.ones(1, model.classifier.in_features), model(images())
    torch.testing.assert_close(model(images()), answer)
    model.dropout.train()
    assert not torch.equal(model(images()), model(images()))
    assert float((model.dropout(read) == 0).double().mean()) == pytest.approx(0.5, abs=0.1)
    assert model.published_part("stages( resnet18 )")[1] == "resnet18"


def test_a_network_without_maps_is_refused() -> None:
    net = UserModel(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), arch="mine.py:Net", num_classes=3)
    with pytest.raises(UserError, match="no maps of several stages"):
        StagedClassifier(net, arch="stages(mine.py:Net)", num_classes=3)


def test_the_name_inside_is_checked() -> None:
    assert staged_part("stages(resnet18)") == "resnet18"
    assert staged_part("resnet18") is None
    with pytest.raises(UserError, match="unknown model 'resnet81'"):
        check_arch("stages(resnet81)")
