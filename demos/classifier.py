"""Classify images with one exported file: a tutorial that you can copy to a device.

This file needs python3.10 or later, torch, numpy, and Pillow (10.1 or later) or OpenCV. It needs
nothing else of the project it comes from.

1. Where the model was trained, write the TorchScript file (it says where):

       python main.py --jit --resume runs/classify/NAME

2. Copy that file and this one to the device, and look at some pictures, or at a folder of them:

       python classifier.py model.jit.pt photo.jpg
       python classifier.py model.jit.pt holiday/ --top 3
       python classifier.py model.jit.pt holiday/ --json > answers.jsonl

   A model that was trained on images with several labels names all labels that reach their threshold. One that was given
   a target (`--evaluation --calibrate --target ...`) says "unsure" where its answer may be wrong too often.

3. Or use it from your own program:

       from classifier import Classifier, read_image

       classifier = Classifier("model.jit.pt")
       for label, probability in classifier.labels(read_image("photo.jpg", white=classifier.white)):
           print(label, probability)

The model file holds the class names and does the resizing, the normalization and the softmax or
sigmoid itself, so the labels are those of `python main.py --evaluation`. With Pillow the pixels
are those of training, bit for bit; with OpenCV alone they can differ a little.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CARD = "darkroom.json"
# The largest value of 16 bits.
FULL = 65535
FORMAT = 1
BATCH_VALUES = 3 * 2**22
BATCH_IMAGES = 64

Answer = list[tuple[str, float]]


class ModelError(ValueError):
    """A model file that cannot be used: which, and why, in one line."""


class ImageError(ValueError):
    """A file that is no readable image: why, in a few words."""


class Classifier:
    """An exported model.

    Attributes:
        classes: the names, in the order of the probabilities.
        thresholds: probabilities (C,) from which on each label is named; None where the most probable one is the answer.
        reject: probabilities (C,) below which that answer is no answer; None where it always is one.
        white: the value of 16-bit files that the model takes for white; None where it takes all 16 bits.
        card: what the file says about itself: arch, classes, image_size, resize, mean, std, white, activation, source.
    """

    def __init__(self, path: str) -> None:
        """Load the TorchScript file `path` onto the CPU.

        Raises:
            ModelError: there is no such file, or it is not one that `main.py --jit` wrote.
        """
        if not os.path.isfile(path):
            raise ModelError(f"there is no model file {path}")
        extra: dict[str, Any] = {CARD: ""}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=r".*torch\.jit\.")
                self._module = torch.jit.load(path, map_location="cpu", _extra_files=extra)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"{path} is not a TorchScript file; python main.py --jit --resume RUN writes one") from error
        self._module.eval()
        self.card = _read_card(path, extra[CARD])
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        thresholds = self.card.get("thresholds")
        self.thresholds = None if thresholds is None else np.array(thresholds, dtype=np.float64)
        reject = self.card.get("reject")
        self.reject = None if reject is None else np.array(reject, dtype=np.float64)
        self.white: int | None = self.card.get("white")

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the (C,) float32 probabilities of one image, uint8 (H, W, 3) RGB of any size."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the (N, C) float32 probabilities of images of equal size, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: an image has another type or shape.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"an image is uint8 (H, W, 3) RGB, not {image.dtype} {image.shape}")
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return self._module(pixels).float().numpy()

    def labels(self, image: np.ndarray) -> Answer:
        """Return the (label, probability) that the model gives an image, the best first: one, or any number, or none when unsure."""
        return self.decide(self.predict(image))

    def decide(self, probabilities: np.ndarray) -> Answer:
        """Return what (C,) probabilities name: the best label unless it is rejected, or all that reach their threshold, the best first."""
        if self.thresholds is None:
            return [] if self.rejects(probabilities) else self.name(probabilities, 1)
        return self._rank(probabilities, np.flatnonzero(probabilities >= self.thresholds))

    def rejects(self, probabilities: np.ndarray) -> bool:
        """Whether the best of (C,) probabilities is too low for an answer that counts."""
        best = int(np.argmax(probabilities))
        return self.reject is not None and bool(probabilities[best] < self.reject[best])

    def top(self, image: np.ndarray, k: int = 5) -> Answer:
        """Return the `k` most probable (label, probability) of one image, the best first."""
        return self.name(self.predict(image), k)

    def name(self, probabilities: np.ndarray, k: int = 5) -> Answer:
        """Return the `k` largest of (C,) probabilities with their labels, the best first."""
        return self._rank(probabilities, np.arange(len(probabilities)))[:k]

    def _rank(self, probabilities: np.ndarray, among: np.ndarray) -> Answer:
        """Return the labels at the positions `among`, the most probable first."""
        order = among[np.argsort(-probabilities[among], kind="stable")]
        return [(self.classes[index], float(probabilities[index])) for index in order]


def _read_card(path: str, text: Any) -> dict[str, Any]:
    foreign = ModelError(f"{path} is a TorchScript file, but not one that python main.py --jit wrote")
    try:
        card = json.loads(text)
    except ValueError as error:
        raise foreign from error
    if not isinstance(card, dict) or not isinstance(card.get("classes"), list):
        raise foreign
    thresholds = card.get("thresholds")
    if any(values is not None and not _are_numbers(values, len(card["classes"])) for values in (thresholds, card.get("reject"))):
        raise foreign
    if card.get("format") != FORMAT:
        raise ModelError(f"{path} has format {card.get('format')}, this demo reads {FORMAT}; take the demo that came with the exporter")
    return card


def _are_numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(value, int | float) for value in values)


def read_image(path: str, *, white: int | None = None) -> np.ndarray:
    """Return the first frame of an image file as uint8 (H, W, 3) RGB.

    The EXIF orientation is applied, transparent pixels are laid on white, 16-bit values are scaled to 8 bits: `white`, which
    a Classifier knows, becomes 255. Color of 16 bits needs OpenCV for that.

    Raises:
        ImageError: the file is missing, damaged, or no image.
    """
    try:
        pixels = read_with_pillow(path, white=white)
    except ImportError:
        pixels = None
    return read_with_opencv(path, white=white) if pixels is None else pixels


def read_with_pillow(path: str, *, white: int | None = None) -> np.ndarray | None:
    """Read an image as `read_image` does; None stands for a kind of file that Pillow does not know."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                deep = white not in (None, FULL) and any(";16" in str(tile[3]) for tile in image.tile)
                image.load()
                return _to_rgb(image, white, path if deep else "")
    except UnidentifiedImageError:
        return None
    except ImageError:
        raise
    except Exception as error:  # Decoders raise errors of many types on damaged files; all mean the same here.
        raise ImageError(_reason(error)) from error


