"""The demo in C++ is built from public packages, and gives the answers of the one in Python."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demos.classifier import Classifier, read_image
from tests.applications.formats.conftest import CLASSES, Written

SOURCE = Path(__file__).parents[3] / "demos" / "cpp"
HAS_TOOLS = shutil.which("cmake") and shutil.which("g++") and Path("/usr/include/jpeglib.h").is_file()


def write_segmenter(path: Path) -> Path:
    """Write a graph that answers every pixel with the probabilities of three classes."""
    openvino = pytest.importorskip("openvino")
    images = openvino.opset8.parameter([-1, 3, -1, -1], np.uint8, name="images")
    graph = openvino.Model([openvino.opset8.convert(images, "f32")], [images])
    graph.set_rt_info(json.dumps({"classes": list(CLASSES)}), ["darkroom"])
    openvino.save_model(graph, path)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TOOLS, reason="needs cmake, g++ and the headers of libjpeg")
def test_the_demo_in_cpp_gives_the_answers_of_the_one_in_python(written: Written, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    package = Path(openvino.__path__[0]).resolve() / "cmake"
    build = tmp_path / "build"
    for command in (["-S", SOURCE, "-B", build, f"-DOpenVINO_DIR={package}"], ["--build", build]):
        subprocess.run(["cmake", *command], check=True, capture_output=True)
    model = written("openvino").path
    photos = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, photo in enumerate(photos):
        light = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(light).resize((90 - 20 * number, 40 + 7 * number)).save(photo, quality=95)
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    done = subprocess.run([build / "classifier", model, *photos, bad], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{bad}: not a JPEG file, or damaged\n")
    classifier = Classifier(str(model), threads=1)
    for line, photo in zip(done.stdout.splitlines(), photos, strict=True):
        path, *cells = line.split("  ")
        assert path == str(photo)
        said = dict(cell.removesuffix("%").rsplit(" ", 1) for cell in cells)
        assert set(said) == set(CLASSES)
        for label, share in classifier.top(read_image(str(photo)), 3):
            assert float(said[label]) == pytest.approx(100 * share, abs=0.01)
    # A header alone may ask for 13 GB; that says nothing against the model.
    huge = tmp_path / "huge.jpg"
    content = bytearray(photos[0].read_bytes())
    header = content.index(b"\xff\xc0") + 5
    content[header : header + 4] = (65500).to_bytes(2) * 2
    huge.write_bytes(content)
    limited = ["bash", "-c", f'ulimit -v {10 * 2**20}; exec "$@"', "-"]
    done = subprocess.run([*limited, build / "classifier", model, huge, photos[0]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{huge}: too large for the memory\n")
    assert done.stdout.startswith(str(photos[0]))
    damaged = tmp_path / "damaged.xml"
    damaged.write_text("no graph")
    segmenter = write_segmenter(tmp_path / "masks.xml")
    for wrong in (bad, damaged, tmp_path / "gone.xml", segmenter):
        done = subprocess.run([build / "classifier", wrong, photos[0]], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{segmenter} is no classifier")
