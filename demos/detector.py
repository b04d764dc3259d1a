"""Frame the objects of images with one exported file: a tutorial that you can copy to a device.

This file needs python3.10 or later, numpy, Pillow 10.1 or later, and the runtime of the model file: onnxruntime for .onnx, openvino
for .xml with its .bin, torch for .pt. It needs nothing else of the project it comes from.

1. Where the model was trained, write the file (it says where):

       python main.py --export onnx --resume runs/detect/NAME

2. Copy that file and this one to the device, and look at some pictures, or a folder of them:

       python detector.py model.onnx photo.jpg
       python detector.py model.onnx parts/ --out answers
       python detector.py model.onnx parts/ --json > boxes.jsonl
       python detector.py model.onnx photo.jpg --benchmark

   --out writes the picture with a frame around every object; folders inside of a folder are kept.

3. Or use it from your own program:

       from detector import Detector, read_image

       detector = Detector("model.onnx")
       for box in detector.boxes(read_image("photo.jpg", white=detector.white)):
           print(box.label, box.score, box.left, box.top, box.right, box.bottom)

The model file holds the class names and does the resizing and the normalization itself. Of two boxes around one object it answers the
surer one where its runtime can choose (ONNX, OpenVINO); for TorchScript that is done here. Places are pixels of the image.
"""

import argparse
import colorsys
import importlib
import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

try:
    import numpy as np
except ImportError:
    if __name__ != "__main__":
        raise
    print("the package numpy is missing: pip install numpy", file=sys.stderr)
    sys.exit(2)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CARD = "darkroom.json"
# The largest value of 16 bits.
FULL = 65535
FORMAT = 1
# What the file of a task is, and what opens it.
OPENED_BY = {
    "classify": ("a classifier", "demos/classifier.py"),
    "multilabel": ("a classifier of several labels", "demos/classifier.py"),
    "segment": ("a segmenter", "demos/segmenter.py"),
    "detect": ("a detector of objects", "demos/detector.py"),
    "anomaly": ("a detector of anomalies", "python main.py --predict IMAGE --resume FILE"),
}
# The shape of one image of any size, to OpenVINO.
ANY_SIZE = (1, -1, -1, -1)
# A frame is as wide as this share of the longer side of the picture, and a letter as high.
FRAME, LETTER = 1 / 250, 1 / 45
BENCHMARK_SECONDS = 3.0


class ModelError(ValueError):
    """A model file that cannot be used: which, and why, in one line."""


class ImageError(ValueError):
    """A file that is no readable image: why, in a few words."""


class Opened(NamedTuple):
    """A model file in its runtime.

    Attributes:
        run: images uint8 (N, 3, h, w) -> what the card lists as outputs: boxes, scores and, where they are chosen in the file, classes.
        card: what the file says about itself, JSON.
        runtime: its name and version.
    """

    run: Callable[[np.ndarray], list[np.ndarray]]
    card: Any
    runtime: str


def open_onnx(path: str, threads: int | None) -> Opened:
    """Open an ONNX file with ONNX Runtime."""
    onnxruntime = _need("onnxruntime", path)
    options = onnxruntime.SessionOptions()
    # Errors are raised; warnings of single nodes help nobody.
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        card = session.get_modelmeta().custom_metadata_map.get(CARD)
    except Exception as error:  # The runtime's errors share no type that it would name.
        raise ModelError(f"{path} is not an ONNX file, or damaged; python main.py --export onnx --resume RUN writes one") from error
    return Opened(lambda images: session.run(None, {"images": images}), card, f"onnxruntime {onnxruntime.__version__}")


