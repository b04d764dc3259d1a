"""Claims about what the classifier reads."""

import torch

from models import build_model
from models.classifier_input import as_vectors, classifier_inputs


def test_the_classifier_answers_the_logits_from_what_was_kept():
    net = build_model("resnet18", num_classes=5).eval()
    with torch.no_grad(), classifier_inputs(net) as read:
        logits = [net(torch.rand(2, 3, 32, 32)) for _ in range(2)]
    assert len(read) == 2
    for given, answer in zip(read, logits, strict=True):
        torch.testing.assert_close(net.get_classifier()(given), answer)
    net(torch.rand(2, 3, 32, 32))
    assert len(read) == 2, "nothing is kept behind the block"


def test_a_map_becomes_its_mean():
    maps = torch.arange(2 * 3 * 4, dtype=torch.float16).reshape(2, 3, 2, 2)
    assert torch.equal(as_vectors(maps), maps.float().mean((2, 3)))
    assert torch.equal(as_vectors(maps.flatten(1)), maps.float().flatten(1))
