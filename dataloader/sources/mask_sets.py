"""Opens images with a class for every pixel: the pairs, the classes, and how their masks are read."""

from collections.abc import Sequence
from pathlib import Path

from dataloader.images.read import ImageError
from dataloader.sources.coco_files import find_coco, image_folder
from dataloader.sources.mask_classes import MaskClasses, classes_of_ids, find_table, in_order_of, read_classes
from dataloader.sources.mask_files import MaskFolder, has_colors, value_counts
from dataloader.sources.mask_layouts import Pairs, find_pairs, find_root
from dataloader.sources.polygons import BACKGROUND, CocoPolygons, YoloPolygons, read_coco_polygons
from dataloader.sources.truth_set import TruthSet
from dataloader.targets.mask import IGNORE
from dataloader.truth_reading import TruthReading
from utils.errors import UserError
from utils.text import counted

LAYOUT = (
    "images/ and masks/ beside each other, both with train/, val/ and test/, or with lists train.txt, val.txt; or outlines of YOLO "
    "(labels/*.txt) or COCO (annotations/*.json)"
)


def open_masks(root: Path, reading: TruthReading, classes: Sequence[str] | None = None, *, tolerant: bool = False) -> TruthSet:
    """Return the images of a folder with their masks.

    Args:
        root: the folder, or the folder images/ in it.
        reading: how masks are read.
        classes: names that a model already knows, in its order.
        tolerant: leave out images without a mask, with a note, in place of an error.

    Raises:
        UserError: there are none, an image has no mask, or the classes are not known.
    """
    root = find_root(root)
    pairs = find_pairs(root)
    if pairs is not None and pairs.files:
        return _from_files(pairs, reading, classes, tolerant=tolerant)
    outlines = find_pairs(root, (".txt",))
    if outlines is not None and outlines.files:
        return _from_yolo(outlines, reading, classes, tolerant=tolerant)
    if files := find_coco(root):
        return _from_coco(root, files, reading, classes)
    if pairs is None:
        raise UserError(f"--data {root} holds no images with masks. Expected {LAYOUT}; try --task segment --data shapes")
    folder = pairs.folders[0]
    first = next((path for paths in pairs.images.values() for path in paths), None)
    if first is None:
        raise UserError(f"--data {root} holds masks but no images")
    wanted = f"{Path(first).stem}.png"
    if any(folder.rglob("*.jp*g")):
        raise UserError(f"the masks in {folder} are JPEG files, which blur their numbers; write them as PNG, {wanted} for {first}")
    raise UserError(f"no image of {root} has a mask: {first} would have {wanted} in {folder}")


def _with_masks(pairs: Pairs, reading: TruthReading, what: str, *, tolerant: bool) -> tuple[dict[str, list[str]], list[str]]:
    """Return split -> images that are used, and notes; `what` is a file of theirs.

    Raises:
        UserError: an image has no mask, and nothing says that this means something.
    """
    missing = [path for paths in pairs.images.values() for path in paths if path not in pairs.files]
    kept = {split: [path for path in paths if reading.empty or path in pairs.files] for split, paths in pairs.images.items()}
    notes = []
    if missing and not reading.empty:
        line = f"{counted(len(missing), 'image has', 'images have')} no {what}, such as {pairs.root / missing[0]}"
        if not tolerant:
            raise UserError(f"{line}; add the missing files, or --missing_is_empty if such images show the background alone")
        notes.append(line)
    if pairs.alone:
        notes.append(f"{counted(len(pairs.alone), f'{what} has', f'{what}s have')} no image, such as {pairs.alone[0]}; not used")
    if pairs.bare:
        several = len(pairs.bare) > 1
        notes.append(f"{' and '.join(pairs.bare)} {'have' if several else 'has'} no folder of {what}s; not used")
    empty = [split for split, paths in kept.items() if not paths]
    if empty:
        raise UserError(f"{pairs.root}: {empty[0] or 'the data set'} holds no images with a {what}")
    return kept, notes


def _from_files(pairs: Pairs, reading: TruthReading, classes: Sequence[str] | None, *, tolerant: bool) -> TruthSet:
    images, notes = _with_masks(pairs, reading, "mask", tolerant=tolerant)
    if reading.empty and (bare := sum(path not in pairs.files for paths in images.values() for path in paths)):
        notes.append(f"{counted(bare, 'image has', 'images have')} no mask, and counts as the first class alone (--missing_is_empty)")
    coding = _coding(pairs, reading, classes)
    if classes is not None:
        coding = in_order_of(coding, classes, pairs.root)
    blank = pairs.root if reading.empty else None
    return TruthSet(pairs.root, images, MaskFolder(pairs.root, coding.names, files=pairs.files, coding=coding, blank=blank), tuple(notes))


