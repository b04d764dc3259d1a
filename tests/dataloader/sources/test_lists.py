import pytest

from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.lists import find_lists, join_labels, read_lists
from utils.errors import UserError


@pytest.fixture
def lists(tmp_path):
    """Write files and touch images; return the folder."""

    def write(images=("a.png", "b.png", "c.png"), **files):
        for name in images:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def read(folder, name="list"):
    return read_lists(find_lists(folder / f"{name}.csv"))


def rows(listing):
    return [(image.path, image.labels, image.split) for image in listing.images]


def test_labels_are_sorted_and_an_empty_cell_means_none(lists):
    listing = read(lists(list="image,labels\na.png,sea; boat ;sea\nb.png,\nc.png,sea\n"))
    assert listing.multi_label
    assert rows(listing) == [("a.png", ("boat", "sea"), None), ("b.png", (), None), ("c.png", ("sea",), None)]
    assert join_labels(listing.images[0].labels) == "boat;sea"


def test_a_list_may_name_the_splits_in_any_of_their_spellings(lists):
    listing = read(lists(list="split,Labels,Image\ntrain,x,a.png\nValid,x;y,b.png\ntest,,c.png\n"))
    assert rows(listing) == [("a.png", ("x",), "train"), ("b.png", ("x", "y"), "val"), ("c.png", (), "test")]


@pytest.mark.parametrize("header", ["image,label", "image,class"])
def test_one_label_in_every_row_below_label_or_class_is_single_label(lists, header):
    assert not read(lists(list=f"{header}\na.png,x\nb.png,y\n")).multi_label


@pytest.mark.parametrize("text", ["image,labels\na.png,x\n", "image,label\na.png,x;y\nb.png,x\n", "image,class\na.png,x;\n"])
def test_the_word_labels_or_a_semicolon_means_several(lists, text):
    assert read(lists(list=text)).multi_label


def test_byte_order_mark_crlf_quotes_spaces_and_unicode_are_read(lists):
    text = '\ufeffimage,labels\r\n"größe, 1/ä b.png" , "a ""b"", c; 猫"\r\n\r\n ./a.png,\u2028x\r\n'
    folder = lists(images=("größe, 1/ä b.png", "a.png"), list=text.replace('" , "', '","').encode())
    assert rows(read(folder)) == [("größe, 1/ä b.png", ('a "b", c', "猫"), None), ("a.png", ("x",), None)]


def test_paths_may_be_absolute_or_lead_out_of_the_folder(lists, tmp_path):
    folder = lists(images=("a.png", "lists/x.png"))
    (folder / "lists" / "list.csv").write_text(f"image,label\n../a.png,x\n{folder}/lists/x.png,y\n")
    assert [path for path, *_ in rows(read(folder / "lists"))] == ["../a.png", f"{tmp_path}/lists/x.png"]


def test_a_list_for_every_split_is_found_in_a_folder(lists):
    folder = lists(train="image,label\na.png,x\n", validation="image,label\nb.png,x;y\n", notes="hello")
    files = find_lists(folder)
    assert {split: path.name for split, path in files.items()} == {"train": "train.csv", "val": "validation.csv"}
    listing = read_lists(files)
    assert listing.multi_label, "one list that gives several labels speaks for all"
    assert rows(listing) == [("a.png", ("x",), "train"), ("b.png", ("x", "y"), "val")]


def test_a_foreign_table_beside_class_folders_is_no_list(lists):
    images = ("train/x/1.png", "train/y/2.png")
    assert find_lists(lists(images=images, train="id,name\n1,x\n")) == {}
    assert find_lists(lists(images=images, train=b"\xff\xfe")) == {}
    assert list(find_lists(lists(images=images, train="image,labels\ntrain/x/1.png,x\n"))) == ["train"]
    assert find_lists(lists().parent) == {}


