"""--visual_data and --visual_method: heat maps of every method, and the folder they are written to."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from applications.explain import gallery, heat_overlays
from applications.explain.faithfulness import Faithfulness
from applications.explain.gallery import ExplainedImage, MethodScores, draw, trust_sentence
from applications.explain.heat_maps import ExplainedBatch, Explainer, available, heat_maps
from applications.explain.heat_overlays import explain
from applications.explain.labels import choose, judge
from applications.explain.methods import METHODS, named_methods
from applications.trained.checkpoint import load_trained
from models import build_model
from tests.applications.conftest import NETS, Call, read_rows, run_once, tiny
from tests.applications.predicted import predicted
from utils import progress_bar
from utils.errors import UserError

# Where the package has the same method: the name of its class.
ORACLES = {
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMPlusPlus",
    "xgrad-cam": "XGradCAM",
    "hires-cam": "HiResCAM",
    "layer-cam": "LayerCAM",
    "score-cam": "ScoreCAM",
    "ablation-cam": "AblationCAM",
}


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a tiny network on three colors."""
    folder = tmp_path_factory.mktemp("runs")
    run_once(*tiny(colors, "--logdir", folder, "--name", "one"))
    return folder / "classify" / "one"


def of_run(run: Path, *more: object) -> list[object]:
    return ["--resume", run, "--arch", f"{NETS}:TinyNet", "-j", 0, *more]


@pytest.fixture(scope="module")
def look() -> ExplainedBatch:
    torch.manual_seed(0)
    model = build_model(f"{NETS}:TinyNet", num_classes=3).eval()
    # The package turns the weights of ablation around where a logit is negative.
    model.get_classifier().bias.data += 5
    return ExplainedBatch(Explainer(model, "tiny", (16, 16)), torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)))


CLASSES = torch.tensor([0, 2, 1])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_heat_between_0_and_1(look, method):
    heat = heat_maps(method, look, CLASSES)
    assert heat.dtype == np.float32
    assert heat.shape == (3, 4, 4)
    assert heat.min() >= 0
    assert heat.max() == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
def test_the_heat_of_an_image_does_not_depend_on_its_batch(look, method):
    alone = heat_maps(method, ExplainedBatch(look.explainer, look.x[1:2], 1), CLASSES[1:2])
    np.testing.assert_allclose(heat_maps(method, look, CLASSES)[1:2], alone, atol=1e-4)


@pytest.mark.parametrize("method", ORACLES)
def test_methods_agree_with_the_package_run_on_the_whole_network(look, method, capsys):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = look.explainer.model
    with getattr(pytorch_grad_cam, ORACLES[method])(model, [model.net.features[5]]) as package:
        theirs = package(look.x.clone(), [ClassifierOutputTarget(label) for label in CLASSES.tolist()])
    # Theirs are stretched over the image; the middle of a cell of 4 x 4 lies between these pixels.
    ours = torch.nn.functional.interpolate(torch.from_numpy(heat_maps(method, look, CLASSES))[:, None], (16, 16), mode="bilinear")[:, 0]
    ours = ours - ours.amin((1, 2), keepdim=True)
    np.testing.assert_allclose(ours / ours.amax((1, 2), keepdim=True).clamp(min=1e-7), theirs, atol=1e-3)
    capsys.readouterr()


def test_the_classic_map_adds_up_to_the_logit(look):
    raw = METHODS.resolve("cam")(look, CLASSES)
    head = look.explainer.model.get_classifier()
    with torch.no_grad():
        logits = look.explainer.model(look.x)[torch.arange(3), CLASSES] - head.bias[CLASSES]
    np.testing.assert_allclose(raw.mean((1, 2)), logits.numpy(), atol=1e-5)


@pytest.mark.parametrize(("arch", "size"), [("mobilenetv3_small", 128), ("timm/vit_tiny_patch16_224", 64)])
def test_other_families_give_all_but_what_they_lack(arch, size):
    if arch.startswith("timm"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    model = build_model(arch, num_classes=3).eval()
    torch.nn.init.normal_(model.get_classifier().weight, std=0.1)
    eye = Explainer(model, arch, (size, size))
    quick = [name for name in METHODS if name not in ("score-cam", "ablation-cam")]
    fit, reasons = available(quick, eye)
    assert set(quick) - set(fit) <= {"cam"}
    assert len(reasons) == len(quick) - len(fit)
    look = ExplainedBatch(eye, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)))
    for method in fit:
        heat = heat_maps(method, look, torch.tensor([0, 1]))
        assert np.isfinite(heat).all()
        assert heat.ndim == 3