class Compiled:
    """A graph of OpenVINO, compiled as it is asked: one image alone has a graph of its own size, or of any once sizes differ.

    With its batch fixed it is faster, and right in 8 bits where maps are a single pixel, at which the runtime answers wrongly otherwise.
    """

    def __init__(self, compiling: Callable[[Any], Any], model: Any, constant: Any) -> None:
        """Take what compiles a model, the model as it was read, and the runtime's type of stored values."""
        self._compiling, self._model, self._constant = compiling, model, constant
        self._several: Any = None
        self._alone: Any = None
        self._shape: tuple[int, ...] = ()

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for images uint8 (N, C, h, w)."""
        if len(images) == 1 and self._shape not in (images.shape, ANY_SIZE):
            self._shape = ANY_SIZE if self._shape else images.shape
            self._alone = self._compiling(self._fixed())
        if len(images) != 1 and self._several is None:
            self._several = self._compiling(self._model)
        answer = (self._alone if len(images) == 1 else self._several)(images, share_outputs=True)
        return [np.array(answer[number]) for number in range(len(answer))]

    def _fixed(self) -> Any:
        """Return the model for one image; the sizes of maps that follow from that are written down, since the runtime would lose them."""
        model = self._model.clone()
        taken = model.input(0).get_partial_shape()
        for axis, length in enumerate(self._shape):
            if taken[axis].is_dynamic:
                taken[axis] = length
        model.reshape(taken)
        for op in model.get_ordered_ops():
            if op.get_type_name() == "Reshape" and op.output(0).get_partial_shape().is_static:
                op.input(1).replace_source_output(self._constant(np.array(op.output(0).get_shape(), dtype=np.int64)).output(0))
        return model


def open_openvino(path: str, threads: int | None) -> Opened:
    """Open a graph of OpenVINO, whose weights lie beside it in a .bin file."""
    with open(path, "rb") as file:
        # OpenVINO tries other kinds of files on whatever this is not, each with words of its own.
        is_graph = b"<net" in file.read(1024)
    hint = "is not a graph of OpenVINO, or damaged, or its .bin file is not beside it"
    foreign = ModelError(f"{path} {hint}; python main.py --export openvino --resume RUN writes both")
    openvino = _need("openvino", path)
    if not is_graph:
        raise foreign
    # Without f32, processors with arithmetic of 16 bits use that even for the resizing, and the answers are others.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    card = None
    try:
        core = openvino.Core()
        model = core.read_model(path)
        if model.has_rt_info(["darkroom"]):
            card = model.get_rt_info(["darkroom"]).astype(str)
    except RuntimeError as error:
        raise foreign from error
    compiled = Compiled(lambda each: core.compile_model(each, "CPU", settings), model, openvino.op.Constant)
    return Opened(compiled, card, f"openvino {openvino.__version__.partition('-')[0]}")


def open_torchscript(path: str, threads: int | None) -> Opened:
    """Open a TorchScript file with torch."""
    torch = _need("torch", path)
    if threads:
        torch.set_num_threads(threads)
    extra: dict[str, Any] = {CARD: ""}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.")
            module = torch.jit.load(path, map_location="cpu", _extra_files=extra).eval()
    except (RuntimeError, ValueError, OSError) as error:
        known = "this demo opens .onnx, .xml (OpenVINO) and .pt (TorchScript) files that python main.py --export FORMAT --resume RUN writes"
        raise ModelError(f"{path} is not a TorchScript file; {known}") from error

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [each.numpy() for each in module(torch.from_numpy(images))]

    return Opened(run, extra[CARD], f"torch {torch.__version__}")


# Any other ending is taken for TorchScript.
OPENERS = {".onnx": open_onnx, ".xml": open_openvino}


def _need(name: str, path: str) -> Any:
    """Return a runtime, which is imported only now.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name == name or error.name is None:
            raise ModelError(f"{path} needs the package {name}, which is missing: pip install {name}") from error
        raise ModelError(f"{path} needs the package {name}, which cannot be loaded here: {_reason(error)}") from error