BAD = {
    "empty file": ("", r"line 1: there is no header; the first line is image,label"),
    "empty header": (",\na.png,x\n", r"line 1: there is no header"),
    "blank header": ("\na.png,x\n", r"line 1: there is no header"),
    "unknown column": ("image,lables\na.png,x\n", r"line 1: unknown column 'lables'\. Did you mean labels\?"),
    "semicolons between columns": ("image;labels\na.png;x\n", r"line 1: ';' stands between labels, and a comma between columns"),
    "no labels": ("image,split\na.png,train\n", r"line 1: a list has one column 'image' and one 'labels'"),
    "no images": ("labels,split\nx,train\n", r"line 1: a list has one column 'image'"),
    "two kinds of labels": ("image,label,class\na.png,x,y\n", r"line 1: a list has one column"),
    "column twice": ("image,labels,labels\na.png,x,y\n", r"line 1: a column occurs twice"),
    "only a header": ("image,labels\n\n", r"list\.csv lists no images"),
    "too many cells": ("image,labels\na.png,x\nb.png,x,y\n", r"line 3: 3 cells where the first line has 2; put quotes"),
    "too few cells": ("image,labels\na.png\n", r"line 2: 1 cell\b"),
    "no image": ("image,labels\n ,x\n", r"line 2: there is no image;?"),
    "missing image": ("image,labels\na.png,x\n\ngone.png,x\n", r"line 4: there is no image gone\.png in "),
    "backslashes": ("image,labels\nx\\a.png,x\n", r"line 2: there is no image x\\a\.png in .*; write / between folders"),
    "a folder": ("image,labels\n.,x\n", r"line 2: there is no image \."),
    "image twice": ("image,labels\na.png,x\nb.png,x\n./a.png,y\n", r"line 4: a\.png is listed twice with other labels, first in .*line 2"),
    "unknown split": ("image,labels,split\na.png,x,dev\n", r"line 2: the split is 'dev'; write train, val or test"),
    "split missing": ("image,labels,split\na.png,x,\n", r"line 2: the split is ''"),
    "single label missing": ("image,label\na.png,x\nb.png,\n", r"line 3: b\.png has no label; give it one, or call the column 'labels'"),
    "open quote": ('image,labels\n"a.png,x\n', r"line 2: .*quotes"),
    "text after a quote": ('image,labels\n"a"b.png,x\n', r"line 2: .*quotes"),
    "not UTF-8": (b"image,labels\na.png,gr\xf6n\n", r"line 2: the text is not UTF-8"),
    "UTF-16": ("image,labels\na.png,x\n".encode("utf-16"), r"line 1: the text is not UTF-8"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_list_is_one_line_that_names_the_file_and_the_line(lists, kind):
    text, message = BAD[kind]
    with pytest.raises(UserError, match=message) as caught:
        read(lists(list=text))
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_in_two_lists_is_an_error_that_names_both(lists):
    folder = lists(train="image,labels\na.png,x\n", val="image,labels\nb.png,x\na.png,x\n")
    with pytest.raises(UserError, match=r"val\.csv, line 3: a\.png is listed twice with another split, first in .*train\.csv, line 2"):
        read_lists(find_lists(folder))


def test_a_split_column_in_a_list_of_one_split_is_an_error(lists):
    with pytest.raises(UserError, match=r"train\.csv, line 1: .*leave the column 'split' out"):
        read_lists(find_lists(lists(train="image,labels,split\na.png,x,val\n")))


def test_two_lists_for_one_split_are_an_error(lists):
    with pytest.raises(UserError, match=r"holds both val\.csv and valid\.csv"):
        find_lists(lists(val="image,labels\n", valid="image,labels\n"))


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match="cannot read the list"):
        read_lists({"": tmp_path / "gone.csv"})


def test_a_line_that_repeats_itself_counts_once_and_is_told(lists):
    folder = lists(train="image,labels\na.png,x\nb.png,y\n./a.png,x\n")
    listing = read_lists(find_lists(folder))
    assert [image.path for image in listing.images] == ["a.png", "b.png"]
    assert [fault.kind for fault in listing.faults] == ["double"]
    assert "line 4: a.png is listed twice, first in" in listing.faults[0].message
    (note,) = open_catalog(str(folder)).notes
    assert "line 4: a.png is listed twice" in note


def test_all_lines_that_cannot_be_used_are_counted_and_a_tolerant_reader_tells_each(lists):
    rows = "".join(f"gone{number}.png,x\n" for number in range(7))
    folder = lists(train=f"image,label\na.png,x\n{rows}b.png,\na.png,y\n")
    with pytest.raises(UserError, match=r"line 3: there is no image gone0\.png in .*; 8 more lines cannot be used: --check names all"):
        read_lists(find_lists(folder))
    listing = read_lists(find_lists(folder), tolerant=True)
    assert [image.path for image in listing.images] == ["a.png"]
    assert [fault.kind for fault in listing.faults] == ["missing"] * 7 + ["contradiction", "label"]
    assert [f"line {number}:" in fault.message for number, fault in enumerate(listing.faults, start=3)] == [True] * 7 + [False] * 2


def test_a_list_of_nothing_but_missing_images_is_an_error_for_everyone(lists):
    folder = lists(train="image,label\ngone.png,x\n")
    with pytest.raises(UserError, match="there is no image gone"):
        read_lists(find_lists(folder), tolerant=True)


def test_lists_name_groups(lists):
    folder = lists(train="image,group,label\na.png,chair 3,x\nb.png,,y\n")
    assert [image.group for image in read_lists(find_lists(folder)).images] == ["chair 3", ""]
    assert open_catalog(str(folder)).splits["train"].groups == ("chair 3", "")
    (folder / "list.jsonl").write_text('{"image": "a.png", "label": "x", "group": 3}\n{"image": "b.png", "label": "y"}\n')
    assert [image.group for image in read_lists(find_lists(folder / "list.jsonl")).images] == ["3", ""]
    with pytest.raises(UserError, match="names groups itself"):
        open_catalog(str(folder), group_by=r"(.)\.png")
