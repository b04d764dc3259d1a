"""YOLOX under the names of its published weights: the first layer, files without batch norms, what the publisher claims."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.detectors.build import build_detector
from models.detectors.detector import Detector
from models.detectors.folded_batchnorm import folded_norms, measure_folded, named_by_order
from models.detectors.yolox import STEM, stem_of_pixels
from models.find_published import find_published, published_preprocess
from models.weights import load_state
from utils.checkpoint import load_tensors
from utils.errors import UserError


def statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def nano(classes: int = 4) -> Detector:
    """A network whose batch norms do something."""
    torch.manual_seed(0)
    net = build_detector("yolox_nano", num_classes=classes)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            mean, var = statistics(norm)
            mean.normal_(std=0.1)
            var.uniform_(0.5, 1.5)
    return net.eval()


def folded(net: nn.Module) -> dict[str, Tensor]:
    """Weights and biases of the convolutions with their norms inside, by numbers in the order of computation, as exporters write them."""
    modules, order = dict(net.named_modules()), []
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    net(torch.zeros(1, 3, 64, 64))
    state: dict[str, Tensor] = {}
    for number, name in enumerate(order):
        conv, norm = modules[name], modules.get(name.rpartition(".")[0] + ".bn")
        own = name.startswith("head.") and "preds" in name
        assert isinstance(conv, nn.Conv2d)
        weight, bias = conv.weight.detach(), conv.bias
        if isinstance(norm, nn.BatchNorm2d):
            mean, var = statistics(norm)
            scale = norm.weight.detach() / (var + norm.eps).sqrt()
            weight, bias = weight * scale[:, None, None, None], norm.bias.detach() - mean * scale
        assert bias is not None
        names = (f"{name}.weight", f"{name}.bias") if own else (str(2 * number), str(2 * number + 1))
        state.update(zip(names, (weight.clone(), bias.detach().clone()), strict=True))
    return state


def test_the_first_layer_sees_what_the_published_one_sees_in_blue_green_red() -> None:
    weight, image = torch.randn(16, 12, 3, 3), torch.randn(2, 3, 32, 64)
    swapped = image.flip(1)
    patches = [swapped[:, :, y::2, x::2] for x in (0, 1) for y in (0, 1)]
    wanted = F.conv2d(torch.cat(patches, 1), weight, padding=1)
    torch.testing.assert_close(F.conv2d(image, stem_of_pixels(weight), stride=2, padding=2), wanted, rtol=1e-4, atol=1e-4)


def test_a_published_file_fills_the_network_and_its_own_file_is_left_as_it_is() -> None:
    net = nano()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    published = {**state, STEM: torch.randn(16, 12, 3, 3)}
    report = load_state(net, {"model": published}, source="a file")
    assert (report.loaded, report.missing, report.unexpected) == (report.total, (), ())
    torch.testing.assert_close(net.state_dict()[STEM], stem_of_pixels(published[STEM]))
    load_state(net, state, source="a file")
    torch.testing.assert_close(net.state_dict()[STEM], state[STEM])


def test_convolutions_that_took_their_norms_in_are_found_by_their_order() -> None:
    with torch.no_grad():
        net, image = nano(), torch.randn(1, 3, 64, 64)
        wanted, state = net(image), folded(nano())
    fresh = build_detector("yolox_nano", num_classes=4).eval()
    report = load_state(fresh, state, source="a file")
    assert (report.missing, report.unexpected) == ((), ())
    with torch.no_grad():
        torch.testing.assert_close(fresh(image), wanted, rtol=1e-3, atol=1e-3)


def test_measured_norms_change_no_answer_and_train_as_they_evaluate() -> None:
    with torch.no_grad():
        net = build_detector("yolox_nano", num_classes=4).eval()
        load_state(net, folded(nano()), source="a file")
        image = torch.randn(4, 3, 64, 64)
        wanted = net(image)
        assert len(folded_norms(net)) == measure_folded(net, [image[:2], image[2:]]) > 50
        assert not folded_norms(net)
        torch.testing.assert_close(net(image), wanted, rtol=1e-3, atol=1e-3)
        trained = net.train()(image)
        torch.testing.assert_close(trained.objectness.sigmoid(), wanted[..., 4], rtol=1e-3, atol=1e-4)


def test_a_fresh_network_has_no_folded_norms_and_other_networks_files_are_refused() -> None:
    net = build_detector("yolox_nano", num_classes=4)
    assert not folded_norms(net)
    state = folded(nano())
    first = next(iter(state))
    assert named_by_order(net, {name: value for name, value in state.items() if name != first}).keys() < state.keys()
    with pytest.raises(UserError, match="another architecture"):
        load_state(build_detector("yolox", num_classes=4, encoder="mobilenetv3_small"), state, source="a file")


def test_convolutions_are_read_from_an_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    weight, bias = torch.randn(2, 3, 1, 1), torch.randn(2)
    held = [numpy_helper.from_array(each.numpy(), name) for each, name in ((bias, "8"), (weight, "7"))]
    node = helper.make_node("Conv", ["x", "7", "8"], ["y"])
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], held)), str(tmp_path / "net.onnx"))
    found = load_tensors(tmp_path / "net.onnx")
    assert list(found) == ["7", "8"]
    torch.testing.assert_close(found["7"], weight)
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="is not an ONNX file, or damaged"):
        load_tensors(tmp_path / "broken.onnx")


def test_published_numbers_are_those_of_pixels_from_0_to_255() -> None:
    published, numbers = find_published("yolox_s"), published_preprocess("yolox_nano")
    assert published is not None
    assert numbers is not None
    assert "COCO AP 40.5% as published" in published.claims
    assert numbers["mean"] == (0.0, 0.0, 0.0)
    assert [round(each * 255, 6) for each in numbers["std"]] == [1, 1, 1]
    assert numbers["size"] == (416, 416)
    assert find_published("yolox") is None