def test_names_may_be_spelled_in_several_ways():
    assert named_methods("grad-camm++") == ["grad-cam++"]
    assert named_methods("Grad_CAM, layer-cam,grad-cam") == ["grad-cam", "layer-cam"]
    assert named_methods("all") == list(METHODS)
    with pytest.raises(UserError, match=r"no such method. Did you mean grad-cam"):
        named_methods("gradcam")


def test_half_of_the_shown_images_are_wrong_answers_the_worst_first():
    right = [True, False, True, False, True, False, True]
    losses = np.array([0, 1, 0, 3, 0, 2, 0])
    assert choose(right, losses, limit=4) == [3, 5, 0, 6]
    assert choose(right, losses, limit=100) == [3, 5, 1, 0, 2, 4, 6]
    assert choose([False] * 3, np.arange(3), limit=2) == [2, 1]


def test_of_several_labels_the_missed_one_is_explained_too():
    targets = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    probabilities = torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.2, 0.3]])
    prediction = predicted(targets, probabilities)
    first, second = judge(prediction, ("a", "b", "c"), (0.5, 0.5, 0.5))
    assert (first.right, first.truth, first.found, first.first, first.second) == (False, "a, b", "a", 0, 1)
    assert (second.right, second.truth, second.found, second.first, second.second) == (True, "nothing", "nothing", 2, None)


def test_overlays_for_a_page_come_one_an_image(run):
    given = {"arch": f"{NETS}:TinyNet"}
    trained = load_trained(run, given, "evaluation", torch.device("cpu"))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (10 + number, 20, 3), dtype=np.uint8) for number in range(40)]
    found = explain(trained, images, [0] * 40, "layer-cam")
    assert [each.shape for each in found] == [(224, 224, 3)] * 40
    assert found[0].dtype == np.uint8
    # A batch of another size adds up in another order, and colors are rounded twice.
    np.testing.assert_allclose(explain(trained, images[35:36], [0], "layer-cam")[0].astype(int), found[35], atol=4)


def test_the_folder_holds_right_and_wrong_apart(run, call: Call):
    done = call("--visual_data", "val", *of_run(run, "--limit", 6))
    assert done.code == 0, done.err
    folder = run / "visual-val"
    rows = read_rows(folder / "images.csv")
    assert len(rows) == 6
    for row in rows:
        with Image.open(folder / row["picture"]) as picture:
            assert picture.width > 400
        assert row["picture"].startswith("right/" if row["true"] == row["predicted"] else "wrong/")
        assert (row["explained too"] == "") == (row["true"] == row["predicted"])
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 6
    assert "figures of 6 images" not in done.out
    assert not (folder / "faithfulness.csv").exists()


def test_methods_that_the_images_do_not_tell_apart_are_rivals():
    rng = np.random.default_rng(0)
    base = rng.random(40)
    figures = MethodScores(["best", "near", "far"])
    for method, lead in (("best", 0.02 * rng.normal(size=40)), ("near", 0.02 * rng.normal(size=40)), ("far", -0.3)):
        figures.add(method, Faithfulness(np.zeros(20), (base + lead)[:20]))
        figures.add(method, Faithfulness(np.zeros(20), (base + lead)[20:]))
    assert figures.rivals("best") == ["near"]


def test_few_images_order_the_methods_by_chance():
    rows = [["grad-cam", "0.3"], ["random", "0.1"], ["cam", "0.0"]]
    assert trust_sentence(rows, images=20) == "Most faithful here: grad-cam. No better than noise: cam."
    near = trust_sentence(rows, images=20, rivals=["cam"])
    assert near == "Most faithful here: grad-cam; these images do not tell cam apart from it. No better than noise: cam."
    assert trust_sentence(rows, images=20, rivals=["random"]) == "No map is clearly more faithful than noise here: believe none."
    assert trust_sentence(rows, images=19).endswith("These are figures of 19 images, too few to rely on.")
    assert trust_sentence(rows[1:], images=2).endswith("believe none. These are figures of 2 images, too few to rely on.")


def test_an_image_of_any_size_is_shown_large():
    for size in ((16, 16), (100, 60), (128, 128)):
        assert max(heat_overlays.displayable(torch.zeros(3, *size, dtype=torch.uint8)).shape) == 224
    assert heat_overlays.displayable(torch.zeros(3, 300, 200, dtype=torch.uint8)).shape == (300, 200, 3)


