"""Weights load whole or not at all, and the report says what became of them."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file

from models import build_model, list_models, published, weights
from models.download import announced_sha256, download
from models.families import efficientnet
from models.find_published import find_published, published_preprocess
from models.published import Published
from models.weights import load_published, load_state
from utils.checkpoint import load_tensors
from utils.errors import UserError


def net(classes: int = 5):
    return build_model("mobilenetv3_small", num_classes=classes)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {}, "state_dict_ema": state},
    ],
)
def test_wrappers_and_prefixes_come_off(wrap):
    source, target = net(), net()
    report = load_state(target, wrap(source.state_dict()), source="file.pth")
    assert same(source, target)
    assert (report.missing, report.unexpected, report.resized, report.classes) == ((), (), (), None)
    assert str(report) == f"loaded {report.total} of {report.total} tensors from file.pth"


@pytest.mark.parametrize("prefix", ["backbone.", "model.0.", "encoder_q.", "module.encoder."])
def test_a_network_inside_a_larger_one_is_found_and_what_is_beside_it_named(prefix):
    source, target = net(), net()
    state = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    report = load_state(target, {"state_dict": {**state, "neck.conv.weight": torch.zeros(2)}}, source="file.pth")
    assert same(source, target)
    assert report.unexpected == ("neck.conv.weight",)
    assert report.loaded == report.total


def test_names_of_timm_are_refused_where_it_computes_something_else():
    with pytest.raises(UserError, match="--arch timm/"):
        load_state(net(), {"conv_stem.weight": torch.zeros(16, 3, 3, 3)}, source="file.pth")


def test_a_classifier_of_another_size_keeps_its_start_and_is_reported():
    source, target = net(7), net(5)
    before = target.get_classifier().weight.clone()
    report = load_state(target, source.state_dict(), source="file.pth")
    assert report.resized == ("classifier.3.weight", "classifier.3.bias")
    assert "classifier kept at its start (7 -> 5 classes): classifier.3.weight, classifier.3.bias" in str(report)
    torch.testing.assert_close(target.get_classifier().weight, before)
    torch.testing.assert_close(target.features[0][0].weight, source.features[0][0].weight)


def test_missing_and_unexpected_tensors_are_named_and_step_counters_are_not_missed():
    state = net().state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    del state["features.0.0.weight"]
    report = load_state(net(), state | {"aux.weight": torch.zeros(1)}, source="file.pth")
    assert report.missing == ("features.0.0.weight",)
    assert report.unexpected == ("aux.weight",)
    assert "missing in the file, kept at their start: features.0.0.weight" in str(report)
    assert "not part of this network: aux.weight" in str(report)


@pytest.mark.parametrize("other", ["resnet18", "mobilenetv3_large"])
def test_weights_of_another_architecture_are_refused_and_change_nothing(other):
    target, untouched = net(), net()
    untouched.load_state_dict(target.state_dict())
    with pytest.raises(UserError, match="another architecture"):
        load_state(target, build_model(other, num_classes=5).state_dict(), source="file.pth")
    assert same(target, untouched)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {"a": 1}}])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(UserError, match=r"file\.pth is not a state dict"):
        load_state(net(), content, source="file.pth")


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_files_that_are_no_weights_are_refused_in_one_line(tmp_path):
    damaged, code, listed, tensors = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth", "d.safetensors"))
    damaged.write_bytes(b"not a file of weights")
    torch.save({"state_dict": Evil()}, code)
    torch.save([1, 2], listed)
    tensors.write_bytes(b"123")
    for path in (damaged, code, listed, tensors, tmp_path / "absent.pth"):
        with pytest.raises(UserError) as caught:
            load_state(net(), load_tensors(path), source=str(path))
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_in_the_folder_is_read_without_network(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(weights, "download", lambda *_: pytest.fail("no download is needed"))
    source, target = net(), net()
    path = tmp_path / f"mobilenetv3_small{suffix}"
    torch.save(source.state_dict(), path) if suffix == ".pth" else save_file(source.state_dict(), path)
    report = load_published(target, "mobilenetv3_small", folder=tmp_path)
    assert same(source, target)
    assert report.source == str(path)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and takes up a download from the middle; what was asked for is kept in `asked`."""

    asked: ClassVar[list[str | None]] = []
    # How many bytes go out before the connection ends, a number for each answer; whole files after them.
    breaks: ClassVar[list[int]] = []

    def log_message(self, *_):
        return

    def do_GET(self):
        start = self.headers["Range"]
        self.asked.append(start)
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        whole = file.read_bytes()
        first = int(start.removeprefix("bytes=").removesuffix("-")) if start and "old" not in file.name else 0
        if first and first >= len(whole):
            self.send_error(416)
            return
        body = whole[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)


