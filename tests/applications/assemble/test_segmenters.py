"""Segmenters start, freeze and load as classifiers do: the encoder for the backbone, the decoder for the head."""

from pathlib import Path

import torch

from applications.assemble.network import _load_from, find_classifier, find_head
from models import build_model
from models.options import ModelOptions
from models.segmenters.build import build_segmenter
from models.segmenters.segmenter import Segmenter
from models.weights import load_state
from optim.param_groups import freeze, param_groups

CLASSES = ("sky", "road", "car")


def segmenter(classes: int = len(CLASSES)) -> Segmenter:
    return build_segmenter("lraspp", encoder="mobilenetv3_small", num_classes=classes)


def test_freezing_the_backbone_leaves_the_decoder() -> None:
    model = segmenter()
    head = find_head(model)
    assert head is model.decoder
    freeze(model, ["backbone"], head=head)
    assert not [name for name, each in model.named_parameters() if each.requires_grad != name.startswith("decoder.")]


def test_the_rate_of_the_head_is_that_of_the_decoder() -> None:
    model = segmenter()
    groups = param_groups(model, 0.1, lr=0.01, head=find_head(model), head_lr=0.5)
    fast = {id(each) for group in groups if group["lr"] == 0.5 for each in group["params"]}
    assert fast == {id(each) for each in model.decoder.parameters()}
    assert find_classifier(model) is model.decoder.classifier


def test_published_weights_are_those_of_the_encoder() -> None:
    options = ModelOptions(arch="lraspp", encoder="mobilenetv3_small")
    assert options.pretrained_name() == "mobilenetv3_small"
    assert ModelOptions(arch="unet").pretrained_name() == "resnet18"
    assert ModelOptions(arch="resnet50").pretrained_name() == "resnet50"
    part, name = segmenter().published_part("lraspp")
    assert name == "mobilenetv3_small"
    whole = build_model("mobilenetv3_small", num_classes=1000).state_dict()
    report = load_state(part, whole, source="a file")
    assert (report.missing, report.loaded) == ((), report.total)
    assert all(name.startswith(("classifier.", "features.12.")) for name in report.unexpected), "the head alone"


def test_a_classifier_starts_the_encoder(tmp_path: Path) -> None:
    classifier = build_model("mobilenetv3_small", num_classes=5)
    torch.save({"state_dict": classifier.state_dict(), "classes": ["a", "b", "c", "d", "e"], "channels": {}}, tmp_path / "best.pt")
    model = segmenter()
    _load_from(model, tmp_path / "best.pt", CLASSES)
    torch.testing.assert_close(model.encoder.backbone.state_dict()["features.0.0.weight"], classifier.state_dict()["features.0.0.weight"])


def test_a_segmenter_of_other_classes_keeps_their_rows_by_name(tmp_path: Path) -> None:
    first, second = segmenter(), segmenter()
    torch.save({"state_dict": first.state_dict(), "classes": ["car", "sky", "tree"], "channels": {}}, tmp_path / "best.pt")
    fresh = second.decoder.classifier.weight[1].clone()
    _load_from(second, tmp_path / "best.pt", CLASSES)
    for layer, known in zip(second.decoder.classifiers(), first.decoder.classifiers(), strict=True):
        torch.testing.assert_close(layer.weight[0], known.weight[1])
        torch.testing.assert_close(layer.weight[2], known.weight[0])
    torch.testing.assert_close(second.decoder.classifier.weight[1], fresh)
