"""Self-paced weights: the easy share counts, and it grows."""

import pytest
import torch

from dataloader import SELF_PACED
from dataloader.loading.self_paced import SelfPaced, easiest
from utils.errors import UserError


def test_the_easiest_share_counts_and_unknown_images_too() -> None:
    losses = torch.tensor([3.0, 1.0, torch.nan, 2.0, 4.0])
    assert easiest(losses, 0.5).tolist() == [0, 1, 1, 1, 0]
    assert easiest(losses, 1.0).tolist() == [1, 1, 1, 1, 1]
    assert easiest(torch.full((3,), torch.nan), 0.1).tolist() == [1, 1, 1]


def test_the_share_climbs_to_all() -> None:
    rule = SelfPaced(start=0.4, until=0.5)
    assert [rule.share(done) for done in (0, 0.25, 0.5, 1)] == pytest.approx([0.4, 0.7, 1, 1])


@pytest.mark.parametrize("name", SELF_PACED)
def test_every_rule_gives_a_weight_for_every_image(name: str) -> None:
    rule = SELF_PACED.resolve(name)()
    losses = torch.rand(20, generator=torch.Generator().manual_seed(0))
    for known in (losses, losses.where(losses > 0.5, torch.nan)):
        for done in (0.0, 0.5, 1.0):
            weights = rule.weights(known, done)
            assert weights.shape == (20,)
            assert weights.dtype == torch.float32
            assert (weights >= 0).all()
            assert weights.sum() > 0
    assert (rule.weights(losses, 1.0) == 1).all(), "in the end all images count"


@pytest.mark.parametrize("given", [{"start": 0.0}, {"start": 1.5}, {"until": 0.0}, {"momentum": 1.0}])
def test_values_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        SelfPaced(**given)