def _to_rgb(image: Any, white: int | None, deep: str) -> np.ndarray:
    """Return what Pillow has loaded as uint8 (H, W, 3) RGB; `deep` is the file, where it has color of more than 8 bits."""
    from PIL import Image

    turn = _turn(image)
    if image.mode == "F":
        raise ImageError("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ImageError("32-bit pixels, whose range is unknown")
        image = Image.fromarray(_to_eight_bits(values, white))
    elif deep:
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        values = _decode(deep, "IMREAD_UNCHANGED")
        if values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] < 3:
            raise ImageError("color of 16 bits in a form that is not understood; convert it to 8 bits")
        image = Image.fromarray(_to_eight_bits(values[:, :, 2::-1], white))
        if alpha is not None:
            image.putalpha(alpha)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, (255, 255, 255))
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def _to_eight_bits(values: np.ndarray, white: int | None) -> np.ndarray:
    """Return values of 16 bits as uint8: 0 stays black, `white` and what is above it become 255."""
    if white is None or white == FULL:
        return (values // 257).astype(np.uint8)
    return ((np.minimum(values, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _turn(image: Any) -> Any:
    """Return the transposition that the EXIF orientation asks for, or None."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Damaged metadata does not spoil the pixels.
        return None
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    return Transpose[turns[orientation]] if orientation in turns else None


def read_with_opencv(path: str, *, white: int | None = None) -> np.ndarray:
    """Read an image as `read_image` does; transparent images are not turned by their EXIF orientation.

    Raises:
        ImageError: the file is missing, or OpenCV cannot read it, or there is no OpenCV.
    """
    pixels = _decode(path, "IMREAD_UNCHANGED")
    if pixels.ndim < 3 or pixels.shape[2] != 4:
        # The orientation is applied only by a decoder that is asked for color.
        pixels = _decode(path, "IMREAD_COLOR", "IMREAD_ANYDEPTH")
    if pixels.dtype == np.uint16 and pixels.shape[2] == 4:
        # Transparency is no color, and keeps its own range.
        pixels = np.concatenate([_to_eight_bits(pixels[:, :, :3], white), _to_eight_bits(pixels[:, :, 3:], None)], axis=2)
    elif pixels.dtype == np.uint16:
        pixels = _to_eight_bits(pixels, white)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{pixels.dtype} pixels, whose range is unknown")
    if pixels.shape[2] == 4:
        color, alpha = pixels[:, :, :3].astype(np.uint16), pixels[:, :, 3:].astype(np.uint16)
        pixels = ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _decode(path: str, *flags: str) -> np.ndarray:
    """Return the pixels of a file as OpenCV decodes them with these flags."""
    try:
        import cv2
    except ImportError as error:
        raise ImageError("Pillow is missing or does not know this kind of file, and OpenCV is missing") from error
    try:
        pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), sum(getattr(cv2, flag) for flag in flags))
    except (OSError, cv2.error) as error:
        raise ImageError(_reason(error) if isinstance(error, OSError) else "not an image, or damaged") from error
    if pixels is None:
        raise ImageError("not an image, or damaged")
    return pixels


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def find_images(places: Iterable[str]) -> list[str]:
    """Return the files among `places`, and of every folder the images in it and below, sorted; hidden ones are left out."""
    found: list[str] = []
    for place in places:
        found += sorted(_walk(place)) if os.path.isdir(place) else [place]
    return found


def _walk(folder: str) -> Iterator[str]:
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        # A link may point back up; every real folder is entered once.
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))


def classify(classifier: Classifier, paths: Iterable[str]) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Yield (path, probabilities, '') for every image in order, or (path, None, reason) where it cannot be read.

    Neighbors of equal size go through the model together.
    """
    waiting: list[tuple[str, np.ndarray]] = []

    def flush() -> Iterator[tuple[str, np.ndarray | None, str]]:
        if waiting:
            answers = classifier.predict_batch([image for _, image in waiting])
            yield from ((path, answer, "") for (path, _), answer in zip(waiting, answers, strict=True))
            waiting.clear()

    for path in paths:
        try:
            image = read_image(path, white=classifier.white)
        except ImageError as error:
            yield from flush()
            yield path, None, str(error)
            continue
        full = len(waiting) >= min(BATCH_IMAGES, BATCH_VALUES // image.size)
        if waiting and (full or image.shape != waiting[0][1].shape):
            yield from flush()
        waiting.append((path, image))
    yield from flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when an image was unreadable, or 2 when there was nothing to do."""
    parser = argparse.ArgumentParser(
        description="Classify images with a TorchScript file that python main.py --jit wrote.",
        epilog=f"A folder is searched, with all folders in it, for {' '.join(SUFFIXES)}. "
        "Without --json: a line an image: path, then label and probability of the best classes. With --json: a JSON object a line, "
        '{"path": ..., "top": [{"label": ..., "probability": ...}, ...]}, or {"path": ..., "error": ...} for an unreadable image. '
        'A model with thresholds names all labels that reach theirs, or "-" for none; in JSON they are "labels". '
        "With --top K it names the K best instead, and in JSON both. "
        'A model that may reject says "unsure" behind the classes of an image that it rejects, and "rejected" in JSON. '
        "Exit code: 0 all done; 1 an image could not be read, the others are done; 2 no usable model or no image.",
    )
    parser.add_argument("model", metavar="MODEL", help="TorchScript file")
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="image files, and folders to search through")
    default = "default: 3, or all that reach their threshold"
    parser.add_argument("--top", type=_positive, metavar="K", help=f"number of classes to name ({default})")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of torch (default: torch decides)")
    given = sys.argv[1:] if argv is None else list(argv)
    if not given:
        name = os.path.basename(sys.argv[0]) or "classifier.py"
        return _complain(
            f"name a model file and images, such as: python {name} model.jit.pt photo.jpg "
            f"(python main.py --jit --resume RUN writes the model file; python {name} --help says more)",
            2,
        )
    args = parser.parse_args(given)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        classifier = Classifier(args.model)
    except ModelError as error:
        return _complain(str(error), 2)
    paths = find_images(args.images)
    if not paths:
        return _complain(f"no images in {', '.join(args.images)}; a folder is searched for {' '.join(SUFFIXES)}", 2)
    path_width, label_width = max(len(_printable(path)) for path in paths), max(map(len, classifier.classes))
    code = 0
    for path, probabilities, reason in classify(classifier, paths):
        if probabilities is None:
            code = _complain(f"{path}: {reason}", 1)
            if args.json:
                print(json.dumps({"path": path, "error": reason}), flush=True)
            continue
        answers = _answers(classifier, probabilities, args.top)
        rejected = {} if classifier.reject is None else {"rejected": classifier.rejects(probabilities)}
        if args.json:
            named = {key: [{"label": label, "probability": share} for label, share in answer] for key, answer in answers.items()}
            print(json.dumps({"path": path, **named, **rejected}), flush=True)
        else:
            answer = answers["top"] if "top" in answers else answers["labels"]
            cells = [f"{label:<{label_width}} {100 * probability:5.1f} %" for label, probability in answer]
            cells += ["unsure"] if rejected.get("rejected") else []
            print(f"{_printable(path):<{path_width}}", *(cells or ["-"]), sep="  ", flush=True)
    return code


def _answers(classifier: Classifier, probabilities: np.ndarray, top: int | None) -> dict[str, Answer]:
    """Return what is said of an image: 'labels' by a model with thresholds, 'top' by the others and where it was asked for."""
    answers = {} if classifier.thresholds is None else {"labels": classifier.decide(probabilities)}
    if top is not None or not answers:
        answers["top"] = classifier.name(probabilities, top or 3)
    return answers


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a positive number is wanted")
    return number


def _printable(path: str) -> str:
    """Return a path that any terminal takes, whatever bytes are in the file's name."""
    return path.encode(errors="backslashreplace").decode()


def _complain(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, such as head, has seen enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
