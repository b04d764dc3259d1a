"""Comparisons say what differs, how sure that is, and nothing where nothing is sure."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from applications.comparison.compare import write_comparison
from applications.comparison.label_answers import ModelAnswers, aligned
from applications.comparison.paired_labels import class_rows, compare, counted_metrics, named_apart, recalls, sentence
from tests.applications.conftest import NETS, Call, read_rows, tiny, write_colors
from tests.applications.tasks.test_multilabel_runs import BCE, write_squares
from utils.errors import UserError

ARCH = ("--arch", f"{NETS}:TinyNet")
CLASSES = ("a", "b", "c")


def answers(name: str, right: np.ndarray, *, multi_label: bool = False, seed: int = 0) -> ModelAnswers:
    """Return answers that are right where `right` (N,) says so."""
    rng = np.random.default_rng(seed)
    labels = np.arange(len(right)) % 3
    found = np.where(right, labels, (labels + 1) % 3)
    truth, named = (each[:, None] == np.arange(3) for each in (labels, found))
    shares = 0.1 + 0.5 * named + 0.1 * rng.random((len(right), 3))
    files = tuple(f"/data/test/{number:04d}.png" for number in range(len(right)))
    return ModelAnswers(name, f"/runs/{name}", multi_label, CLASSES, "/data", files, truth, named, shares / shares.sum(1, keepdims=True))


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_clear_gain_is_called_better_and_a_small_one_is_not(multi_label: bool) -> None:
    rng = np.random.default_rng(1)
    base = rng.random(400) < 0.8
    much, little = base.copy(), base.copy()
    much[np.flatnonzero(~base)[:40]] = True
    little[np.flatnonzero(~base)[:3]] = True
    models = [answers(name, right, multi_label=multi_label) for name, right in (("base", base), ("much", much), ("little", little))]
    better, same = compare(models, seed=0)
    assert (better.verdict(), same.verdict()) == ("better", "no significant difference")
    assert (len(better.gained), len(better.lost)) == (40, 0)
    headline = "all labels right" if multi_label else "top1"
    change = better.differences[headline]
    assert change.value == pytest.approx(0.1)
    assert 0 < change.low < 0.1 < change.high
    (worse,) = compare([models[1], models[0]], seed=0)
    assert worse.verdict() == "worse"
    # Holm: the smallest of two p-values counts twice.
    (alone,) = compare(models[:2], seed=0)
    assert better.p == pytest.approx(2 * alone.p)


def test_groups_that_flip_together_are_no_proof_and_the_sentence_says_that_groups_are_counted() -> None:
    groups = tuple(f"cup{number // 10}" for number in range(200))
    base, other = np.ones(200, dtype=bool), np.ones(200, dtype=bool)
    base[:30], other[30:40] = False, False
    images = [answers("base", base), answers("other", other)]
    (plain,) = compare(images, seed=0)
    assert plain.verdict() == "better"
    assert "group" not in sentence(images[0], plain, "top1")
    # One of the two may come from an evaluation that knows no groups.
    grouped = [images[0], replace(images[1], groups=groups)]
    (pair,) = compare(grouped, seed=0)
    assert (pair.verdict(), pair.groups) == ("no significant difference", 20)
    assert pair.p == pytest.approx(10 / 16)
    narrow, wide = (each.differences["top1"].high - each.differences["top1"].low for each in (plain, pair))
    assert wide > 2 * narrow
    assert sentence(images[0], pair, "top1").startswith("no significant difference between base and other: top1 +10.00 points (")
    assert ", over 20 groups" in sentence(images[0], pair, "top1")
    alone = [replace(each, groups=("",) * 200) for each in images]
    assert compare(alone, seed=0)[0].differences == plain.differences, "groups of one image change nothing"


def test_equal_answers_do_not_prove_equal_models() -> None:
    right = np.arange(40) % 4 > 0
    (pair,) = compare([answers("one", right), answers("two", right)], seed=0)
    change = pair.differences["top1"]
    assert change.value == 0
    assert -0.1 < change.low < -0.05
    assert change.high == -change.low
    assert pair.verdict() == "no significant difference"


def test_a_class_without_images_has_no_recall(tmp_path: Path) -> None:
    base = answers("one", np.ones(9, dtype=bool))
    kept = np.flatnonzero(~base.truth[:, 2])
    models = [
        replace(
            each,
            files=tuple(each.files[row] for row in kept),
            truth=each.truth[kept],
            named=each.named[kept],
            probabilities=each.probabilities[kept],
        )
        for each in (base, answers("two", np.ones(9, dtype=bool)))
    ]
    pairs = compare(models, seed=0)
    assert class_rows(models[0], pairs)[3] == ["two", "c", "0", "", "", "", "0", "0"]
    write_comparison(models, pairs, tmp_path, seed=0)
    assert "nan" not in re.sub(r'"data:[^"]*"', "", (tmp_path / "compare.html").read_text())


def test_an_interval_that_contradicts_the_verdict_is_explained() -> None:
    base = np.zeros(400, dtype=bool)
    base[:300] = True
    other = base.copy()
    other[300:306] = True
    models = [answers("base", base), *(answers(name, other) for name in ("one", "two"))]
    first, _ = compare(models, seed=0)
    assert first.differences["top1"].low > 0
    assert first.verdict() == "no significant difference", "six of six are p = 0.03 alone, and twice that among two"
    assert first.odds("top1") == "; the interval alone excludes 0, but the exact test, adjusted for 2 comparisons, is stricter and decides"
    (alone,) = compare(models[:2], seed=0)
    assert (alone.verdict(), alone.odds("top1")) == ("better", "")
    turned = replace(alone, differences={"top1": replace(alone.differences["top1"], low=-0.1)})
    assert turned.odds("top1") == "; the interval includes 0, but the exact test decides"
    unflipped = replace(first, differences={"mAP": first.differences["top1"]})
    assert "excludes 0, but the test, which decides, counts the 6 images that only one" in unflipped.odds("mAP")
    none = replace(first, differences={"top1": replace(first.differences["top1"], low=0.0)})
    assert none.odds("top1") == "", "an interval that touches 0 includes it"


def test_significance_begins_below_five_percent() -> None:
    (pair,) = compare([answers("base", np.zeros(9, bool)), answers("other", np.ones(9, bool))], seed=0)
    assert [replace(pair, p=p).verdict() for p in (0.05, 0.0499)] == ["no significant difference", "better"]


def test_the_loss_of_a_comparison_has_a_name_of_its_own() -> None:
    model = answers("one", np.random.default_rng(4).random(60) < 0.7)
    found = counted_metrics(model)(np.ones(60, int))
    assert "loss" not in found
    assert found["calibrated loss"] == pytest.approx(-np.log(model.probabilities[model.truth]).mean())


def test_recall_and_flips_are_told_class_by_class() -> None:
    first, second = answers("one", np.arange(9) < 6), answers("two", np.arange(9) >= 3)
    assert recalls(first).tolist() == pytest.approx([2 / 3] * 3)
    (pair,) = compare([first, second], seed=0)
    assert (pair.gained.tolist(), pair.lost.tolist()) == ([6, 7, 8], [0, 1, 2])
    rows = class_rows(first, [pair])[1:]
    assert rows[0] == ["two", "a", "3", "0.6667", "0.6667", "+0.00", "1", "1"]
    without = replace(first, truth=first.truth & (np.arange(3) > 0))
    assert np.isnan(recalls(without)[0])


def test_tables_and_page_say_the_same_of_gains_and_losses(colors: Path, tmp_path: Path) -> None:
    files = tuple(sorted(map(str, colors.glob("test/*/*.png"))))
    number = np.arange(15)
    first, second = (replace(answers(name, right), files=files, root=str(colors)) for name, right in (("a", number < 5), ("b", number > 3)))
    # The fifth image is right in both; the others flip, the later ones of b with more certainty.
    sure = np.where(second.named, 0.5 + number[:, None] / 100, 0.25 - number[:, None] / 200)
    second = replace(second, probabilities=sure)
    pairs = compare([first, second], seed=0)
    write_comparison([first, second], pairs, tmp_path, seed=0)
    row = read_rows(tmp_path / "compare.csv")[1]
    change = pairs[0].differences["top1"]
    shown = [row[name] for name in ("top1", "difference", "from", "to", "only it is right", "only the first is right", "verdict")]
    limits = [f"{100 * value:+.2f}" for value in (change.low, change.high)]
    assert shown == ["73.33%", "+40.00", *limits, "10", "4", pairs[0].verdict()]
    flips = read_rows(tmp_path / "flips.csv")
    assert [row["right"] for row in flips] == ["b"] * 10 + ["a"] * 4
    assert all(row["true"] == row["first says"] for row in flips[10:])
    for row in read_rows(tmp_path / "classes.csv"):
        assert float(row["points"]) == pytest.approx(100 * (float(row["recall"]) - float(row["recall of the first"])), abs=0.01)
    page = (tmp_path / "compare.html").read_text().replace("<wbr>", "")
    galleries = list(filter(None, (re.findall(r"<br>(test/[^<]*)<", part) for part in page.split("is right")[1:])))
    assert galleries[0] == [path.removeprefix(f"{colors}/") for path in files[:4:-1]], "the surest first"
    assert len(galleries[1]) == 4
    line = re.search(r"<td>calibrated loss</td>(.*?)</tr>", page)
    assert line is not None
    mine, theirs, *_, better = re.findall(r"<td[^>]*>([^<]*)</td>", line[1])
    assert (mine, theirs, better) == (f"{first.losses().mean():.4f}", f"{second.losses().mean():.4f}", "lower is better")
    assert re.findall(r'<tr class="(\w*)"><td>(\w)</td><td class="number">5', page) == [("good", name) for name in CLASSES]


def test_a_verdict_has_its_color(tmp_path: Path) -> None:
    base, much = answers("base", np.zeros(30, bool)), answers("much", np.ones(30, bool))
    for models, said in (((base, much), ("good", "much is better")), ((much, base), ("bad", "base is worse"))):
        write_comparison(models, compare(models, seed=0), tmp_path, seed=0)
        page = (tmp_path / "compare.html").read_text()
        assert f'<p class="{said[0]}">{said[1]} than' in page
        assert f'<tr class="{said[0]}"><td>{models[1].name}' in page


def test_a_paired_interval_is_narrower_than_two_that_know_nothing_of_each_other() -> None:
    right = np.random.default_rng(2).random(300) < 0.7
    other = right.copy()
    other[:6] = ~other[:6]
    (pair,) = compare([answers("one", right), answers("two", other)], seed=0)
    change = pair.differences["top1"]
    alone = 2 * 1.96 * np.sqrt(2 * 0.7 * 0.3 / 300)
    assert change.high - change.low < alone / 3


def test_figures_do_not_depend_on_the_order_of_images_and_classes() -> None:
    model = answers("one", np.random.default_rng(3).random(60) < 0.7)
    turned = replace(
        model, classes=("c", "a", "b"), **{key: getattr(model, key)[:, [2, 0, 1]] for key in ("truth", "named", "probabilities")}
    )
    assert counted_metrics(aligned(model, turned))(np.ones(60, int)) == counted_metrics(model)(np.ones(60, int))


def test_what_cannot_be_compared_is_refused() -> None:
    model = answers("one", np.ones(9, dtype=bool))
    for other, said in (
        (replace(model, multi_label=True), "several labels"),
        (replace(model, classes=("a", "b", "d")), "c, d in only one of them"),
        (replace(model, files=(*model.files[:-1], "/data/test/new.png")), "2 are in only one of them, such as test/0008.png"),
        (replace(model, truth=np.roll(model.truth, 1, axis=1)), "different labels for 9 images"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            aligned(model, other)
        assert "\n" not in str(caught.value)


def test_data_that_was_moved_is_the_same_data() -> None:
    model = answers("one", np.ones(9, dtype=bool))
    moved = replace(model, root="/new", files=tuple(file.replace("/data", "/new") for file in model.files))
    assert aligned(model, moved).files == moved.files
    with pytest.raises(UserError, match="different images"):
        aligned(model, replace(model, files=tuple(file.replace("test", "val") for file in model.files)))
    assert [model.name for model in named_apart([answers("one", np.ones(3, bool))] * 2)] == ["/runs/one (1)", "/runs/one (2)"]


def test_runs_and_evaluations_are_compared_on_a_page(call: Call, colors: Path) -> None:
    data = colors
    first = call(*tiny(data, "--name", "first", "--epochs", 1, "--lr", 1e-5)).run
    second = call(*tiny(data, "--name", "second", "--epochs", 6)).run
    call("--evaluation", "--resume", second, *ARCH, "--no_report")
    outcome = call("--compare", first, second / "evaluation-test", *ARCH)
    assert outcome.code == 0, outcome.err
    folder = Path("runs/compare/comparison")
    content = json.loads((folder / "compare.json").read_text())
    pair = content["comparisons"]["second/evaluation-test"]
    assert pair["verdict"] == "better"
    assert "is better than first" in outcome.out
    page = (folder / "compare.html").read_text()
    assert page.count("data:image/jpeg") == pair["right_alone"] + pair["first_right_alone"] > 0
    flips = read_rows(folder / "flips.csv")
    assert len(flips) == pair["right_alone"] + pair["first_right_alone"]
    assert all(row["true"] == row["model says"] for row in flips if row["right"] == "second/evaluation-test")
    gained = sum(int(row["gained"]) for row in read_rows(folder / "classes.csv"))
    assert gained == pair["right_alone"]
    fresh = content["models"]["first"]["figures"]
    call("--evaluation", "--resume", first, *ARCH, "--no_report")
    assert fresh["top1"] == pytest.approx(json.loads((first / "evaluation-test" / "metrics.json").read_text())["top1"])
    outcome = call("--compare", first / "evaluation-test", second / "evaluation-test")
    assert (outcome.code, (folder.parent / "comparison-2").is_dir()) == (0, True)


def test_models_of_several_labels_are_compared(call: Call, tmp_path: Path) -> None:
    squares = write_squares(tmp_path / "squares", 60)
    run = call(*tiny(squares, *BCE)).run
    call("--evaluation", "--resume", run, *ARCH, "--no_report")
    outcome = call("--compare", run, run / "evaluation-test", *ARCH)
    assert outcome.code == 0, outcome.err
    assert "no significant difference" in outcome.out
    assert "mAP +0.00 points" in outcome.out


def test_a_model_on_other_images_is_listed_without_a_conclusion(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 3)).run
    call("--evaluation", "--resume", run, *ARCH, "--no_report")
    call("--evaluation", "--resume", run, *ARCH, "--no_report", "--split", "val")
    (name,) = (f"{run.name}/evaluation-val",)
    outcome = call("--compare", run / "evaluation-test", run, run / "evaluation-val", *ARCH)
    assert outcome.code == 0, outcome.err
    assert "no conclusion: " in outcome.out
    assert "were measured on different images" in outcome.out
    folder = Path("runs/compare/comparison")
    content = json.loads((folder / "compare.json").read_text())
    assert list(content["comparisons"]) == [run.name]
    assert content["no_conclusion"][name]["images"] == 15
    row = read_rows(folder / "compare.csv")[-1]
    assert (row["model"], row["verdict"], row["difference"]) == (name, "no conclusion", "")
    assert row["top1"] == f"{content['no_conclusion'][name]['figures']['top1']:.2%}"
    assert "No conclusion: " in (folder / "compare.html").read_text()
    outcome = call("--compare", run / "evaluation-test", run / "evaluation-val", "--name", "none")
    assert outcome.code == 0, outcome.err
    assert json.loads((folder.parent / "none/compare.json").read_text())["comparisons"] == {}


def test_mistakes_leave_nothing_behind(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    call("--evaluation", "--resume", run, *ARCH, "--no_report")
    call("--evaluation", "--resume", run, *ARCH, "--no_report", "--split", "val")
    folder = run / "evaluation-test"
    for subjects, said in (
        ((run,), "at least two"),
        ((run, "nowhere", *ARCH), "--compare: there is no run folder or checkpoint nowhere"),
    ):
        outcome = call("--compare", *subjects)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert said in outcome.err
    (folder / "metrics.json").write_text("{}")
    assert "evaluate that run again" in call("--compare", folder, folder).err
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["path"])
    assert call("--compare", folder, folder).code == 2
    assert not Path("runs/compare").exists()


def test_images_that_are_gone_are_told(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 6, "val": 3, "test": 4})
    places = []
    for name, rate in (("one", 1e-6), ("two", 0.03)):
        run = call(*tiny(data, "--name", name, "--lr", rate, "--epochs", 4)).run
        call("--evaluation", "--resume", run, *ARCH, "--no_report")
        places.append(run / "evaluation-test")
    for file in data.rglob("test/*/*.png"):
        file.unlink()
    outcome = call("--compare", *places)
    assert outcome.code == 0, outcome.err
    assert "no longer there" in Path("runs/compare/comparison/compare.html").read_text()


def test_models_of_other_classes_are_refused_before_anything_is_predicted(
    call: Call, colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    data = write_colors(tmp_path / "others", {"train": 2, "val": 2, "test": 2})
    for split in ("train", "val", "test"):
        (data / split / "red").rename(data / split / "pink")
    other = call(*tiny(data, "--epochs", 1)).run
    monkeypatch.setattr("applications.comparison.label_answers.predict_split", lambda *_: pytest.fail("it predicts first"))
    outcome = call("--compare", run, other, *ARCH)
    assert outcome.code == 2
    assert "have different classes (pink, red in only one of them)" in outcome.err
