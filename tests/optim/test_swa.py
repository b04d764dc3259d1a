"""Claims about the mean over epochs and the soup."""

import numpy as np
import pytest
import torch
from torch import nn

from optim.swa import Swa, greedy_soup, mean_of, start_epoch
from utils.errors import UserError


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def drift(model):
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param))
        model[1].num_batches_tracked += 1


def test_the_mean_counts_every_epoch_end_after_the_start_alike():
    model, swa, seen = small_model(), Swa(start_step=4, every=2), []
    for step in range(1, 11):
        drift(model)
        swa.update(model, step)
        if step in (6, 8, 10):
            seen.append(model[0].weight.detach().double().numpy().copy())
    assert swa.count == 3
    np.testing.assert_allclose(swa.average()["0.weight"].numpy(), np.mean(seen, axis=0), rtol=1e-5, atol=1e-6)
    assert int(swa.average()["1.num_batches_tracked"]) == 10


def test_a_saved_mean_continues_exactly(tmp_path):
    model, whole, part = small_model(), Swa(start_step=0, every=1), Swa(start_step=0, every=1)
    for step in range(1, 6):
        drift(model)
        whole.update(model, step)
        part.update(model, step)
        if step == 2:
            torch.save(part.state_dict(), tmp_path / "swa.pt")
            part = Swa(start_step=0, every=1)
            part.load_state_dict(torch.load(tmp_path / "swa.pt", weights_only=True), torch.device("cpu"))
    assert all(torch.equal(value, part.average()[name]) for name, value in whole.average().items())


def test_the_mean_of_weights_is_equal_and_copies_nothing_back():
    states = [{"a": torch.tensor([value]), "n": torch.tensor(int(value))} for value in (1.0, 2.0, 6.0)]
    mean = mean_of(states)
    assert torch.equal(mean["a"], torch.tensor([3.0]))
    assert int(mean["n"]) == 6
    assert torch.equal(states[0]["a"], torch.tensor([1.0]))


def test_the_soup_takes_what_does_no_harm():
    worth = {"a": 5, "b": -3, "c": 2, "d": 0}
    members, reached = greedy_soup("abcd", lambda kept: (sum(worth[name] for name in kept), 0.0))
    assert members == ["a", "c", "d"]
    assert reached == (7, 0.0)


def test_the_start_is_an_epoch_or_a_share():
    assert [start_epoch(start, 20) for start in (0.75, 5, 19)] == [15, 5, 19]
    for wrong in (0.0, -1.0, 20, float("nan")):
        with pytest.raises(UserError, match="--swa"):
            start_epoch(wrong, 20)
