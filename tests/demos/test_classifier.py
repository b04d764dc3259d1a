"""Claims about the demo: it reads what training reads, answers what the model says, and fails in one line."""

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dataloader.images.preprocess import fit_pixels
from dataloader.images.read import read_image as trainer_read_image
from demos import classifier as demo
from demos.classifier import Classifier, ImageError, ModelError, classify, find_images, main, read_image

DEMO = Path(demo.__file__)
CLASSES = ["red", "green", "blue"]


class Reddest(nn.Module):
    """A model that can be checked by eye: the probability of a color is its share of the light."""

    def forward(self, images: Tensor) -> Tensor:
        light = images.float().mean(dim=[2, 3]) + 1e-3
        return light / light.sum(dim=1, keepdim=True)


def write_model(path, files):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.")
        torch.jit.save(torch.jit.script(Reddest()), path, _extra_files=files)
    return str(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    card = {"format": 1, "arch": "reddest", "classes": CLASSES, "image_size": [8, 8], "resize": "fit", "activation": "softmax"}
    return write_model(tmp_path_factory.mktemp("model") / "model.ts", {"darkroom.json": json.dumps(card)})


@pytest.fixture(scope="module")
def threshold_file(tmp_path_factory):
    card = {"format": 1, "arch": "reddest", "classes": CLASSES, "activation": "sigmoid", "thresholds": [0.3, 0.4, 0.9]}
    return write_model(tmp_path_factory.mktemp("model") / "several.ts", {"darkroom.json": json.dumps(card)})


def paint(path, color, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return str(path)


# Odd images, one function each: (folder) -> path.


def noise(shape, dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def save(image, path, **settings):
    image.save(path, **settings)
    return str(path)


def with_orientation(orientation):
    def make(folder):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return save(Image.fromarray(noise((6, 9, 3))), folder / f"turned{orientation}.png", exif=exif)

    return make


def palette_with_transparency(folder):
    image = Image.fromarray(noise((6, 9), high=4)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    return save(image, folder / "palette.png", transparency=2)


def animation(folder):
    frames = [Image.fromarray(noise((6, 9, 3))).quantize(8), Image.new("P", (9, 6))]
    return save(frames[0], folder / "film.gif", save_all=True, append_images=frames[1:])


def with_opencv(name, pixels):
    def make(folder):
        assert cv2.imwrite(str(folder / name), pixels)
        return str(folder / name)

    return make


ODD = {
    "jpeg": lambda folder: save(Image.fromarray(noise((6, 9, 3))), folder / "a.jpg"),
    "webp": lambda folder: save(Image.fromarray(noise((6, 9, 3))), folder / "a.webp"),
    "bmp": lambda folder: save(Image.fromarray(noise((6, 9, 3))), folder / "a.bmp"),
    "gray": lambda folder: save(Image.fromarray(noise((6, 9))), folder / "gray.png"),
    "one bit": lambda folder: save(Image.fromarray(noise((6, 9)) > 99), folder / "bits.png"),
    "rgba": lambda folder: save(Image.fromarray(noise((6, 9, 4))), folder / "rgba.png"),
    "gray and alpha": lambda folder: save(Image.fromarray(noise((6, 9, 4))).convert("LA"), folder / "la.png"),
    "palette": lambda folder: save(Image.fromarray(noise((6, 9, 3))).quantize(5), folder / "p.png"),
    "palette with transparency": palette_with_transparency,
    "transparent color": lambda folder: save(Image.new("RGB", (4, 4), (1, 2, 3)), folder / "key.png", transparency=(1, 2, 3)),
    "16-bit gray": lambda folder: save(Image.fromarray(noise((6, 9), np.uint16, 65536)), folder / "deep.png"),
    "16-bit gray tiff": lambda folder: save(Image.fromarray(noise((6, 9), np.uint16, 65536)), folder / "deep.tif"),
    "16-bit color tiff": with_opencv("deep_color.tiff", noise((6, 9, 3), np.uint16, 65536)),
    "cmyk jpeg": lambda folder: save(Image.fromarray(noise((6, 9, 3))).convert("CMYK"), folder / "print.jpg"),
    "cmyk tiff": lambda folder: save(Image.fromarray(noise((6, 9, 3))).convert("CMYK"), folder / "print.tif"),
    "animation": animation,
    "radiance map": with_opencv("a.pfm", noise((6, 9, 3)).astype(np.float32)),
    "wide 32-bit": lambda folder: save(Image.fromarray(noise((6, 9), np.int32, 2**20)), folder / "wide.tif"),
    "float": lambda folder: save(Image.fromarray(noise((6, 9)).astype(np.float32)), folder / "float.tif"),
} | {f"orientation {number}": with_orientation(number) for number in range(1, 10)}


def outcome(read, path):
    try:
        return read(path)
    except ValueError:
        return "unreadable"


@pytest.mark.parametrize("kind", ODD)
def test_the_demo_reads_the_pixels_of_training(kind, tmp_path):
    path = ODD[kind](tmp_path)
    ours, theirs = outcome(read_image, path), outcome(trainer_read_image, path)
    assert type(ours) is type(theirs)
    assert np.array_equal(ours, theirs)
    assert isinstance(ours, str) or (ours.dtype == np.uint8 and ours.flags.c_contiguous)


@pytest.mark.parametrize("pillow", [True, False])
def test_the_demo_reads_the_fourth_channel_of_training(pillow, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    Image.fromarray(pixels[:, :, :3].copy()).save(tmp_path / "b.png")
    assert np.array_equal(trainer_read_image(tmp_path / "a.png", bands=4), pixels)
    if not pillow:
        monkeypatch.setitem(sys.modules, "PIL", None)
    assert np.array_equal(read_image(str(tmp_path / "a.png"), bands=4), pixels)
    with pytest.raises(ImageError, match="no fourth channel"):
        read_image(str(tmp_path / "b.png"), bands=4)


# OpenCV chooses its own arithmetic for CMYK, and has no orientation for images with alpha.
@pytest.mark.parametrize("kind", [kind for kind in ODD if kind not in ("cmyk tiff", "cmyk jpeg", "radiance map", "wide 32-bit", "float")])
def test_opencv_alone_reads_almost_the_same(kind, tmp_path, monkeypatch):
    path = ODD[kind](tmp_path)
    expected = trainer_read_image(path).astype(int)
    monkeypatch.setitem(sys.modules, "PIL", None)
    pixels = read_image(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= (2 if path.endswith((".jpg", ".webp")) else 1)


def test_without_any_reader_an_image_error_says_so(tmp_path, monkeypatch):
    path = paint(tmp_path / "a.png", "red")
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImageError, match="OpenCV is missing"):
        read_image(path)


@pytest.mark.parametrize("alone", [False, True], ids=["pillow", "opencv"])
@pytest.mark.parametrize("spoil", ["empty", "text", "cut"])
def test_a_damaged_file_is_an_image_error(spoil, alone, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(noise((64, 64, 3))).save(buffer, "png")
    (tmp_path / "bad.png").write_bytes({"empty": b"", "text": b"hello", "cut": buffer.getvalue()[:30]}[spoil])
    if alone:
        monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImageError):
        read_image(str(tmp_path / "bad.png"))


def test_a_classifier_can_be_imported_and_asked(model_file):
    classifier = Classifier(model_file)
    image = np.zeros((5, 7, 3), np.uint8)
    image[:, :, 1], image[:, :, 2] = 150, 50
    assert classifier.classes == tuple(CLASSES)
    np.testing.assert_allclose(classifier.predict(image), [0, 0.75, 0.25], atol=1e-4)
    assert [label for label, _ in classifier.top(image, 2)] == ["green", "blue"]
    assert len(classifier.top(image, 99)) == 3
    with pytest.raises(ValueError, match="uint8"):
        classifier.predict(image.astype(np.float32))


def test_images_of_any_sizes_are_answered_in_order(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "BATCH_IMAGES", 2)
    colors = ["red", "green", "blue", "red", "blue", "blue", "lime", "red"]
    sizes = [(4, 4), (4, 4), (4, 4), (5, 4), (4, 5), (4, 5), (4, 5), (9, 9)]
    paths = [paint(tmp_path / f"{i}.png", color, size) for i, (color, size) in enumerate(zip(colors, sizes, strict=True))]
    batches = []

    class Counting(Classifier):
        def predict_batch(self, images):
            batches.append(len(images))
            return super().predict_batch(images)

    classifier = Counting(model_file)
    (tmp_path / "bad.png").write_text("no image")
    paths.insert(1, str(tmp_path / "bad.png"))
    answers = list(classify(classifier, paths))
    assert [path for path, _, _ in answers] == paths
    named = [classifier.name(probabilities, 1)[0][0] for _, probabilities, _ in answers if probabilities is not None]
    assert named == [color.replace("lime", "green") for color in colors]
    assert batches == [1, 2, 1, 2, 1, 1]


def test_large_images_go_through_the_model_one_by_one(model_file, tmp_path, monkeypatch):
    paths = [paint(tmp_path / f"{i}.png", "red", (40, 40)) for i in range(3)]
    classifier, batches = Classifier(model_file), []
    answer = np.full((3, 3), 1 / 3, np.float32)
    monkeypatch.setattr(classifier, "predict_batch", lambda images: (batches.append(len(images)), answer[: len(images)])[1])
    monkeypatch.setattr(demo, "BATCH_VALUES", 3 * 40 * 40 * 2)
    assert [path for path, _, _ in classify(classifier, paths)] == paths
    monkeypatch.setattr(demo, "BATCH_VALUES", 100)
    assert [path for path, _, _ in classify(classifier, paths)] == paths
    assert batches == [2, 1, 1, 1, 1]


def test_folders_are_searched_through(tmp_path):
    for name in ("b/z.PNG", "b/c/y.tiff", "a.webp", "notes.txt", ".hidden.png", ".cache/x.png", "ä ö/ü.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    found = [Path(path).relative_to(tmp_path).as_posix() for path in find_images([str(tmp_path)])]
    assert found == ["a.webp", "b/c/y.tiff", "b/z.PNG", "ä ö/ü.jpeg"]
    assert find_images(["given.xyz"]) == ["given.xyz"]


def test_the_table_is_aligned(model_file, tmp_path, capsys):
    paint(tmp_path / "long name.png", (255, 0, 0))
    paint(tmp_path / "x.png", (0, 0, 255))
    assert main([model_file, str(tmp_path), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/long name.png  red   100.0%  green   0.0%"
    assert lines[1] == f"{tmp_path}/x.png          blue  100.0%  red     0.0%"


def test_json_is_an_object_a_line_and_errors_are_told(model_file, tmp_path, capsys):
    good, bad = paint(tmp_path / "good.png", (0, 100, 100)), tmp_path / "bad.png"
    bad.write_text("no image")
    assert main([model_file, str(bad), str(tmp_path / "gone.png"), good, "--json", "--top", "1"]) == 1
    out, err = capsys.readouterr()
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert first["path"] == str(bad)
    assert first["error"]
    assert "No such file" in second["error"]
    assert third["top"] == [{"label": "green", "probability": pytest.approx(0.5, abs=1e-4)}]
    assert [line.split(":")[0] for line in err.splitlines()] == [str(bad), str(tmp_path / "gone.png")]


def test_a_model_with_thresholds_names_all_labels_that_reach_theirs(threshold_file, tmp_path, capsys):
    for name, color in (("a", (100, 150, 0)), ("b", (0, 100, 100)), ("c", (255, 0, 0))):
        paint(tmp_path / f"{name}.png", color)
    assert main([threshold_file, str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("png")[1].split() for line in lines] == [
        ["green", "60.0%", "red", "40.0%"],
        ["green", "50.0%"],
        ["red", "100.0%"],
    ]
    paint(tmp_path / "b.png", (0, 60, 240))
    assert main([threshold_file, str(tmp_path / "b.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/b.png  -\n"
    assert main([threshold_file, str(tmp_path / "b.png"), "--top", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/b.png  blue   80.0%\n"


def test_json_of_a_model_with_thresholds_holds_the_labels_and_the_top_where_asked(threshold_file, tmp_path, capsys):
    path = paint(tmp_path / "a.png", (100, 150, 0))
    assert main([threshold_file, path, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() == {"path", "labels"}
    assert [label["label"] for label in answer["labels"]] == ["green", "red"]
    assert main([threshold_file, path, "--json", "--top", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [label["label"] for label in answer["labels"]] == ["green", "red"]
    assert [label["label"] for label in answer["top"]] == ["green"]


def test_labels_are_one_or_as_many_as_the_model_gives(model_file, threshold_file):
    image = np.zeros((5, 7, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = 90, 110
    assert [label for label, _ in Classifier(model_file).labels(image)] == ["green"]
    assert [label for label, _ in Classifier(threshold_file).labels(image)] == ["green", "red"]
    assert Classifier(threshold_file).labels(np.zeros_like(image)) == [("red", pytest.approx(1 / 3))]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"darkroom.json": '{"format": 1, "classes": ["a", "b"], "thresholds": [0.5]}'}, "not one that"),
        ({"darkroom.json": '{"format": 1, "classes": ["a"], "thresholds": ["x"]}'}, "not one that"),
        ({}, "not one that python main.py --export wrote"),
        ({"darkroom.json": "[1]"}, "not one that python main.py --export wrote"),
        ({"darkroom.json": '{"format": 1}'}, "not one that python main.py --export wrote"),
        ({"darkroom.json": '{"format": 2, "classes": []}'}, "format 2"),
    ],
)
def test_a_foreign_torchscript_file_is_refused(files, message, tmp_path):
    path = write_model(tmp_path / "foreign.ts", files)
    with pytest.raises(ModelError, match=message):
        Classifier(path)


def test_a_file_that_is_no_torchscript_is_refused_in_one_line(tmp_path, capsys):
    image = paint(tmp_path / "a.png", "red")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("hello")
    said = {"weights.pt": "not a TorchScript", "text.pt": "not a TorchScript", "gone.pt": "no model file", ".": "no model file"}
    for name, words in said.items():
        assert main([str(tmp_path / name), image]) == 2
        out, err = capsys.readouterr()
        assert words in err
        assert err.count("\n") == 1
        assert out == ""


def test_without_arguments_it_says_what_to_do_with_an_example(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/classifier.py"])
    for argv in (None, []):
        assert main(argv) == 2
        said = capsys.readouterr().err
        assert "python classifier.py model.onnx photo.jpg" in said
        assert "--export onnx --resume RUN" in said
        assert said.count("\n") == 1


def test_no_images_is_an_error_in_one_line(model_file, tmp_path, capsys):
    assert main([model_file, str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"no images in {tmp_path}")


def test_the_copied_file_runs_alone_without_a_word_on_stderr(model_file, tmp_path):
    (tmp_path / "classifier.py").write_bytes(DEMO.read_bytes())
    image = paint(tmp_path / "a.png", "red")
    command = [sys.executable, "-I", "classifier.py", model_file, image, "--top", "1", "--threads", "1"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{image}  red   100.0%\n"


def test_a_model_that_may_reject_says_where_it_is_unsure(tmp_path, capsys):
    card = {"format": 1, "arch": "reddest", "classes": CLASSES, "activation": "softmax", "reject": [0.9, 0.2, 2.0]}
    model = write_model(tmp_path / "model.ts", {"darkroom.json": json.dumps(card)})
    sure = paint(tmp_path / "sure.png", (250, 5, 5))
    unsure = paint(tmp_path / "unsure.png", (200, 60, 60))
    classifier = Classifier(model)
    assert [label for label, _ in classifier.labels(read_image(sure))] == ["red"]
    assert classifier.labels(read_image(unsure)) == []
    assert main([model, sure, unsure]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert ("unsure" in first.split(), "unsure" in second.split()[1:]) == (False, True)
    main([model, sure, unsure, "--json"])
    assert [json.loads(line)["rejected"] for line in capsys.readouterr().out.splitlines()] == [False, True]
    card["reject"] = [0.5]
    with pytest.raises(ModelError, match="not one that"):
        Classifier(write_model(tmp_path / "other.ts", {"darkroom.json": json.dumps(card)}))


@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
def test_files_without_geometry_get_the_pixels_of_training(resize):
    rng = np.random.default_rng(0)
    for _ in range(25):
        h, w, height, width = rng.integers(1, 150, 4).tolist()
        image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        assert np.array_equal(demo.fit(image, height, width, resize), fit_pixels(image, height, width, resize)), (h, w, height, width)


@pytest.mark.parametrize(("name", "package"), [("m.onnx", "onnxruntime"), ("m.xml", "openvino"), ("m.pt", "torch")])
def test_a_missing_runtime_is_named_in_one_line(name, package, tmp_path, capsys, monkeypatch):
    (tmp_path / name).write_bytes(b"any")
    monkeypatch.setattr(demo.importlib, "import_module", lambda wanted: (_ for _ in ()).throw(ModuleNotFoundError(name=wanted)))
    assert main([str(tmp_path / name), paint(tmp_path / "a.png", "red")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / name} needs the package {package}, which is missing: pip install {package}\n"


@pytest.mark.parametrize(("missing", "package"), [(("numpy",), "numpy"), (("PIL", "cv2"), "pillow"), (("torch",), "torch")])
def test_a_bare_python_says_in_one_line_what_to_install(missing, package, tmp_path):
    # A path entry that hides the packages, as if they had never been installed.
    hide = f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
    (tmp_path / "classifier.py").write_text(DEMO.read_text(encoding="utf-8").replace("import argparse\n", hide + "import argparse\n", 1))
    (tmp_path / "model.pt").write_bytes(b"any")
    run = subprocess.run(
        [sys.executable, "-I", "classifier.py", "model.pt", "x.jpg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert f"pip install {package}" in run.stderr


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_a_damaged_file_of_another_runtime_is_refused_in_one_line(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"no model at all")
    assert main([str(tmp_path / name), paint(tmp_path / "a.png", "red")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "damaged" in err


def write_video(path, colors):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for color in colors:
        writer.write(np.full((24, 32, 3), color[::-1], np.uint8))
    writer.release()
    return str(path)


def test_a_video_is_answered_frame_by_frame(model_file, tmp_path, capsys):
    film = write_video(tmp_path / "film.avi", [(250, 0, 0)] * 10 + [(0, 0, 250)] * 10)
    assert main([model_file, film, "--top", "1", "--frames", "2", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == [f"{film}#{second}" for second in ("0.00", "0.50", "1.00", "1.50")]
    assert [answer["top"][0]["label"] for answer in answers] == ["red", "red", "blue", "blue"]
    assert main([model_file, film, "--frames", "2", "--limit", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_video_that_is_none_and_a_camera_that_is_missing_are_told(model_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_text("no film")
    assert main([model_file, "film.mp4"]) == 1
    assert "it is no video" in capsys.readouterr().err
    assert main([model_file, "97"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "97: there is no such camera"


def test_a_camera_goes_on_and_its_frames_come_one_by_one(model_file, monkeypatch, tmp_path):
    class Camera:
        def __init__(self, source):
            assert source == 0

        def isOpened(self):  # noqa: N802 - OpenCV's name
            return True

        def get(self, _):
            return 0.0

        def grab(self):
            return True

        def retrieve(self):
            return True, np.full((4, 4, 3), (0, 0, 250), np.uint8)

        def release(self):
            pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    answers = classify(Classifier(model_file), ["0"], frames=30)
    named = [next(answers) for _ in range(20)]
    assert [name for name, _, _ in named[:2]] == ["camera 0#0.00", "camera 0#0.03"]
    assert all(shares.argmax() == 0 for _, shares, _ in named)


def test_the_benchmark_tells_times_that_fit_together(model_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo.measure, "__defaults__", (0.3,))
    image = paint(tmp_path / "a.png", "red", (40, 30))
    assert main([model_file, image, "--benchmark", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pixels"] == [40, 30]
    assert 0 < found["median_ms"] <= found["p95_ms"]
    assert found["images_per_second"] > 0
    assert main([model_file, image, "--benchmark"]) == 0
    assert "median" in capsys.readouterr().out
    assert main([model_file, str(tmp_path / "gone.png"), "--benchmark"]) == 2


def test_a_file_without_geometry_is_given_images_of_its_own_size(tmp_path):
    card = {"format": 1, "classes": CLASSES, "any_size": False, "image_size": [5, 9], "resize": "crop"}
    classifier = Classifier(write_model(tmp_path / "model.ts", {"darkroom.json": json.dumps(card)}))
    image = noise((40, 30, 3))
    expected = Classifier(write_model(tmp_path / "any.ts", {"darkroom.json": json.dumps(card | {"any_size": True})}))
    np.testing.assert_allclose(classifier.predict(image), expected.predict(fit_pixels(image, 5, 9, "crop")))
    assert not np.allclose(classifier.predict(image), expected.predict(image))
