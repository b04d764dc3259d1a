"""--convert_yolov5 renames a backbone both ways, and refuses what is none."""

import torch

from models import build_model
from models.weights import load_state
from tests.applications.conftest import Call
from utils.checkpoint import load_tensors


def test_there_and_back_is_the_same_network(call: Call, tmp_path) -> None:
    net = build_model("darknet_yolov5n", num_classes=3).eval()
    ours, theirs, back = (tmp_path / name for name in ("ours.pth", "theirs.pt", "back.pth"))
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in net.state_dict().items()}}, ours)
    outcome = call("--convert_yolov5", ours, theirs)
    assert outcome.code == 0, outcome.err
    assert "with the names of YOLOv5, up to model.8; 2 of other parts are left out" in outcome.out
    state = load_tensors(theirs)
    assert {name.split(".")[1] for name in state} == {str(layer) for layer in range(9)}
    assert call("--convert_yolov5", theirs, back).code == 0
    other = build_model("darknet_yolov5n", num_classes=3).eval()
    report = load_state(other, load_tensors(back), source="back.pth")
    assert report.missing == ("fc.weight", "fc.bias")
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(other.forward_features(image), net.forward_features(image))


def test_what_is_no_such_backbone_is_refused_and_nothing_is_written(call: Call, tmp_path) -> None:
    there, away = tmp_path / "weights.pth", tmp_path / "out.pth"
    for state, message in (
        ({"conv1.weight": torch.zeros(2)}, "holds no backbone of YOLOv5"),
        ({"stem.conv.weight": torch.zeros(2, 3, 3, 3), "stages.0.out_conv.conv.weight": torch.zeros(1)}, "holds another Darknet"),
    ):
        torch.save(state, there)
        outcome = call("--convert_yolov5", there, away)
        assert outcome.code == 2
        assert message in outcome.err
    assert not away.exists()
    assert "takes two files" in call("--convert_yolov5", there).err
    assert "exists; name a file that does not" in call("--convert_yolov5", there, there).err
