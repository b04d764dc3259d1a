"""Views of --tta."""

from pathlib import Path

import pytest
import torch

from applications.trained.viewed_networks import AveragedLabels
from applications.trained.views import parse_views
from models import build_model
from tests.applications.conftest import NETS, Call
from utils.errors import UserError

ARCH = ("--arch", f"{NETS}:TinyNet")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_views_give_the_mean_of_their_probabilities(activation: str) -> None:
    torch.manual_seed(0)
    network = build_model(f"{NETS}:TinyNet", num_classes=4).eval()
    images = torch.rand(3, 3, 20, 24)
    views = parse_views("hflip|vflip|scale(0.75,1.5)", (20, 24))
    assert len(views) == 12
    assert {view.size for view in views} == {(20, 24), (15, 18), (30, 36)}
    squash = torch.sigmoid if activation == "sigmoid" else lambda logits: logits.softmax(1)
    with torch.no_grad():
        # Answers that differ much from view to view: else the mean of the logits is nearly that of the probabilities.
        weight, bias = network.get_classifier().parameters()
        weight *= 1000
        bias -= torch.stack([network(view.of(images)) for view in views]).mean((0, 1))
        logits = torch.stack([network(view.of(images)) for view in views])
        expected = squash(logits.flatten(0, 1)).unflatten(0, logits.shape[:2]).mean(0)
        assert (expected - squash(logits.mean(0))).abs().max() > 0.05
        torch.testing.assert_close(squash(AveragedLabels(network, views, activation)(images)), expected)
        torch.testing.assert_close(squash(AveragedLabels(network, views[:1], activation)(images)), squash(network(images)))


def test_evaluation_looks_at_every_view(call: Call, runs: dict[str, Path]) -> None:
    outcome = call("--evaluation", "--resume", runs["one"], *ARCH, "--tta", "hflip|scale(1.25)", "--no_report")
    assert outcome.code == 0, outcome.err
    assert "4 an image" in outcome.out


def test_a_scale_is_refused_where_the_network_takes_one_size_alone() -> None:
    class Strict(type(build_model(f"{NETS}:TinyNet", num_classes=2))):
        def check_size(self, image_size: tuple[int, int]) -> None:
            if image_size != (20, 24):
                raise UserError("20x24 only")

    network = build_model(f"{NETS}:TinyNet", num_classes=2)
    network.__class__ = Strict
    with pytest.raises(UserError, match="20x24"):
        AveragedLabels(network, parse_views("scale(2)", (20, 24)), "softmax")
