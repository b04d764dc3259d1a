"""A network is cut only where nothing goes past the cut."""

import torch
from torch import nn

from models.maps.graph_split import find_cut, run_features, run_head, trace


class TwoPaths(nn.Module):
    """The head needs both maps, so that neither alone will do; the stem is the last map that does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.left = nn.Conv2d(4, 5, 3, 2, 1)
        self.right = nn.Conv2d(4, 5, 3, 2, 1)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        x = self.stem(x)
        left = self.left(x)
        right = self.right(x)
        return self.out(left.mean((2, 3)) * right.mean((2, 3)))


class NoMap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3 * 32 * 32, 2)

    def forward(self, x):
        return self.out(x.flatten(1))


def test_the_head_begins_at_the_last_map_that_all_later_values_come_from():
    net = TwoPaths().eval()
    graph = trace(net, wrap=())
    split = find_cut(net, graph, classifier="out", size=32)
    assert split is not None
    assert [(cut.node, cut.channels, cut.stride) for cut in split.cuts] == [("stem", 4, 2)]
    x = torch.rand(2, 3, 20, 24)
    maps = run_features(net, graph, split, x=x)
    torch.testing.assert_close(run_head(net, graph, split, maps=maps, pre_logits=False), net(x))
    vector = run_head(net, graph, split, maps=maps, pre_logits=True)
    torch.testing.assert_close(net.out(vector), net(x))


def test_a_network_without_maps_has_no_split():
    net = NoMap().eval()
    assert find_cut(net, trace(net, wrap=()), classifier="out", size=32) is None