@pytest.fixture
def server(tmp_path):
    """A web server on the loopback interface, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    Quiet.asked.clear()
    Quiet.breaks.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_absent_weights_are_downloaded_to_the_folder_once(tmp_path, server, monkeypatch):
    served, address = server
    source, target, told = net(), net(), []
    torch.save(source.state_dict(), served / "raw")
    name = f"net-{hashlib.sha256((served / 'raw').read_bytes()).hexdigest()[:8]}.pth"
    (served / "raw").rename(served / name)
    monkeypatch.setattr(weights, "find_published", lambda *_, **__: Published(f"{address}/{name}"))
    folder = tmp_path / "pretrained"
    load_published(target, "mobilenetv3_small", folder=folder, announce=told.append)
    assert same(source, target)
    assert told == [f"downloading {address}/{name} to {folder / 'mobilenetv3_small.pth'} (its publisher names no license)"]
    (served / name).unlink()
    load_published(target, "mobilenetv3_small", folder=folder, announce=told.append)
    assert [path.name for path in folder.iterdir()] == ["mobilenetv3_small.pth"]
    assert len(told) == 1


def test_a_changed_file_is_refused_and_leaves_nothing(tmp_path, server):
    served, address = server
    (served / "net-0123abcd.pth").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="is not the published file"):
        download(Published(f"{address}/net-0123abcd.pth"), tmp_path / "out" / "net.pth")
    assert list((tmp_path / "out").iterdir()) == []


def named(served, content: bytes, stem: str = "net") -> str:
    """Serve bytes under a name that ends with their hash; return the name."""
    name = f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (served / name).write_bytes(content)
    return name


def test_a_broken_download_goes_on_where_it_broke(tmp_path, server):
    served, address = server
    content = bytes(range(256)) * 40
    Quiet.breaks.extend([1000, 2000])
    download(Published(f"{address}/{named(served, content)}"), tmp_path / "out" / "net.pth")
    assert Quiet.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert (tmp_path / "out" / "net.pth").read_bytes() == content
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net.pth"]


def test_what_came_is_kept_for_the_next_call(tmp_path, server):
    served, address = server
    content = bytes(range(256)) * 40
    published, path = Published(f"{address}/{named(served, content)}"), tmp_path / "out" / "net.pth"
    Quiet.breaks.extend([1000, 0])
    with pytest.raises(UserError, match=r"0\.0 MB of it are kept in .*net\.pth\.part, and the same command goes on"):
        download(published, path)
    assert [each.name for each in path.parent.iterdir()] == ["net.pth.part"]
    Quiet.asked.clear()
    download(published, path)
    assert Quiet.asked == ["bytes=1000-"]
    assert path.read_bytes() == content


def test_a_server_that_only_knows_whole_files_starts_again(tmp_path, server):
    served, address = server
    content = bytes(range(256)) * 40
    Quiet.breaks.append(1000)
    download(Published(f"{address}/{named(served, content, 'old')}"), tmp_path / "net.pth")
    assert Quiet.asked == [None, "bytes=1000-"]
    assert (tmp_path / "net.pth").read_bytes() == content


def test_a_whole_part_is_taken_as_it_is_and_a_part_of_something_else_is_dropped(tmp_path, server):
    served, address = server
    content = bytes(range(256)) * 40
    published, path = Published(f"{address}/{named(served, content)}"), tmp_path / "net.pth"
    part = tmp_path / "net.pth.part"
    part.write_bytes(content)
    download(published, path)
    assert path.read_bytes() == content
    path.unlink()
    part.write_bytes(b"x" * 500)
    with pytest.raises(UserError, match="is not the published file"):
        download(published, path)
    assert not part.exists()


def test_a_hub_that_names_the_hash_is_taken_at_its_word(tmp_path, server, monkeypatch):
    served, address = server
    content = bytes(range(256)) * 40
    (served / "model.safetensors").write_bytes(content)
    told = hashlib.sha256(content).hexdigest()

    def head(self):
        # The hub names the hash where it sends on to the server that has the file.
        self.send_response(302 if "resolve" in self.path else 200)
        if "resolve" in self.path:
            self.send_header("X-Linked-ETag", f'"{told}"')
        self.send_header("Location", "/model.safetensors")
        self.end_headers()

    monkeypatch.setattr(Quiet, "do_HEAD", head, raising=False)
    assert announced_sha256(f"{address}/resolve/model.safetensors") == told
    (served / "resolve").mkdir()
    (served / "resolve" / "model.safetensors").write_bytes(content)
    published, path = Published(f"{address}/resolve/model.safetensors"), tmp_path / "out" / "net.safetensors"
    Quiet.breaks.extend([1000])
    download(published, path)
    assert Quiet.asked == [None, "bytes=1000-"]
    assert path.read_bytes() == content
    path.unlink()
    (served / "resolve" / "model.safetensors").write_bytes(content[:-1] + b"?")
    with pytest.raises(UserError, match="is not the published file"):
        download(published, path)
    assert list(path.parent.iterdir()) == []


def test_a_file_without_a_hash_is_never_taken_up_again(tmp_path, server):
    served, address = server
    (served / "model.safetensors").write_bytes(b"abc" * 1000)
    Quiet.breaks.append(10)
    with pytest.raises(UserError, match="the connection ended after 10 of 3,000 bytes"):
        download(Published(f"{address}/model.safetensors"), tmp_path / "out" / "net.safetensors")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_under_its_published_name_is_found_and_recognized(tmp_path, monkeypatch):
    source, target = net(), net()
    torch.save(source.state_dict(), tmp_path / "raw")
    digest = hashlib.sha256((tmp_path / "raw").read_bytes()).hexdigest()[:8]
    (tmp_path / "raw").rename(tmp_path / f"small-{digest}.pth")
    monkeypatch.setattr(weights, "find_published", lambda *_, **__: Published(f"https://some.host/small-{digest}.pth"))
    monkeypatch.setattr(weights, "download", lambda *_: pytest.fail("no download is needed"))
    report = load_published(target, "mobilenetv3_small", folder=tmp_path)
    assert same(source, target)
    assert f"small-{digest}.pth (the file of some.host, by its SHA-256)" in str(report)
    torch.save(net().state_dict(), tmp_path / "mobilenetv3_small.pth")
    assert "not the file of some.host: it has another SHA-256" in str(load_published(target, "mobilenetv3_small", folder=tmp_path))


def test_who_downloads_is_told_what_the_publisher_says(tmp_path, server, monkeypatch):
    served, address = server
    torch.save(net().state_dict(), served / "net.pth")
    published_one = Published(f"{address}/net.pth", license="MIT", top1=70.04)
    monkeypatch.setattr(weights, "find_published", lambda *_, **__: published_one)
    told = []
    load_published(net(), "mobilenetv3_small", folder=tmp_path / "pretrained", announce=told.append)
    assert told[0].endswith("mobilenetv3_small.pth (MIT, ImageNet top-1 70.0% as published)")


def test_weights_of_adversarial_training_have_a_file_and_numbers_of_their_own():
    plain, adversarial = find_published("efficientnet_b3"), find_published("efficientnet_b3", advprop=True)
    assert plain is not None
    assert adversarial is not None
    assert adversarial.url != plain.url
    assert (adversarial.mean, adversarial.std, adversarial.size) == ((0.5,) * 3, (0.5,) * 3, plain.size)
    with pytest.raises(UserError, match="efficientnet_b0 to efficientnet_b8"):
        find_published("resnet18", advprop=True)
    with pytest.raises(UserError, match=r"NAME\.ap_in1k"):
        find_published("timm/tf_efficientnet_b0", advprop=True)


def test_licenses_and_accuracies_are_those_that_their_publishers_name():
    timm, torchvision = pytest.importorskip("timm"), pytest.importorskip("torchvision.models")
    licenses, accuracies = {}, {}
    for name in timm.list_pretrained():
        config = timm.get_pretrained_cfg(name)
        licenses[(config.url or "").rpartition("/")[2]] = config.license
    for name in torchvision.list_models(module=torchvision):
        for each in torchvision.get_model_weights(name):
            accuracies[each.url.rpartition("/")[2]] = each.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    known = [published for arch in list_models() if (published := find_published(arch)) is not None]
    named = [each for each in known if licenses.get(each.file)]
    assert len(named) > 40
    assert [each.license.lower() for each in named] == [licenses[each.file] for each in named]
    measured = [each for each in known if each.file in accuracies]
    assert len(measured) > 10
    assert [each.top1 for each in measured] == [accuracies[each.file] for each in measured]


def test_files_of_adversarial_training_are_the_ones_efficientnet_pytorch_names():
    package = pytest.importorskip("efficientnet_pytorch.utils")
    assert {arch.replace("_", "-"): each.url for arch, each in efficientnet.ADVPROP.items()} == package.url_map_advprop


def test_without_network_the_message_names_the_url_and_the_file(tmp_path, server):
    url = f"{server[1]}/absent.pth"
    with pytest.raises(UserError) as caught:
        download(Published(url), tmp_path / "out" / "net.pth")
    assert f"fetch {url} where there is network and save it as {tmp_path / 'out' / 'net.pth'}" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_network_without_published_weights_says_where_to_put_a_file(tmp_path):
    with pytest.raises(UserError, match=r"put a file of your own at .*my_net\.py:Net\.pth"):
        load_published(net(), "my_net.py:Net", folder=tmp_path)


def test_the_hash_is_read_from_the_name():
    assert Published("https://host/resnet18-f37072fd.pth").sha256 == "f37072fd"
    assert Published("https://host/model.safetensors").sha256 == ""
    assert Published("https://host/model.safetensors").suffix == ".safetensors"


def test_preprocessing_belongs_to_the_weights():
    assert published_preprocess("resnet18") == {
        "mean": published.IMAGENET_MEAN,
        "std": published.IMAGENET_STD,
        "size": (224, 224),
        "interpolation": "bilinear",
    }
    numbers = published_preprocess("efficientnet_b3")
    assert numbers is not None
    assert (numbers["size"], numbers["interpolation"]) == ((300, 300), "bicubic")
    assert published_preprocess("my_net.py:Net") is None


def test_a_forwarded_network_has_the_published_weights_of_its_package():
    assert find_published("mobilenet_v2") == find_published("torchvision/mobilenet_v2")


@pytest.mark.parametrize("place", ["mobilenet_v2.pth", "torchvision/mobilenet_v2.pth"])
def test_the_file_of_a_forwarded_network_is_found_under_either_name(place, tmp_path):
    net = build_model("mobilenet_v2", num_classes=3)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    torch.save(net.state_dict(), tmp_path / place)
    assert str(tmp_path / place) in str(load_published(net, "mobilenet_v2", folder=tmp_path))


UNPUBLISHED = (
    *("resnet50t", "resnet200", "seresnet18", "seresnet34", "seresnet50t", "seresnet101", "seresnet152", "seresnet200d", "seresnet269d"),
    *("ecaresnet200d", "ecaresnext26t_32x4d", "ecaresnext50t_32x4d", "resnetblur18"),
    *("resnet_20", "resnet_26", "resnet_29", "resnet_38"),
    *(f"resnet_{depth}_bn_conv_relu" for depth in (20, 26, 29, 38, 50)),
    "zfnet",
    *("mixer_s32_224", "mixer_s16_224", "mixer_b32_224", "mixer_l32_224", "mixer_h14_224"),
    "convnextv2_small",
)


def test_every_network_of_the_table_has_published_weights_but_those_that_nobody_published():
    assert {arch for arch in list_models() if find_published(arch) is None} == set(UNPUBLISHED)
