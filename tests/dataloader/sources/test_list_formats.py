"""The same images and labels, in every way that they may be written down."""

import pytest

from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.list_formats import LIST_FORMATS
from dataloader.sources.lists import find_lists, read_lists
from utils.errors import UserError

ONE_LABEL = {
    "header.csv": "image,label\na.png,cat\nb c.png,dog\n",
    "bare.csv": "a.png,cat\nb c.png,dog\n",
    "mark.csv": "\ufeffa.png,cat\r\nb c.png,dog\r\n",
    "colon.txt": "a.png:cat\nb c.png:dog\n",
    "spaces.txt": "a.png : cat\n\nb c.png: dog",
    "space.txt": "a.png cat\nb c.png dog\n",
    "comma.txt": "a.png,cat\nb c.png,dog\n",
    "header.txt": "image,class\na.png,cat\nb c.png,dog\n",
    "tab.txt": "a.png\tcat\nb c.png\tdog\n",
    "dos.txt": "\ufeffa.png:cat\r\nb c.png:dog\r\n",
    "array.json": '[{"image": "a.png", "label": "cat"},\n {"image": "b c.png", "class": "dog"}]',
    "object.json": '\ufeff{"a.png": "cat",\r\n"b c.png": "dog"}',
    "lines.jsonl": '{"image": "a.png", "label": "cat"}\n{"image": "b c.png", "label": "dog"}\n',
}
SEVERAL = {
    "header.csv": "image,labels\na.png,x;y\nb c.png,\n",
    "bare.csv": "a.png,x; y\nb c.png,\n",
    "comma.txt": "a.png,x;y\nb c.png,\n",
    "colon.txt": "a.png:x;y\nb c.png:\n",
    "array.json": '[{"image": "a.png", "labels": ["y", "x"]}, {"image": "b c.png", "labels": []}]',
    "object.json": '{"a.png": ["x", "y", "x"], "b c.png": []}',
}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b c.png"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder, name, text):
    (folder / name).write_bytes(text.encode())
    return read_lists(find_lists(folder / name))


def rows(listing):
    return [(image.path, image.labels, image.split) for image in listing.images]


@pytest.mark.parametrize("name", ONE_LABEL)
def test_one_label_an_image_is_read_from_every_form(folder, name):
    listing = read(folder, name, ONE_LABEL[name])
    assert rows(listing) == [("a.png", ("cat",), None), ("b c.png", ("dog",), None)]
    assert not listing.multi_label


@pytest.mark.parametrize("name", SEVERAL)
def test_several_labels_an_image_are_read_from_every_form(folder, name):
    listing = read(folder, name, SEVERAL[name])
    assert rows(listing) == [("a.png", ("x", "y"), None), ("b c.png", (), None)]
    assert listing.multi_label


@pytest.mark.parametrize("suffix", LIST_FORMATS)
def test_every_format_is_found_as_the_list_of_a_split(folder, suffix):
    name = next(name for name in ONE_LABEL if name.endswith(suffix))
    (folder / f"train{suffix}").write_text(ONE_LABEL[name])
    assert find_lists(folder) == {"train": folder / f"train{suffix}"}
    assert [split for _, _, split in rows(read_lists(find_lists(folder)))] == ["train", "train"]


@pytest.mark.parametrize("suffix", LIST_FORMATS)
def test_a_foreign_file_beside_class_folders_is_no_list(folder, suffix):
    for name in ("x", "y"):
        (folder / name).mkdir()
    (folder / f"train{suffix}").write_text('"hello"\n')
    assert find_lists(folder) == {}


def test_the_split_may_stand_in_a_third_column_or_a_key(folder):
    assert [row[2] for row in rows(read(folder, "list.csv", "a.png,x,train\nb c.png,y,valid\n"))] == ["train", "val"]
    text = '[{"image": "a.png", "label": "x", "split": "test"}, {"image": "b c.png", "label": "y", "split": "train"}]'
    assert [row[2] for row in rows(read(folder, "list.json", text))] == ["test", "train"]


