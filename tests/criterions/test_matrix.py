"""Claims about matrix files: what is written is read, and every mistake names the flag, the file and the place."""

import numpy as np
import pytest

from criterions.matrix import read_cost, read_thresholds, read_weights, write_template
from utils.errors import UserError

CLASSES = ("cat", "dog, small", "owl")


def test_the_template_of_costs_changes_nothing(tmp_path):
    write_template(str(tmp_path / "costs.csv"), CLASSES, kind="cost")
    np.testing.assert_array_equal(read_cost(str(tmp_path / "costs.csv"), CLASSES), np.ones((3, 3)))


def test_the_template_of_thresholds_leaves_out_what_is_sure(tmp_path):
    write_template(str(tmp_path / "bounds.csv"), CLASSES, kind="threshold")
    lower, upper = read_thresholds(str(tmp_path / "bounds.csv"), CLASSES)
    np.testing.assert_array_equal(lower, np.where(np.eye(3), -0.1, 0.05))
    np.testing.assert_array_equal(upper, np.where(np.eye(3), 0.95, 1.1))


def test_the_template_of_weights_changes_nothing(tmp_path):
    write_template(str(tmp_path / "weights.csv"), CLASSES, kind="weights")
    np.testing.assert_array_equal(read_weights(str(tmp_path / "weights.csv"), CLASSES), np.ones(3))


def test_a_template_never_overwrites(tmp_path):
    (tmp_path / "costs.csv").write_text("mine")
    with pytest.raises(UserError, match=r"--write_matrix .*exists"):
        write_template(str(tmp_path / "costs.csv"), CLASSES, kind="cost")
    with pytest.raises(UserError, match="no folder"):
        write_template(str(tmp_path / "nowhere" / "costs.csv"), CLASSES, kind="cost")
    assert (tmp_path / "costs.csv").read_text() == "mine"


def test_rows_are_true_classes_and_marks_of_spreadsheets_are_read_over(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("\ufeffclass, a ,b\r\na,1,5\r\nb, 2 ,1\r\n\r\n,,\r\n", encoding="utf-8")
    np.testing.assert_array_equal(read_cost(str(file), ("a", "b")), [[1, 5], [2, 1]])


COSTS = [
    ("", "header must begin with 'class'"),
    ("a,b\n1,2\n", "header must begin with 'class'"),
    ("class,a\na,1\n", "name 1 classes, the data has 2; 'b' is missing"),
    ("class,a,b,c\na,1,1,1\nb,1,1,1\nc,1,1,1\n", "name 'c', which is not a class"),
    ("class,b,a\nb,1,1\na,1,1\n", "another order"),
    ("class,a,b\nb,1,1\na,1,1\n", "its rows name the classes in another order"),
    ("class,a,b\na,1,1\n", "its rows name 1 classes"),
    ("class,a,b\na,1,1\nb,1\n", "row b has 1 numbers, not 2"),
    ("class,a,b\na,1,-1\nb,1,1\n", "row a, column b: '-1' is not a number of at least 0"),
    ("class,a,b\na,1,1\nb,nan,1\n", "row b, column a: 'nan'"),
    ("class,a,b\na,1,1\nb,inf,1\n", "row b, column a: 'inf'"),
    ("class,a,b\na,1,\nb,1,1\n", "row a, column b: ''"),
    ('class,a,b\na,"1,1\n', "unexpected end"),
]


@pytest.mark.parametrize(("text", "said"), COSTS, ids=[said for _, said in COSTS])
def test_wrong_costs_are_named(text, said, tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_cost(str(file), ("a", "b"))
    assert str(caught.value).startswith(f"--cost_matrix {file}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


THRESHOLDS = [
    ("class,a\na,1\n", "header must begin with 'bound,class'"),
    ("bound,class,a\nlower,a,0\n", "rows that begin with 'lower'"),
    ("bound,class,a\nupper,a,0\nlower,a,1\n", "rows that begin with 'lower'"),
    ("bound,class,a\nlower,a,0.5\nupper,a,0.5\n", "row a, column a: the lower bound must be below"),
    ("bound,class,a\nlower,a,x\nupper,a,0.5\n", "'x' is not a number"),
    ("bound,class,a\nlower,b,0\nupper,a,0.5\n", "name 'b', which is not a class"),
]


@pytest.mark.parametrize(("text", "said"), THRESHOLDS, ids=[said for _, said in THRESHOLDS])
def test_wrong_thresholds_are_named(text, said, tmp_path):
    file = tmp_path / "bounds.csv"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_thresholds(str(file), ("a",))
    assert str(caught.value).startswith(f"--threshold_matrix {file}: ")
    assert said in str(caught.value)


WEIGHTS = [
    ("class,weight\na,1\n", "'b' is missing"),
    ("class,weight\na,0\nb,0\n", "every weight is 0"),
    ("class,weight\na,1\nb,-1\n", "'-1'"),
]


@pytest.mark.parametrize(("text", "said"), WEIGHTS)
def test_wrong_weights_are_named(text, said, tmp_path):
    file = tmp_path / "weights.csv"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_weights(str(file), ("a", "b"))
    assert str(caught.value).startswith(f"--class_weights {file}: ")
    assert said in str(caught.value)


def test_a_file_that_is_missing_or_no_text_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"no such file.*--write_matrix"):
        read_cost(str(tmp_path / "costs.csv"), CLASSES)
    (tmp_path / "costs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_cost(str(tmp_path / "costs.csv"), CLASSES)
