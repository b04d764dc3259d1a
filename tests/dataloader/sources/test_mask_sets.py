"""Images with masks are found in every usual layout, their numbers and colors mean what the table says, and mistakes get one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.sources.mask_files import value_counts
from dataloader.sources.mask_sets import find_coco
from dataloader.sources.polygons import fill, read_yolo
from dataloader.sources.run_lengths import decode_runs, encode_runs
from dataloader.targets.mask import IGNORE, Mask
from dataloader.truth_reading import TruthReading
from utils.errors import UserError

COLORS = {"road": (128, 64, 128), "car": (0, 0, 142), "void": (0, 0, 0)}


def ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


SMALL = ids([0, 1, 2], [0, 1, IGNORE])


def write(path: Path, pixels: np.ndarray, *, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([value for number in range(256) for value in (number, 255 - number, 7)])
    image.save(path)


def folder_of(home: Path, *splits: str, mask: np.ndarray = SMALL, images: str = "images", masks: str = "masks", count: int = 1) -> Path:
    """Write images and masks in split folders; '' for no splits."""
    for split in splits or ("",):
        for number in range(count):
            write(home / images / split / f"{split}{number}.jpg", np.full((*mask.shape[:2], 3), 10 * number, np.uint8))
            write(home / masks / split / f"{split}{number}.png", mask)
    return home


def test_split_folders_of_images_and_masks_are_found_without_naming_a_task(tmp_path: Path) -> None:
    catalog = open_catalog(str(folder_of(tmp_path, "train", "val", "test")))
    assert catalog.target is Mask
    assert catalog.classes == ("0", "1", "2"), "the numbers that occur name themselves"
    assert {name: split.paths for name, split in catalog.splits.items()} == {
        name: (f"images/{name}/{name}0.jpg",) for name in ("train", "val", "test")
    }
    np.testing.assert_array_equal(catalog.splits["val"].target(0).ids, SMALL)


def test_splits_that_hold_images_and_masks_each_are_found_too(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        folder_of(tmp_path / split)
    catalog = open_catalog(str(tmp_path))
    assert list(catalog.splits) == ["train", "val"]
    np.testing.assert_array_equal(catalog.splits["val"].target(0).ids, SMALL)


def test_lists_of_names_split_as_pascal_voc_does(tmp_path: Path) -> None:
    folder_of(tmp_path, images="JPEGImages", masks="SegmentationClass", count=4)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n2\n")
    (lists / "val.txt").write_text("JPEGImages/1.jpg SegmentationClass/1.png\n")
    catalog = open_catalog(str(tmp_path))
    assert catalog.splits["train"].paths == ("JPEGImages/0.jpg", "JPEGImages/2.jpg")
    assert catalog.splits["val"].paths == ("JPEGImages/1.jpg",)
    (lists / "val.txt").write_text("1\nmissing\n")
    with pytest.raises(UserError, match=r"val.txt, line 2: there is no image missing"):
        open_catalog(str(tmp_path))


def test_images_that_nobody_has_split_are_held_out_the_same_way_again(tmp_path: Path) -> None:
    folder_of(tmp_path, count=20)
    catalog = open_catalog(str(tmp_path), seed=3)
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 14, "val": 3, "test": 3}
    save_split(catalog, tmp_path / "split.csv")
    again = open_catalog(str(tmp_path), seed=4, split_file=tmp_path / "split.csv")
    assert [split.paths for split in again.splits.values()] == [split.paths for split in catalog.splits.values()]
    folds = [set(take_fold(catalog, f"{part}/4", seed=0).splits["val"].paths) for part in range(4)]
    assert sum(map(len, folds)) == len(set.union(*folds)) == 17
    assert not take_fold(catalog, "0/4", seed=0).notes, "no image has a class of its own that a fold could lack"


def test_a_table_names_ids_and_ignores_some(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val", mask=ids([7, 11, 3], [7, 0, 3]))
    (tmp_path / "labels.csv").write_text("id,name,ignore\n11,car,0\n7,road,\n0,void,1\n3,sky,\n")
    catalog = open_catalog(str(tmp_path))
    assert catalog.classes == ("sky", "road", "car"), "in the order of the ids"
    np.testing.assert_array_equal(catalog.splits["train"].target(0).ids, [[1, 2, 0], [1, IGNORE, 0]])
    catalog = open_catalog(str(tmp_path), reading=TruthReading(ignore=("sky",)))
    np.testing.assert_array_equal(catalog.splits["train"].target(0).ids, [[0, 1, IGNORE], [0, IGNORE, IGNORE]])
    np.testing.assert_array_equal(catalog.splits["train"].truths.count(catalog.splits["train"].paths), [2, 1])


def test_a_table_of_colors_reads_rgb_and_palette_masks_alike(tmp_path: Path) -> None:
    painted = np.array([[COLORS["road"], COLORS["car"]], [COLORS["void"], COLORS["road"]]], np.uint8)
    folder_of(tmp_path, "train", "val", mask=painted)
    (tmp_path / "masks" / "labels.csv").write_text(
        "name,r,g,b,ignore\n" + "".join(f"{name},{r},{g},{b},{int(name == 'void')}\n" for name, (r, g, b) in COLORS.items())
    )
    palette = Image.fromarray(painted).quantize(4)
    palette.save(tmp_path / "masks" / "val" / "val0.png")
    catalog = open_catalog(str(tmp_path))
    assert catalog.classes == ("road", "car")
    for split in ("train", "val"):
        np.testing.assert_array_equal(catalog.splits[split].target(0).ids, [[0, 1], [IGNORE, 0]])
    painted[0, 0] = (1, 2, 3)
    write(tmp_path / "masks" / "val" / "val0.png", painted)
    with pytest.raises(UserError, match=r"the color 1, 2, 3 at row 0, column 0 is not in .*labels.csv"):
        open_catalog(str(tmp_path)).splits["val"].target(0)


def test_a_palette_is_read_by_its_indices_and_gray_by_its_values(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val")
    write(tmp_path / "masks" / "val" / "val0.png", SMALL, palette=True)
    np.testing.assert_array_equal(open_catalog(str(tmp_path)).splits["val"].target(0).ids, SMALL)


def test_ids_without_a_name_stop_in_one_line(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val", mask=ids([0, 1, 2, 3, 4]))
    (tmp_path / "labels.csv").write_text("id,name\n0,sky\n1,road\n2,car\n")
    catalog = open_catalog(str(tmp_path))
    with pytest.raises(UserError, match=r"train0.png: ids 3, 4 have no name in .*labels.csv, which names 3 classes"):
        catalog.splits["train"].target(0)


def test_a_missing_mask_is_an_error_unless_it_means_background(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val", count=2)
    (tmp_path / "masks" / "train" / "train1.png").unlink()
    with pytest.raises(UserError, match=r"1 image has no mask, such as .*train1.jpg; .*--missing_is_empty"):
        open_catalog(str(tmp_path))
    catalog = open_catalog(str(tmp_path), reading=TruthReading(empty=True))
    np.testing.assert_array_equal(catalog.splits["train"].target(1).ids, np.zeros((2, 3)))
    assert catalog.splits["train"].truths.count(catalog.splits["train"].paths).tolist() == [2 + 6, 2, 1]
    tolerant = open_catalog(str(tmp_path), tolerant=True)
    assert len(tolerant.splits["train"]) == 1
    write(tmp_path / "masks" / "train" / "other.png", SMALL)
    assert "1 mask has no image, such as masks/train/other.png" in " ".join(open_catalog(str(tmp_path), tolerant=True).notes)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((2, 2, 3), np.uint8), "holds colors, and nothing says which class has which"),
        (ids([0, 255]), "hold 0 and 255 alone"),
    ],
    ids=["colors", "binary"],
)
def test_masks_that_do_not_explain_themselves_ask_for_a_table(tmp_path: Path, mask: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_catalog(str(folder_of(tmp_path, "train", "val", mask=mask)))


def test_a_model_numbers_the_classes_of_other_data(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "test", mask=ids([0, 1, 2]))
    (tmp_path / "labels.csv").write_text("id,name\n0,sky\n1,road\n2,car\n")
    catalog = open_catalog(str(tmp_path), classes=("car", "bus", "sky", "road"), require_train=False)
    assert catalog.classes == ("car", "bus", "sky", "road")
    assert catalog.splits["test"].target(0).ids.tolist() == [[2, 3, 0]]
    with pytest.raises(UserError, match="the class car, which the model does not know"):
        open_catalog(str(tmp_path), classes=("sky", "road"), require_train=False)


def test_outlines_of_yolo_are_drawn(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / "images" / split / "a.jpg", np.zeros((40, 80, 3), np.uint8))
        (tmp_path / "labels" / split).mkdir(parents=True)
        # A large square, and a small one on it that comes first.
        lines = "1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n0 0 0 0.75 0 0.75 1 0 1\n"
        (tmp_path / "labels" / split / "a.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    catalog = open_catalog(str(tmp_path), target=Mask)
    assert catalog.classes == ("background", "cat", "dog")
    drawn = catalog.splits["train"].target(0).ids
    assert (drawn[15:25, 25:35] == 2).all()
    assert (drawn[2:8, 2:55] == 1).all()
    assert (drawn[:, 63:] == 0).all()
    assert abs(int((drawn == 2).sum()) - 20 * 20) <= 45, "half a pixel along the border"


def test_an_outline_covers_the_pixels_whose_centers_it_encloses() -> None:
    ids = np.zeros((6, 8), np.uint8)
    fill(ids, np.array([[1.4, 1.6], [4.4, 1.6], [4.4, 9.0], [1.4, 9.0]]), 3)
    assert np.argwhere(ids == 3).tolist() == [[row, column] for row in (2, 3, 4, 5) for column in (1, 2, 3)]
    fill(ids, np.array([[-5.0, -5.0], [-1.0, -5.0], [-1.0, -1.0]]), 4)
    assert 4 not in ids
    y, x = np.mgrid[0:40, 0:40] + 0.5
    triangle = np.array([[3.3, 2.1], [37.7, 9.9], [12.2, 38.4]])
    sides = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in zip(triangle, np.roll(triangle, -1, axis=0), strict=True)]
    drawn = np.zeros((40, 40), np.uint8)
    fill(drawn, triangle, 1)
    np.testing.assert_array_equal(drawn == 1, np.all(np.array(sides) > 0, axis=0))


def test_a_line_of_yolo_that_is_no_outline_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for line, said in (
        ("0 0.5 0.5 0.1 0.1", "holds a box"),
        ("3 0 0 1 0 1 1", "the class is 3, which has no name"),
        ("0 0 0 x 1", "no row"),
    ):
        file.write_text(f"\n{line}\n")
        with pytest.raises(UserError, match=f"a.txt, line 2: .*{said}"):
            read_yolo(file, (4, 4), {0: 1, 1: 2})


def test_outlines_of_coco_are_drawn_with_crowds_left_out(tmp_path: Path) -> None:
    crowd = np.zeros((20, 30), bool)
    crowd[0:5, 0:5] = True
    for split in ("train", "val"):
        write(tmp_path / "images" / split / "a.png", np.zeros((20, 30, 3), np.uint8))
        content = {
            "images": [{"id": 4, "file_name": "a.png", "height": 20, "width": 30}],
            "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 4, "category_id": 9, "iscrowd": 0, "segmentation": [[10, 5, 20, 5, 20, 15, 10, 15]]},
                {"id": 2, "image_id": 4, "category_id": 2, "iscrowd": 1, "segmentation": encode_runs(crowd)},
            ],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    catalog = open_catalog(str(tmp_path), target=Mask)
    assert catalog.classes == ("background", "cat", "dog")
    assert catalog.splits["train"].paths == ("images/train/a.png",)
    drawn = catalog.splits["train"].target(0).ids
    assert (drawn[6:14, 11:19] == 2).all()
    np.testing.assert_array_equal(drawn == IGNORE, crowd)


def yolo(home: Path, names: str, *, lines: str = "0 0 0 1 0 1 0.5 0 0.5\n1 0 0.5 1 0.5 1 1 0 1\n", table: str = "data.yaml") -> str:
    """Write two images of 8x8 whose halves, the upper one first, have the classes 0 and 1."""
    for split in ("train", "val"):
        write(home / "images" / split / "a.png", np.zeros((8, 8, 3), np.uint8))
        (home / "labels" / split).mkdir(parents=True)
        (home / "labels" / split / "a.txt").write_text(lines)
    (home / table).write_text(names)
    return str(home)


def test_names_of_yolo_have_every_number_from_0_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.yaml: names have 2 keys, and 0 is none of them; number the classes from 0 on"):
        open_catalog(yolo(tmp_path, "names: {1: cat, 2: dog}"), target=Mask)
    (tmp_path / "data.yaml").write_text("names: {1: dog, 0: cat}")
    assert open_catalog(str(tmp_path), target=Mask).classes == ("background", "cat", "dog")


def test_a_table_names_the_classes_of_yolo_by_their_ids(tmp_path: Path) -> None:
    lines = "".join(f"{number} 0 {y} 1 {y} 1 {y + 0.25} 0 {y + 0.25}\n" for number, y in ((0, 0), (1, 0.25), (5, 0.5)))
    catalog = open_catalog(yolo(tmp_path, "name,id,ignore\na,0,1\nc,5,\nb,1,\n", lines=lines, table="labels.csv"), target=Mask)
    assert catalog.classes == ("background", "b", "c")
    assert catalog.splits["train"].target(0).ids[[0, 3, 5, 7], 4].tolist() == [IGNORE, 1, 2, 0]
    (tmp_path / "labels.csv").write_text("name,r,g,b\na,0,0,1\n")
    with pytest.raises(UserError, match=r"labels.csv names colors, and outlines have numbers: add the column id"):
        open_catalog(str(tmp_path), target=Mask)


def test_outlines_of_yolo_refuse_to_ignore_by_a_flag(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--ignore is for masks in image files"):
        open_catalog(yolo(tmp_path, "names: [cat, dog]"), target=Mask, reading=TruthReading(ignore=("cat", "nonsense")))


def test_more_classes_than_a_mask_can_hold_are_refused_for_outlines_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="300 classes and the background are more than the 255 that masks may have"):
        open_catalog(yolo(tmp_path / "yolo", f"names: {[f'c{number}' for number in range(300)]}"), target=Mask)
    with pytest.raises(UserError, match="300 classes and the background are more than the 255 that masks may have"):
        open_catalog(coco(tmp_path / "coco", [], categories=300), target=Mask)


def coco(home: Path, annotations: list[dict], *, categories: int = 2) -> str:
    """Write an image of 8x6 pixels whose classes are c1, c2 and so on."""
    write(home / "images" / "train" / "a.png", np.zeros((6, 8, 3), np.uint8))
    content = {
        "images": [{"id": 4, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 1 + number, "name": f"c{1 + number}"} for number in range(categories)],
        "annotations": [{"id": 10 + number, "image_id": 4, **each} for number, each in enumerate(annotations)],
    }
    (home / "annotations").mkdir(exist_ok=True)
    (home / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return str(home)


def test_small_objects_lie_on_large_ones_in_runs_too_and_crowds_below_all(tmp_path: Path) -> None:
    small, large, crowd = np.zeros((3, 6, 8), bool)
    small[2:4, 2:4] = large[1:5, 1:6] = crowd[:2] = True
    objects = [
        {"category_id": 1, "segmentation": encode_runs(small)},
        {"category_id": 2, "segmentation": encode_runs(large)},
        {"category_id": 2, "iscrowd": 1, "segmentation": encode_runs(crowd)},
    ]
    catalog = open_catalog(coco(tmp_path, objects), target=Mask)
    expected = np.where(small, 1, np.where(large, 2, np.where(crowd, IGNORE, 0)))
    np.testing.assert_array_equal(catalog.splits["train"].target(0).ids, expected)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"counts": [10, 10], "size": [4, 5]}, "runs of 5x4 pixels for an image of 8x6"),
        ({"counts": [10, 10], "size": [6, 8]}, "runs of 20 pixels for an image of 48"),
        ({"counts": [-2, 50], "size": [6, 8]}, "no row of lengths"),
        ({"counts": "Q", "size": [6, 8]}, "ends within a number"),
        ([[1, 1, 2]], "cannot be drawn"),
        ([[]], "has a box but no segmentation"),
    ],
)
def test_a_segmentation_that_cannot_be_drawn_is_named_when_the_data_is_opened(tmp_path: Path, shape: object, said: str) -> None:
    with pytest.raises(UserError, match=rf"^\S+instances_train2017.json: annotation 10 .*{said}"):
        open_catalog(coco(tmp_path, [{"category_id": 1, "segmentation": shape}]), target=Mask)


def test_an_empty_part_of_an_outline_is_passed_over(tmp_path: Path) -> None:
    square = [1, 1, 5, 1, 5, 5, 1, 5]
    catalog = open_catalog(coco(tmp_path, [{"category_id": 1, "segmentation": [[], square]}]), target=Mask)
    assert catalog.splits["train"].target(0).ids[2:4, 2:4].tolist() == [[1, 1], [1, 1]]


def test_of_the_files_of_coco_the_one_of_instances_is_read(tmp_path: Path) -> None:
    folder = Path(coco(tmp_path, [])) / "annotations"
    for name in ("captions_train2017.json", "person_keypoints_train2017.json"):
        (folder / name).write_text("{}")
    assert find_coco(tmp_path) == [("train", folder / "instances_train2017.json")]


def test_a_split_without_a_folder_of_masks_is_left_out_with_a_note(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val")
    write(tmp_path / "images" / "test" / "a.jpg", np.zeros((2, 3, 3), np.uint8))
    catalog = open_catalog(str(tmp_path))
    assert list(catalog.splits) == ["train", "val"]
    assert "images/test has no folder of masks; not used" in catalog.notes


def test_a_number_that_training_ignored_is_ignored_again_with_the_classes_of_the_model(tmp_path: Path) -> None:
    folder_of(tmp_path, "train", "val", mask=ids([0, 1, 2]))
    reading = TruthReading(ignore=("0",))
    trained = open_catalog(str(tmp_path), reading=reading)
    assert trained.classes == ("1", "2")
    again = open_catalog(str(tmp_path), reading=reading, classes=trained.classes)
    assert again.splits["val"].target(0).ids.tolist() == [[IGNORE, 0, 1]]
    with pytest.raises(UserError, match="--ignore 99999999999: ids go from 0 to 65535"):
        open_catalog(str(tmp_path), reading=TruthReading(ignore=("99999999999",)))


def test_runs_are_read_back_also_from_the_string_of_coco() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((37, 23)) < 0.4
    runs = encode_runs(mask)
    np.testing.assert_array_equal(decode_runs(runs, (37, 23)), mask)
    # pycocotools writes this string for a 4x6 image whose inner 2x4 pixels are set.
    inner = np.zeros((4, 6), bool)
    inner[1:3, 1:5] = True
    assert encode_runs(inner)["counts"] == [5, 2, 2, 2, 2, 2, 2, 2, 5]
    np.testing.assert_array_equal(decode_runs({"counts": "522000003", "size": [4, 6]}, (4, 6)), inner)


def test_a_mask_that_has_not_changed_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "a.png"
    write(file, SMALL)
    expected = {file: {0: 2, 1: 2, 2: 1, IGNORE: 1}}
    assert value_counts(tmp_path, [file]) == expected
    monkeypatch.setattr("dataloader.sources.mask_files.read_mask", lambda path: pytest.fail(f"{path} was read again"))
    assert value_counts(tmp_path, [file]) == expected