def test_numbers_get_the_names_beside_the_list(folder):
    (folder / "labels.txt").write_text("dog:1\r\n\nbig cat:0\n")
    assert [row[1] for row in rows(read(folder, "list.txt", "a.png:0\nb c.png:1\n"))] == [("big cat",), ("dog",)]
    (folder / "labels.txt").unlink()
    assert [row[1] for row in rows(read(folder, "list.txt", "a.png:0\nb c.png:1\n"))] == [("0",), ("1",)]
    (folder / "categories.csv").write_text('id,label\n0,"cat, big"\n1,dog\n')
    assert [row[1] for row in rows(read(folder, "list.json", '{"a.png": 0, "b c.png": 1}'))] == [("cat, big",), ("dog",)]
    assert [row[1] for row in rows(read(folder, "list.txt", "a.png:0\nb c.png:fox\n"))] == [("0",), ("fox",)]


BAD_NAMES = {
    "2 is missing": ("cat:0\ndog:1\n", r"list\.txt, line 2: b c\.png has the class 2, which .*labels\.txt does not name"),
    "no number": ("cat:0\ndog\n", r"labels\.txt, line 2: 'dog' is not name:id"),
    "name twice": ("cat:0\ncat:2\n", r"labels\.txt, line 2: 'cat' occurs twice"),
    "number twice": ("cat:2\ndog:2\n", r"labels\.txt, line 2: '2' occurs twice"),
}


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_a_table_of_names_that_does_not_fit_is_one_line(folder, kind):
    text, message = BAD_NAMES[kind]
    (folder / "labels.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read(folder, "list.txt", "a.png:0\nb c.png:2\n")


BAD = {
    "list.txt": {
        "": r"line 1: '' names no image and label; write one line per image: path:label",
        "hello world\n": r"line 1: 'hello world' names no image",
        "a.png:x\nb c.png\n": r"line 2: there is no ':' between path and label",
        "a.png:x\n\ngone.png:x\n": r"line 3: there is no image gone\.png in ",
        "a.png:x\nb c.png:\n": r"line 2: b c\.png has no label",
        "a.png:x\na.png:y\n": r"line 2: a\.png is listed twice with other labels, first in .*, line 1",
        "a.png,x,dev\n": r"line 1: the split is 'dev'",
        "a.png,x\nb c.png\n": r"line 2: 1 cell where the first line has 2",
    },
    "list.json": {
        "": r"line 1: not valid JSON",
        '[{"image": "a.png",\n "label": }]': r"line 2: not valid JSON",
        '["a.png"]': r"line 1: 'a\.png' is not an object; write \[\{",
        '[{"image": "a.png", "label": "x"},\n{"image": "b c.png"}]': r"line 2: an entry has one 'image' and one 'label'",
        '[{"image": "a.png", "lable": "x"}]': r"line 1: unknown key 'lable'\. Did you mean label\?",
        '{"a.png": "x",\n\n "b c.png": null}': r"line 3: the label of b c\.png is null",
        '{"a.png": {"x": 1}}': r"line 1: the label of a\.png is ",
        '{"a.png": "x",\n "gone.png": "y"}': r"line 2: there is no image gone\.png",
        '{"a.png": "x",\n "a.png": "y"}': r"line 2: a\.png is listed twice",
        "[]": r"list\.json lists no images; write \[",
    },
    "list.jsonl": {
        '{"image": "a.png", "label": "x"}\n{"image": "b c.png" "label": "y"}\n': r"line 2: not valid JSON",
    },
    "val.json": {'{"image": "a.png", "label": "x", "split": "val"}': r"line 1: the file's name already says that these are val"},
    "val.csv": {"a.png,x,val\n": r"line 1: the file's name already says that these are val images; leave the third column out"},
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_bad_list_is_one_line_that_names_the_file_and_the_line(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=BAD[name][text]) as caught:
        read_lists(find_lists(folder)) if name.startswith("val") else read(folder, name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_training_or_the_model_does_not_know_is_named_with_its_line(folder):
    (folder / "list.csv").write_text("image,label,split\na.png,cat,train\nb c.png,cats,val\n")
    with pytest.raises(UserError, match=r"list\.csv, line 3: val holds the class cats, which train has not\. Did you mean cat\?"):
        open_catalog(str(folder / "list.csv"))
    (folder / "list.csv").write_text("image,label\na.png,cat\nb c.png,dog\n")
    with pytest.raises(UserError, match=r"list\.csv, line 2: test holds the class cat, which the model does not know"):
        open_catalog(str(folder / "list.csv"), classes=("cats", "dog"), whole="test")
