"""A classifier of several stages of a network."""

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model, check_arch, staged_part
from models.adapters.wrapped import UserModel
from models.layers.channel_correlations import TINY, WIDEST, ChannelCorrelations
from models.stages import StagedClassifier
from models.weights import load_state
from utils.errors import UserError


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def correlations_of(image: torch.Tensor, mixtures: torch.Tensor | None) -> torch.Tensor:
    """Return the deviations of the channels of a map (C, h, w), then the correlations of all pairs, by numpy."""
    pixels = (image.flatten(1) if mixtures is None else mixtures @ image.flatten(1)).double().numpy(force=True)
    covariances = np.cov(pixels, bias=True)
    deviations = np.sqrt(np.diag(covariances) + TINY)
    correlations = covariances / np.outer(deviations, deviations)
    pairs = [row[number + 1 :] for number, row in enumerate(correlations)]
    return torch.from_numpy(np.concatenate([deviations, *pairs])).float()


def test_correlations_of_a_map_are_those_of_torch() -> None:
    image = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0)).cumsum(0)
    deviations, pairs = image.flatten(1).std(1, correction=0), torch.triu_indices(5, 5, offset=1)
    found = ChannelCorrelations(5)(image[None])[0]
    torch.testing.assert_close(found[:5], deviations)
    torch.testing.assert_close(found[5:], torch.corrcoef(image.flatten(1))[pairs[0], pairs[1]])


def test_wide_maps_are_mixed_to_fewer_channels_that_keep_their_lengths_and_travel_with_the_weights() -> None:
    narrow, wide = ChannelCorrelations(WIDEST), ChannelCorrelations(2 * WIDEST)
    assert narrow.mixtures is None
    assert wide.mixtures is not None
    assert narrow.kinds == wide.kinds == [WIDEST, WIDEST * (WIDEST - 1) // 2]
    torch.testing.assert_close(wide.mixtures @ wide.mixtures.T, torch.eye(WIDEST), atol=1e-5, rtol=0)
    assert list(wide.state_dict()) == ["mixtures"]
    assert torch.equal(wide.mixtures, ChannelCorrelations(2 * WIDEST).state_dict()["mixtures"])


def test_large_maps_of_16_bits_do_not_overflow_and_empty_channels_correlate_with_none() -> None:
    image = 1000 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    image[:, 2] = 7
    correlate = ChannelCorrelations(3)
    found = correlate(image)
    torch.testing.assert_close(correlate(image.half()).float(), found, rtol=0.01, atol=0.01)
    assert found[0, [2, 4, 5]].abs().max() < 0.01
    image.requires_grad_()
    correlate(image).sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())


@pytest.mark.parametrize("arch", ["mobilenetv3_small", "torchvision/mobilenet_v2"])
def test_the_classifier_reads_means_and_correlations_of_the_stages_and_the_vector_of_the_last(arch: str) -> None:
    plain, staged = build_model(arch, num_classes=4).eval(), build_model(f"stages({arch})", num_classes=4).eval()
    assert isinstance(staged, StagedClassifier)
    part = staged.filled_by(plain.state_dict())
    assert part is staged.backbone
    load_state(part, plain.state_dict(), source="the plain network")
    maps = plain.forward_features(images())
    wanted = [each.mean((2, 3)) for each, info in zip(maps[:-1], plain.feature_info[:-1], strict=True) if info.stride >= 8]
    kinds = [each.shape[1] for each in wanted]
    textures = iter(staged.correlations)
    for each, info in zip(maps[:-1], plain.feature_info[:-1], strict=True):
        if 4 <= info.stride <= 16:
            correlate = next(textures)
            assert isinstance(correlate, ChannelCorrelations)
            kinds += correlate.kinds
            wanted.append(torch.stack([correlations_of(image, correlate.mixtures) for image in each]))
    wanted.append(plain.forward_head(maps, pre_logits=True).flatten(1))
    read = staged.forward_head(staged.forward_features(images()), pre_logits=True)
    torch.testing.assert_close(read, torch.cat(wanted, 1), rtol=1e-4, atol=1e-4)
    assert staged.kinds == [*kinds, wanted[-1].shape[1]]
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