class Box(NamedTuple):
    """An object: its class, how sure the model is, from 0 to 1, and its frame in pixels of the image."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


class Detector:
    """An exported detector.

    Attributes:
        classes: the names.
        white: the value of 16-bit files that the model takes for white; None where it takes all 16 bits.
        card: what the file says about itself: arch, classes, image_size, resize, mean, std, white, boxes, source.
        runtime: name and version of what computes.
    """

    def __init__(self, path: str, threads: int | None = None) -> None:
        """Open the model file `path` on the CPU, with the runtime that its ending names; `threads` None lets that decide.

        Raises:
            ModelError: there is no such file, it is not a detector that `main.py --export` wrote, or its runtime is missing.
        """
        if not os.path.isfile(path):
            raise ModelError(f"there is no model file {path}")
        self._run, card, self.runtime = OPENERS.get(os.path.splitext(path)[1].lower(), open_torchscript)(path, threads)
        self.card = _read_card(path, card)
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        self.white: int | None = self.card.get("white")
        self._height, self._width = self.card["image_size"]

    def boxes(self, image: np.ndarray, confidence: float | None = None) -> list[Box]:
        """Return the objects of an image uint8 (H, W, 3) RGB, the surest first.

        Args:
            image: of any size.
            confidence: least score; None takes that of the file. A file that chooses boxes itself has none of a lower score.

        Raises:
            ValueError: the image has another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is uint8 (H, W, 3) RGB, not {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        if not self.card.get("any_size", True):
            image = fit(image, self._height, self._width, self.card["resize"])
        outputs = self._run(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
        choice = self.card["boxes"]
        least = choice["confidence"] if confidence is None else confidence
        if len(outputs) == 2:
            corners, scores, labels = choose(outputs[0][0], outputs[1][0], least, choice)
        else:
            corners, scores, labels = (each[0] for each in outputs)
            kept = (labels >= 0) & (scores >= np.float32(least))
            corners, scores, labels = corners[kept], scores[kept], labels[kept]
        corners = self._back(corners, height, width)
        found = zip(corners.tolist(), scores.tolist(), labels.tolist(), strict=True)
        return [Box(self.classes[label], score, *place) for place, score, label in found if place[2] > place[0] and place[3] > place[1]]

    def _back(self, corners: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return corners (K, 4) in pixels of an image, from those of what the network saw of it."""
        new_h, new_w = self._height, self._width
        if self.card["resize"] != "stretch":
            new_h, new_w = fitted_size(height, width, self._height, self._width)
        start = np.array([(self._width - new_w) // 2, (self._height - new_h) // 2] * 2)
        scale = np.array([width / new_w, height / new_h] * 2)
        return ((corners - start) * scale).clip(0, [width, height, width, height])


def choose(corners: np.ndarray, scores: np.ndarray, least: float, choice: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return corners (K, 4), scores (K,) and classes (K,) of the answered boxes, the surest first.

    Args:
        corners: left, top, right, bottom of every place, (A, 4).
        scores: of every place and class, (A, C).
        least: the least score.
        choice: of the file: overlap, most and agnostic.
    """
    if choice["agnostic"]:
        scores = np.where(scores == scores.max(1, keepdims=True), scores, -1)
    rows, labels = np.nonzero(scores >= np.float32(least))
    values = scores[rows, labels]
    order = np.argsort(-values, kind="stable")
    places, values, labels = corners[rows[order]].astype(np.float64), values[order], labels[order]
    left, kept = np.arange(len(values)), []
    areas = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    while len(left) and len(kept) < choice["most"]:
        first, left = left[0], left[1:]
        kept.append(first)
        sides = np.minimum(places[first, 2:], places[left, 2:]) - np.maximum(places[first, :2], places[left, :2])
        shared = sides.clip(0).prod(1)
        double = shared > choice["overlap"] * (areas[first] + areas[left] - shared)
        if not choice["agnostic"]:
            double &= labels[left] == labels[first]
        left = left[~double]
    return places[kept], values[kept], labels[kept]


def fitted_size(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of an image of h x w pixels inside height x width, with its aspect ratio kept."""
    if w * height >= h * width:
        return min(height, max(1, (2 * h * width + w) // (2 * w))), width
    return height, min(width, max(1, (2 * w * height + h) // (2 * h)))


def _read_card(path: str, text: Any) -> dict[str, Any]:
    foreign = ModelError(f"{path} can be opened, but is not one that python main.py --export wrote")
    try:
        card = json.loads(text)
    except (ValueError, TypeError) as error:
        raise foreign from error
    if not isinstance(card, dict) or not isinstance(card.get("classes"), list):
        raise foreign
    if card.get("format") != FORMAT:
        raise ModelError(f"{path} has format {card.get('format')}, this demo reads {FORMAT}; take the demo that came with the exporter")
    # The first files, of classifiers, said nothing of their task.
    if (task := card.get("task", "classify")) != "detect":
        raise _of_other_task(path, task)
    return card


def _of_other_task(path: str, task: Any) -> ModelError:
    """Return what is said of a file whose task another program is for."""
    kind, program = OPENED_BY.get(str(task), ("made for another task", "python main.py --predict IMAGE --resume FILE"))
    return ModelError(f"{path} is {kind} (its task is {task}), which this demo does not open; {program} does")


def fit(image: np.ndarray, height: int, width: int, resize: str) -> np.ndarray:
    """Bring an image, uint8 (h, w, 3), to (height, width, 3), for files without geometry; the pixels are those of training.

    Args:
        image: of any size.
        height, width: of the model.
        resize: 'fit' pads with black around the center, 'stretch' does not keep the aspect ratio.
    """
    h, w = image.shape[:2]
    new_h, new_w = fitted_size(h, w, height, width) if resize == "fit" else (height, width)
    resized = _resize_rows(image.transpose(1, 0, 2), new_w).transpose(1, 0, 2)
    fitted = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - new_h) // 2, (width - new_w) // 2
    fitted[top : top + new_h, left : left + new_w] = _resize_rows(resized, new_h)
    return fitted


def _resize_rows(image: np.ndarray, target: int) -> np.ndarray:
    """Resize the first axis of uint8 (h, w, 3): bilinear with antialiasing, by weights that are whole numbers of 16 bits."""
    source = len(image)
    if source == target:
        return image
    place, reach = np.arange(target)[:, None], max(source, target)
    first = np.maximum(0, np.arange(target) * source // target - source // target - 1)
    taken = first[:, None] + np.arange(3 * (reach // target) + 6)
    # Distances in whole numbers: 2 x target steps a pixel.
    heights = np.maximum(0, 2 * reach - np.abs((2 * taken + 1) * target - source * (2 * place + 1))) * (taken < source)
    shares = heights / heights.sum(1, keepdims=True)
    bits = max(number for number in range(1, 23) if int(shares.max() * 2**number + 0.5) < 2**15)
    weights = np.floor(shares * 2**bits + 0.5)
    rows = np.empty((target, *image.shape[1:]), dtype=np.uint8)
    for number, (weight, start) in enumerate(zip(weights, first.tolist(), strict=True)):
        part = image[start : start + len(weight)]
        # Whole numbers, which floats of 64 bits hold exactly.
        total = weight[: len(part)] @ part.reshape(len(part), -1).astype(np.float64)
        rows[number] = np.clip((total + 2 ** (bits - 1)) // 2**bits, 0, 255).reshape(image.shape[1:])
    return rows


def read_image(path: str, *, white: int | None = None) -> np.ndarray:
    """Return the first frame of an image file as uint8 (H, W, 3) RGB.

    The EXIF orientation is applied, transparent pixels are laid on white, gray values of 16 bits are scaled to 8 bits: `white`, which
    a Detector knows, becomes 255.

    Raises:
        ImageError: the file is missing, damaged, or no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if white not in (None, FULL) and any(";16" in str(tile[3]) for tile in image.tile) and not image.mode.startswith("I"):
                    raise ImageError("color of 16 bits, which this demo does not read; convert it to 8 bits")
                image.load()
                return _to_rgb(image, white)
    except UnidentifiedImageError:
        raise ImageError("not an image, or damaged") from None
    except ImageError:
        raise
    except Exception as error:  # Decoders raise errors of many types on damaged files; all mean the same here.
        raise ImageError(_reason(error)) from error


def _to_rgb(image: Any, white: int | None) -> np.ndarray:
    """Return what Pillow has loaded as uint8 (H, W, 3) RGB."""
    from PIL import Image

    turn = _turn(image)
    if image.mode == "F":
        raise ImageError("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > FULL:
            raise ImageError("32-bit pixels, whose range is unknown")
        image = Image.fromarray(_to_eight_bits(values, white))
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


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def class_colors(count: int) -> np.ndarray:
    """Return a color a class, uint8 (count, 3), as the program has them: the hue turns by the golden ratio."""
    levels = ((0.75, 0.90), (0.55, 0.65), (0.90, 0.75))
    colors = [colorsys.hsv_to_rgb((0.05 + 0.618034 * number) % 1, *levels[number % len(levels)]) for number in range(count)]
    return np.rint(255 * np.array(colors).reshape(-1, 3)).astype(np.uint8)


def framed(image: np.ndarray, boxes: Sequence[Box], classes: Sequence[str]) -> np.ndarray:
    """Return the image with a frame, a name and a score for every object, uint8 (H, W, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    canvas, longer = ImageDraw.Draw(picture), max(picture.size)
    size = max(10, round(LETTER * longer))
    font, colors = ImageFont.load_default(size), class_colors(len(classes))
    for box in reversed(boxes):
        color = tuple(int(value) for value in colors[list(classes).index(box.label)])
        place = (box.left, box.top, max(box.left, box.right - 1), max(box.top, box.bottom - 1))
        canvas.rectangle(place, outline=color, width=max(1, round(FRAME * longer)))
        text, top = f"{box.label} {box.score:.2f}", box.top - 1.25 * size if box.top >= 1.25 * size else box.top
        canvas.rectangle((box.left, top, box.left + font.getlength(text) + 4, top + 1.25 * size), fill=color)
        canvas.text((box.left + 2, top), text, fill=(0, 0, 0) if sum(color) > 380 else (255, 255, 255), font=font)
    return np.asarray(picture)


def write_picture(folder: str, name: str, picture: np.ndarray) -> None:
    """Write NAME-boxes.png; a name may hold folders."""
    from PIL import Image

    path = os.path.join(folder, f"{name}-boxes.png")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(picture).save(path)


def find_images(places: Sequence[str]) -> Iterator[str]:
    """Yield the files that are named, and the images inside the folders that are."""
    for place in places:
        if not os.path.isdir(place):
            yield place
            continue
        for folder, folders, files in os.walk(place):
            folders.sort()
            yield from (os.path.join(folder, name) for name in sorted(files) if name.lower().endswith(SUFFIXES))


def holds(place: str, folder: str) -> bool:
    """Return whether a folder is inside a place, where its pictures would be read as images the next time."""
    place, folder = os.path.realpath(place), os.path.realpath(folder)
    return folder == place or folder.startswith(os.path.join(place, ""))


def name_pictures(places: Sequence[str]) -> dict[str, str]:
    """Return the images of `find_images`, and for each a name of its own for its pictures: where it lies in the folder that was given.

    Endings are left out where no two images would share a name, upper and lower case being one; what they do not tell apart is numbered.
    """
    named: dict[str, str] = {}
    for place in places:
        for path in find_images([place]):
            named.setdefault(path, os.path.relpath(path, place) if os.path.isdir(place) else os.path.basename(path))
    stems = Counter(os.path.splitext(name)[0].lower() for name in named.values())
    taken: set[str] = set()
    for path, name in named.items():
        stem = os.path.splitext(name)[0]
        wanted = found = stem if stems[stem.lower()] == 1 else name
        number = 1
        while found.lower() in taken:
            number += 1
            found = f"{wanted}-{number}"
        taken.add(found.lower())
        named[path] = found
    return named


def benchmark(detector: Detector, image: np.ndarray, path: str) -> str:
    """Return how long one image takes, from its pixels to its boxes."""
    times = []
    end = time.perf_counter() + BENCHMARK_SECONDS
    detector.boxes(image)
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        detector.boxes(image)
        times.append(1e3 * (time.perf_counter() - start))
    height, width = image.shape[:2]
    return f"{np.median(times):.1f} ms for {path} ({width}x{height}), median of {len(times)} runs, {detector.runtime}"


def answer(detector: Detector, options: argparse.Namespace) -> int:
    """Print what is found on every image; return 0, or 1 when one could not be read, or 2 when there was nothing to do."""
    found = failed = 0
    for path, name in name_pictures(options.images).items():
        try:
            image = read_image(path, white=detector.white)
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed += 1
            continue
        found += 1
        if options.benchmark:
            print(benchmark(detector, image, path))
            break
        boxes = detector.boxes(image, options.conf)
        if options.out:
            write_picture(options.out, name, framed(image, boxes, detector.classes))
        if options.json:
            print(json.dumps({"path": path, "boxes": [box._asdict() for box in boxes]}))
        else:
            named = (f"{box.label} {box.score:.0%} ({box.left:.0f}, {box.top:.0f}, {box.right:.0f}, {box.bottom:.0f})" for box in boxes)
            print(f"{path}: " + (", ".join(named) or "nothing"))
    if not found and not failed:
        print(f"no images in {', '.join(options.images)}", file=sys.stderr)
        return 2
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="file that python main.py --export onnx, openvino or torchscript wrote")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("--out", metavar="DIR", help="write pictures with frames into this folder")
    parser.add_argument("--json", action="store_true", help="one line of JSON an image: its boxes")
    parser.add_argument("--conf", type=float, metavar="P", help="least score of a box (default: that of the file)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the runtime")
    parser.add_argument("--benchmark", action="store_true", help="tell the time that the first image takes")
    options = parser.parse_args()
    if options.conf is not None and not 0 <= options.conf <= 1:
        parser.error(f"--conf {options.conf:g} is a score, from 0 to 1")
    try:
        import PIL  # noqa: F401
    except ImportError:
        print("the package Pillow is missing: pip install Pillow", file=sys.stderr)
        return 2
    if inside := [place for place in options.images if options.out and holds(place, options.out)]:
        print(f"--out {options.out} is in {inside[0]}, whose images are read: name a folder outside of it", file=sys.stderr)
        return 2
    try:
        return answer(Detector(options.model, options.threads), options)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if not options.out:
            raise
        print(f"cannot write in {options.out}: {_reason(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
