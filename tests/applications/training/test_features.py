"""What the classifier reads of images, kept under a name of all that it depends on."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor, nn

from applications.assemble import exact_precision
from applications.training.features import features_key
from models import build_model
from models.backbone import Backbone


def parts_of(model: nn.Module, size: int = 48) -> Any:
    config = SimpleNamespace(model=SimpleNamespace(arch="my_net.py:Net"))
    return SimpleNamespace(model=model, config=config, preprocess=SimpleNamespace(to_dict=lambda: {"size": size}, image_size=(size, size)))


def key_of(model: nn.Module, size: int = 48) -> str:
    return features_key(parts_of(model, size), exact_precision())


def test_features_of_other_code_with_the_same_weights_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = build_model("resnet18", num_classes=3)
    assert isinstance(model, Backbone)
    before = key_of(model)

    def largest(maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vector = maps[-1].amax((2, 3))
        return vector if pre_logits else model.get_classifier()(vector)

    monkeypatch.setattr(model, "forward_head", largest)
    assert key_of(model) != before


def test_sums_in_another_order_do_not_change_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = build_model("resnet18", num_classes=3)
    assert isinstance(model, Backbone)
    before, plain = key_of(model), model.forward_head
    monkeypatch.setattr(model, "forward_head", lambda maps, pre_logits=False: plain([each * (1 + 1e-6) for each in maps], pre_logits))
    assert key_of(model) == before


def test_the_name_is_that_of_the_network_and_nothing_else() -> None:
    model: Any = build_model("resnet18", num_classes=3)
    model.train()
    before = key_of(model)
    assert model.training
    model.get_classifier().weight.data.zero_()
    assert key_of(model) == before, "the classifier is fitted to the features, and has no part in them"
    assert key_of(model, 64) != before
    next(model.parameters()).data.mul_(1.01)
    assert key_of(model) != before
