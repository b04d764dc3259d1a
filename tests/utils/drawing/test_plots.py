"""Pictures are written whole, at a size that fits what they show."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.drawing.plots import draw_bars, draw_confusion, draw_curve, draw_points


@pytest.mark.parametrize("count", [1, 2, 35, 120])
def test_any_number_of_classes_is_drawn(tmp_path: Path, count: int) -> None:
    names = [f"a class with quite a long name {number}" for number in range(count)]
    draw_confusion(np.eye(count, dtype=int) * 3, names, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 5, "something is drawn"
    assert [file.name for file in tmp_path.iterdir()] == ["matrix.png"]


@pytest.mark.parametrize("count", [1, 30, 300])
def test_any_number_of_bars_is_drawn_and_a_missing_value_is_no_problem(tmp_path: Path, count: int) -> None:
    values = [*np.linspace(0, 1, count - 1), float("nan")]
    draw_bars(values, [f"a label with quite a long name {number}" for number in range(count)], tmp_path / "bars.png", axis="x", title="t")
    with Image.open(tmp_path / "bars.png") as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("RGB")).std() > 5
    assert [file.name for file in tmp_path.iterdir()] == ["bars.png"]


def test_a_class_without_images_is_no_problem(tmp_path: Path) -> None:
    draw_confusion(np.array([[2, 0], [0, 0]]), ["a", "b"], tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").is_file()


def test_named_points_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    draw_points([(1.0, 90.0, "small"), (1000.0, 95.0, "x" * 60)], tmp_path / "a.png", title="t", xlabel="x", ylabel="y", log_x=True)
    draw_points([], tmp_path / "none.png", title="t", xlabel="x", ylabel="y")
    for name in ("a.png", "none.png"):
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 5


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the list to which every figure that is drawn is added."""
    found: list[Figure] = []
    monkeypatch.setattr("utils.drawing.plots.write_atomically", lambda _, write: write(tmp_path / "a.png"))
    savefig = Figure.savefig

    def kept(figure: Figure, *args: object, **kwargs: object) -> None:
        found.append(figure)
        savefig(figure, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Figure, "savefig", kept)
    return found


def test_points_that_hardly_differ_lie_side_by_side(tmp_path: Path, figures: list[Figure]) -> None:
    points, words = [(1.0, 90.0, "a"), (2.0, 90.1, "b")], {"title": "t", "xlabel": "x", "ylabel": "y"}
    for least in (0.0, 2.0):
        draw_points(points, tmp_path / "a.png", **words, log_x=True, least_height=least)
    shown = [0.1 / (top - bottom) for bottom, top in (figure.axes[0].get_ylim() for figure in figures)]
    assert shown[1] < 0.2 * shown[0]


def test_no_place_is_shown_that_a_figure_cannot_reach(tmp_path: Path, figures: list[Figure]) -> None:
    words = {"title": "t", "xlabel": "x", "ylabel": "y", "least_height": 2.0, "limits": (0.0, 100.0)}
    for value in (100.0, 0.0):
        draw_points([(1.0, value, "a"), (2.0, value, "b")], tmp_path / "a.png", **words)
    assert figures[0].axes[0].get_ylim()[1] == 100
    assert figures[1].axes[0].get_ylim()[0] == 0


def test_points_upon_one_another_are_named_apart(tmp_path: Path, figures: list[Figure]) -> None:
    draw_points([(2.0, 90.0, "second"), (2.0, 90.0, "third"), (1.0, 90.0, "first")], tmp_path / "a.png", title="t", xlabel="x", ylabel="y")
    legend = figures[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second", "third"]
    shapes = [collection.get_paths()[0].vertices.shape for collection in figures[0].axes[0].collections]
    assert shapes[1] != shapes[2]


@pytest.mark.parametrize(("low", "high"), [(1e-7, 1e-1), (0.4, 0.9), (0.3, 20.0)])
def test_a_logarithmic_axis_has_plain_numbers(tmp_path: Path, figures: list[Figure], low: float, high: float) -> None:
    options = {"title": "t", "xlabel": "x", "ylabel": "y", "log_x": True, "log_y": True}
    draw_curve([low, high], {"": [low, high]}, tmp_path / "a.png", **options)
    axes = figures[0].axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        start, end = axis.get_view_interval()
        places = [(tick.get_loc(), tick.label1.get_text()) for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]]
        shown = [text for place, text in places if start <= place <= end and text]
        assert 2 <= len(shown) <= 9
        assert all(float(text) > 0 for text in shown)
