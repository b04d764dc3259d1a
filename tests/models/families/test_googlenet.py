"""GoogLeNet computes what torchvision's computes."""

import pytest
import torch
import torchvision

from models.families.googlenet import PUBLISHED, GoogLeNet
from models.weights import load_state


def pair(randomize, dtype=torch.float32):
    theirs = randomize(torchvision.models.googlenet(num_classes=7, aux_logits=False, init_weights=False)).to(dtype)
    ours = GoogLeNet("googlenet", num_classes=7).to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def test_torchvision_weights_give_the_same_logits(randomize, assert_same_logits):
    assert_same_logits(*pair(randomize))


def test_the_difference_to_torchvision_is_rounding(randomize):
    ours, theirs = (net.eval() for net in pair(randomize, torch.float64))
    x = torch.randn(2, 3, 71, 45, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-9, rtol=1e-9)


@pytest.mark.slow
def test_gradients_in_training_are_those_of_torchvision(randomize, assert_same_gradients):
    assert_same_gradients(*pair(randomize))


def test_classifiers_at_the_side_are_reported_and_left_out():
    theirs = torchvision.models.googlenet(num_classes=7, aux_logits=True, init_weights=False)
    report = load_state(GoogLeNet("googlenet", num_classes=7), theirs.state_dict(), source="theirs")
    assert report.missing == ()
    assert {name.partition(".")[0] for name in report.unexpected} == {"aux1", "aux2"}


def test_published_file_is_the_one_torchvision_names_with_the_range_it_was_trained_on():
    published = PUBLISHED["googlenet"]
    assert published.url == torchvision.models.GoogLeNet_Weights.DEFAULT.url
    # torchvision's network takes ImageNet's numbers and brings them to these by itself.
    assert published.mean == published.std == (0.5, 0.5, 0.5)