def _coding(pairs: Pairs, reading: TruthReading, classes: Sequence[str] | None) -> MaskClasses:
    """Return what the numbers and colors mean.

    Raises:
        UserError: no table says so, and the masks do not either.
    """
    table = Path(reading.labels).expanduser() if reading.labels is not None else find_table(pairs.root, pairs.folders)
    files = [pairs.root / mask for mask in pairs.files.values()]
    if table is not None:
        coding = read_classes(table, reading.ignore)
        if not coding.colors and has_colors(files[0]):
            raise UserError(f"{files[0]} holds colors, and {table} does not say which class has which: add the columns r, g and b")
        return coding
    if has_colors(files[0]):
        raise UserError(
            f"{files[0]} holds colors, and nothing says which class has which: write {pairs.folders[0] / 'labels.csv'} with the columns "
            "name,r,g,b, or name one with --labels"
        )
    if classes is not None and all(name.isdecimal() for name in classes):
        return classes_of_ids([int(name) for name in classes], reading.ignore)
    counts = value_counts(pairs.root, files)
    if not counts:
        raise UserError(str(ImageError(str(files[0]), "not a mask, or damaged")))
    ids = {value for values in counts.values() for value in values}
    if ids <= {0, IGNORE} and IGNORE in ids and str(IGNORE) not in reading.ignore:
        raise UserError(
            f"the masks of {pairs.root} hold 0 and 255 alone, and 255 is ignored unless it has a name: write "
            f"{pairs.folders[0] / 'labels.csv'} with the lines name,id / background,0 / object,255"
        )
    return classes_of_ids([value for value in ids if value != IGNORE], reading.ignore)


def _from_yolo(pairs: Pairs, reading: TruthReading, classes: Sequence[str] | None, *, tolerant: bool) -> TruthSet:
    images, notes = _with_masks(pairs, reading, "text file of outlines", tolerant=tolerant)
    if reading.ignore:
        raise UserError(f"--ignore is for masks in image files; {pairs.root} holds outlines; leave it out, or mark classes in labels.csv")
    coding = _yolo_coding(pairs, reading)
    names = (BACKGROUND, *coding.names)
    _refuse_many(names, pairs.root)
    _refuse_other(names, classes, pairs.root)
    numbers = {value: number if number == IGNORE else 1 + number for value, number in coding.ids.items()}
    return TruthSet(pairs.root, images, YoloPolygons(pairs.root, pairs.files, names, numbers), tuple(notes))


def _yolo_coding(pairs: Pairs, reading: TruthReading) -> MaskClasses:
    """Return what the classes in text files mean: by data.yaml, or a table of names; the background is none of them.

    Raises:
        UserError: nothing names them, or not by their numbers.
    """
    import yaml

    for file in () if reading.labels else sorted((*pairs.root.glob("*.yaml"), *pairs.root.glob("*.yml"))):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"cannot read {file}: {' '.join(str(error).split())}") from error
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict):
            keyed = {str(key): name for key, name in names.items()}
            if missing := [number for number in range(len(keyed)) if str(number) not in keyed]:
                raise UserError(f"{file}: names have {len(keyed)} keys, and {missing[0]} is none of them; number the classes from 0 on")
            names = [keyed[str(number)] for number in range(len(keyed))]
        if isinstance(names, list) and names:
            return MaskClasses(tuple(str(name) for name in names), {number: number for number in range(len(names))}, source=str(file))
    table = Path(reading.labels).expanduser() if reading.labels is not None else find_table(pairs.root, pairs.folders)
    if table is None:
        raise UserError(f"{pairs.root} holds outlines in text files, and nothing names their classes: write data.yaml with names: [...]")
    coding = read_classes(table)
    if not coding.ids.keys() - {IGNORE}:
        raise UserError(f"{table} names colors, and outlines have numbers: add the column id")
    return coding


def _from_coco(root: Path, files: Sequence[tuple[str, Path]], reading: TruthReading, classes: Sequence[str] | None) -> TruthSet:
    if reading.ignore or reading.labels:
        raise UserError(f"--{'ignore' if reading.ignore else 'labels'} is for masks in image files; {files[0][1]} names its own classes")
    images: dict[str, list[str]] = {}
    outlines, sizes = {}, {}
    names: tuple[str, ...] = ()
    for split, file in files:
        table = read_coco_polygons(file)
        if names and table.classes != names:
            raise UserError(f"{file} names other categories than {files[0][1]}")
        names, folder = table.classes, image_folder(root, split, file, next(iter(table.sizes), None))
        for name in sorted(table.sizes):
            path = (folder / name).relative_to(root).as_posix()
            images.setdefault(split, []).append(path)
            outlines[path], sizes[path] = table.outlines[name], table.sizes[name]
    _refuse_many(names, files[0][1])
    _refuse_other(names, classes, root)
    return TruthSet(root, images, CocoPolygons(outlines, sizes, names))


def _refuse_many(names: Sequence[str], source: Path) -> None:
    if len(names) > IGNORE:
        raise UserError(f"{source}: {len(names) - 1} classes and the background are more than the {IGNORE} that masks may have")


def _refuse_other(names: Sequence[str], classes: Sequence[str] | None, root: Path) -> None:
    if classes is not None and tuple(classes) != tuple(names):
        raise UserError(
            f"{root} names the classes {', '.join(names[:10])}, the model knows {', '.join(classes[:10])}: their order must be one"
        )