def test_a_model_of_several_labels_is_explained_by_its_most_probable_one(labels, call: Call):
    done = call("--visual_data", "test", *of_run(labels, "--limit", 6))
    assert done.code == 0, done.err
    rows = read_rows(labels / "visual-test" / "images.csv")
    assert len(rows) == 6
    for row in rows:
        assert row["explained"] in ("blue", "cold", "green", "red", "warm")
        assert row["true"].count(", ") == 1
        missed = set(row["true"].split(", ")) - set(row["predicted"].split(", "))
        assert (row["explained too"] in missed) == (len(missed) > 0) or row["explained"] in missed


def test_all_methods_are_compared_by_how_far_they_can_be_believed(run, call: Call, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress_bar, "SILENCE", 0.0)
    done = call("--visual_method", "all", *of_run(run, "--limit", 4, "--split", "test"))
    assert done.code == 0, done.err
    total = 4 * len(METHODS)
    assert f"heat maps {total}/{total}" in done.out, "a pipe hears how far it has come"
    assert "figures of 4 images, too few to rely on" in done.out
    with (run / "visual-test" / "faithfulness.csv").open() as file:
        rows = list(csv.reader(file))
    assert {row[0] for row in rows[1:]} == set(METHODS)
    gains = [float(row[1]) for row in rows[1:]]
    assert gains == sorted(gains, reverse=True)
    figures = json.loads((run / "visual-test" / "faithfulness.json").read_text())
    assert figures[0]["method"] == rows[1][0]
    assert "believe" in done.out or "Most faithful here" in done.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--visual_method", "cam"], "--visual_data needs --resume"),
        (["--visual_method", "gradcam", "--resume", "@"], "no such method"),
        (["--evaluation", "--visual_method", "cam", "--resume", "@"], "--visual_data and does nothing for --evaluation"),
        (["--visual_data", "test", "--nproc", 2, "--resume", "@"], "--nproc belongs to training and does nothing"),
        (["--visual_data", "test", "--limit", 0, "--resume", "@"], "--limit must be above 0"),
    ],
)
def test_mistakes_are_told_in_one_line(run, call: Call, flags, message):
    before = sorted(run.rglob("*"))
    done = call(*(run if part == "@" else part for part in flags), "--arch", f"{NETS}:TinyNet")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert sorted(run.rglob("*")) == before


def test_a_method_that_the_network_lacks_is_refused(colors, call: Call, tmp_path):
    assert call(*tiny(colors, "--logdir", tmp_path, "--name", "flat", "--epochs", 1, net="NoNormNet")).code == 0
    run = tmp_path / "classify" / "flat"
    done = call("--visual_method", "cam", "--resume", run, "--arch", f"{NETS}:NoNormNet", "-j", 0)
    assert done.code == 2
    assert "does not read the mean of a map at 16 x 16 pixels; take grad-cam" in done.err
    assert not list(run.glob("visual*"))


def test_a_wrong_answer_is_explained_by_both_classes(colors: Path, call: Call, tmp_path: Path):
    data = Path(shutil.copytree(colors, tmp_path / "swapped"))
    test = data / "test"
    for name, other in (("red", "away"), ("green", "red"), ("away", "green")):
        (test / name).rename(test / other)
    done = call(*tiny(data, "--name", "wrong", "--epochs", 4))
    done = call("--visual_data", "test", "--visual_method", "grad-cam,cam", *of_run(done.run))
    assert done.code == 0, done.err
    folder = Path("runs/classify/wrong/visual-test")
    rows = read_rows(folder / "images.csv")
    wrong = [row for row in rows if row["true"] != row["predicted"]]
    assert wrong, "the network has learned that green is green"
    for row in rows:
        assert row["explained"] == row["predicted"]
        assert row["explained too"] == (row["true"] if row in wrong else "")
    heights = []
    for row in (wrong[0], next(row for row in rows if row not in wrong)):
        with Image.open(folder / row["picture"]) as picture:
            heights.append(picture.height)
    assert heights[0] > 1.5 * heights[1], "a line of maps for each of the two classes"


def test_a_map_without_color_says_that_nothing_speaks_for_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    captions: list[str] = []
    monkeypatch.setattr(gallery, "sheet", lambda _images, texts, **_layout: captions.extend(texts))
    image = np.zeros((8, 8, 3), np.uint8)
    maps = {"grad-cam": image, "random": image}
    case = ExplainedImage("test/b/1.png", False, "red", "blue", image, (("blue", 0.9), ("red", 0.1)), (maps, maps), ([], ["grad-cam"]))
    draw(case, ["grad-cam", "random"])
    assert [text for text in captions if "nothing speaks for" in text] == ["red\n10.0%, grad-cam\nnothing speaks for this class"]
    assert case.lines() == ["test/b/1.png", "nothing speaks for red (grad-cam): its map has no color"]
