"""Classify images, videos or a camera with one exported file: a tutorial that you can copy to a device.

This file needs python3.10 or later, numpy, Pillow (10.1 or later) or OpenCV, and the runtime of the model file: onnxruntime for
.onnx, openvino for .xml with its .bin, torch for .pt. It needs nothing else of the project it comes from.

1. Where the model was trained, write the file (it says where):

       python main.py --export onnx --resume runs/classify/NAME

2. Copy that file and this one to the device, and look at some pictures, a folder of them, a video, or camera 0:

       python classifier.py model.onnx photo.jpg
       python classifier.py model.onnx holiday/ --top 3
       python classifier.py model.onnx holiday/ --json > answers.jsonl
       python classifier.py model.onnx film.mp4 --frames 2
       python classifier.py model.onnx 0
       python classifier.py model.onnx photo.jpg --benchmark

   A model that was trained on images with several labels names all labels that reach their threshold. One that was given
   a target (`--evaluation --calibrate --target ...`) says "unsure" where its answer may be wrong too often.

3. Or use it from your own program:

       from classifier import Classifier, read_image

       classifier = Classifier("model.onnx")
       for label, probability in classifier.labels(read_image("photo.jpg", white=classifier.white, bands=classifier.bands)):
           print(label, probability)

The model file holds the class names and does the resizing, the normalization and the softmax or
sigmoid itself, so the labels are those of `python main.py --evaluation`. With Pillow the pixels
are those of training, bit for bit; with OpenCV alone they can differ a little.
"""

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

try:
    import numpy as np
except ImportError:
    if __name__ != "__main__":
        raise
    print("the package numpy is missing: pip install numpy", file=sys.stderr)
    sys.exit(2)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CARD = "darkroom.json"
# The largest value of 16 bits.
FULL = 65535
NO_FOURTH = "it has no fourth channel, which this model reads; save it as RGBA"
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
BATCH_VALUES = 3 * 2**22
BATCH_IMAGES = 64
# Of cameras and videos that do not say how many frames a second they have.
USUAL_RATE = 30.0
# How long --benchmark looks, in seconds, and how many images go together.
BENCHMARK_SECONDS, BENCHMARK_BATCH = 3.0, 8

Answer = list[tuple[str, float]]


class ModelError(ValueError):
    """A model file that cannot be used: which, and why, in one line."""


class ImageError(ValueError):
    """A file that is no readable image: why, in a few words."""


class Opened(NamedTuple):
    """A model file in its runtime.

    Attributes:
        run: images uint8 (N, 3, h, w) -> probabilities float32 (N, C).
        card: what the file says about itself, JSON.
        runtime: its name and version.
    """

    run: Callable[[np.ndarray], np.ndarray]
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
    return Opened(lambda images: session.run(["probabilities"], {"images": images})[0], card, f"onnxruntime {onnxruntime.__version__}")


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
    return Opened(lambda images: compiled(images)[0], card, f"openvino {openvino.__version__.partition('-')[0]}")


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

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            answer = module(torch.from_numpy(images))
        return (answer[0] if isinstance(answer, tuple) else answer).float().numpy()

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


class Classifier:
    """An exported model.

    Attributes:
        classes: the names, in the order of the probabilities.
        thresholds: probabilities (C,) from which on each label is named; None where the most probable one is the answer.
        reject: probabilities (C,) below which that answer is no answer; None where it always is one.
        white: the value of 16-bit files that the model takes for white; None where it takes all 16 bits.
        bands: channels that the model reads from a file: 3, or 4 with the alpha or other fourth channel of RGBA files.
        card: what the file says about itself: arch, classes, image_size, resize, mean, std, white, activation, source.
        runtime: name and version of what computes.
    """

    def __init__(self, path: str, threads: int | None = None) -> None:
        """Open the model file `path` on the CPU, with the runtime that its ending names; `threads` None lets that decide.

        Raises:
            ModelError: there is no such file, it is not one that `main.py --export` wrote, or its runtime is missing.
        """
        if not os.path.isfile(path):
            raise ModelError(f"there is no model file {path}")
        self._run, card, self.runtime = OPENERS.get(os.path.splitext(path)[1].lower(), open_torchscript)(path, threads)
        self.card = _read_card(path, card)
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        thresholds = self.card.get("thresholds")
        self.thresholds = None if thresholds is None else np.array(thresholds, dtype=np.float64)
        reject = self.card.get("reject")
        self.reject = None if reject is None else np.array(reject, dtype=np.float64)
        self.white: int | None = self.card.get("white")
        self.bands = max(3, len(self.card.get("mean", ())))
        # A file without geometry takes images of its own size alone.
        self._fits: tuple[int, int, str] | None = None
        if not self.card.get("any_size", True):
            height, width = self.card["image_size"]
            self._fits = height, width, self.card["resize"]

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return the (C,) float32 probabilities of one image, uint8 (H, W, bands) RGB of any size."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the (N, C) float32 probabilities of images of equal size, uint8 (H, W, bands) RGB.

        Raises:
            ValueError: an image has another type or shape.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != self.bands:
                raise ValueError(f"an image is uint8 (H, W, {self.bands}) RGB{'A' * (self.bands - 3)}, not {image.dtype} {image.shape}")
        fitted = images if self._fits is None else [fit(image, *self._fits) for image in images]
        return self._run(np.ascontiguousarray(np.stack(fitted).transpose(0, 3, 1, 2)))

    def labels(self, image: np.ndarray) -> Answer:
        """Return the (label, probability) that the model gives an image, the best first: one, several, or none when unsure."""
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
    foreign = ModelError(f"{path} can be opened, but is not one that python main.py --export wrote")
    try:
        card = json.loads(text)
    except (ValueError, TypeError) as error:
        raise foreign from error
    if not isinstance(card, dict) or not isinstance(card.get("classes"), list):
        raise foreign
    if card.get("format") != FORMAT:
        raise ModelError(f"{path} has format {card.get('format')}, this demo reads {FORMAT}; take the demo that came with the exporter")
    # The first files said nothing of their task, and a task of one's own may be that of a classifier, too.
    task = card.get("task")
    if task in ("segment", "detect", "anomaly") or "probabilities" not in card.get("outputs", ["probabilities"]):
        raise _of_other_task(path, task)
    thresholds = card.get("thresholds")
    if any(values is not None and not _are_numbers(values, len(card["classes"])) for values in (thresholds, card.get("reject"))):
        raise foreign
    return card


def _of_other_task(path: str, task: Any) -> ModelError:
    """Return what is said of a file whose task another program is for."""
    kind, program = OPENED_BY.get(str(task), ("made for another task", "python main.py --predict IMAGE --resume FILE"))
    return ModelError(f"{path} is {kind} (its task is {task}), which this demo does not open; {program} does")


def _are_numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(value, int | float) for value in values)


def fit(image: np.ndarray, height: int, width: int, resize: str) -> np.ndarray:
    """Bring an image, uint8 (h, w, C), to (height, width, C), for files without geometry; the pixels are those of training.

    Args:
        image: of any size.
        height, width: of the model.
        resize: 'fit' pads with black around the center, 'crop' cuts the largest centered part of the aspect ratio, 'stretch' does neither.
    """
    h, w = image.shape[:2]
    new_h, new_w = height, width
    if resize == "fit" and w * height >= h * width:
        new_h = min(height, max(1, (2 * h * width + w) // (2 * w)))
    elif resize == "fit":
        new_w = min(width, max(1, (2 * w * height + h) // (2 * h)))
    elif resize == "crop" and w * height >= h * width:
        keep = min(w, max(1, (2 * h * width + height) // (2 * height)))
        image = image[:, (w - keep) // 2 :][:, :keep]
    elif resize == "crop":
        keep = min(h, max(1, (2 * w * height + width) // (2 * width)))
        image = image[(h - keep) // 2 :][:keep]
    resized = _resize_rows(image.transpose(1, 0, 2), new_w).transpose(1, 0, 2)
    fitted = np.zeros((height, width, image.shape[2]), dtype=np.uint8)
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


def read_image(path: str, *, white: int | None = None, bands: int = 3) -> np.ndarray:
    """Return the first frame of an image file as uint8 (H, W, bands) RGB.

    The EXIF orientation is applied, transparent pixels are laid on white, 16-bit values are scaled to 8 bits: `white`, which
    a Classifier knows, becomes 255. Color of 16 bits needs OpenCV for that. With 4 bands, which it knows, too, nothing is laid on
    white, and the fourth channel of the file comes behind the colors.

    Raises:
        ImageError: the file is missing, damaged, or no image.
    """
    try:
        pixels = read_with_pillow(path, white=white, bands=bands)
    except ImportError:
        pixels = None
    return read_with_opencv(path, white=white, bands=bands) if pixels is None else pixels


def read_with_pillow(path: str, *, white: int | None = None, bands: int = 3) -> np.ndarray | None:
    """Read an image as `read_image` does; None stands for a kind of file that Pillow does not know."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if bands == 4 and image.format == "TIFF" and image.mode == "RGB" and getattr(image, "tag_v2", {}).get(277) == 4:
                    # Pillow leaves out a fourth channel that is not called alpha, such as infrared.
                    return None
                deep = white not in (None, FULL) and any(";16" in str(tile[3]) for tile in image.tile)
                image.load()
                return _to_pixels(image, white, path if deep else "", bands)
    except UnidentifiedImageError:
        return None
    except ImageError:
        raise
    except Exception as error:  # Decoders raise errors of many types on damaged files; all mean the same here.
        raise ImageError(_reason(error)) from error


def _to_pixels(image: Any, white: int | None, deep: str, bands: int) -> np.ndarray:
    """Return what Pillow has loaded as uint8 (H, W, bands) RGB; `deep` is the file, where it has color of more than 8 bits."""
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
    if bands == 4:
        if image.mode != "RGBX" and not image.has_transparency_data:
            raise ImageError(NO_FOURTH)
        image = image if image.mode == "RGBX" else image.convert("RGBA")
        return np.array(image if turn is None else image.transpose(turn))
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


def read_with_opencv(path: str, *, white: int | None = None, bands: int = 3) -> np.ndarray:
    """Read an image as `read_image` does; transparent images are not turned by their EXIF orientation.

    Raises:
        ImageError: the file is missing, or OpenCV cannot read it, or there is no OpenCV.
    """
    pixels = _decode(path, "IMREAD_UNCHANGED")
    if pixels.ndim < 3 or pixels.shape[2] != 4:
        if bands == 4:
            raise ImageError(NO_FOURTH)
        # The orientation is applied only by a decoder that is asked for color.
        pixels = _decode(path, "IMREAD_COLOR", "IMREAD_ANYDEPTH")
    if pixels.dtype == np.uint16 and pixels.shape[2] == 4:
        # Transparency is no color, and keeps its own range.
        pixels = np.concatenate([_to_eight_bits(pixels[:, :, :3], white), _to_eight_bits(pixels[:, :, 3:], None)], axis=2)
    elif pixels.dtype == np.uint16:
        pixels = _to_eight_bits(pixels, white)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{pixels.dtype} pixels, whose range is unknown")
    if bands == 4:
        return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3]])
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


def is_moving(path: str) -> bool:
    """Whether a name means a video file, or a camera by its number."""
    return path.lower().endswith(VIDEOS) or (path.isdecimal() and not os.path.exists(path))


def read_frames(source: str, *, frames: float = 1.0, limit: int | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (SOURCE#SECONDS, image) of a video, or of a camera until it is stopped; images are uint8 (h, w, 3) RGB.

    Args:
        source: a video file, or the number of a camera.
        frames: how many a second; never more than there are.
        limit: most frames to take.

    Raises:
        ImageError: it cannot be opened, or there is no OpenCV.
    """
    try:
        # FFmpeg writes to the terminal past everyone; what is wrong is told in one line of ours.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
        import cv2
    except ImportError as error:
        raise ImageError("videos and cameras need OpenCV: pip install opencv-python-headless") from error
    is_camera = source.isdecimal() and not os.path.exists(source)
    capture = cv2.VideoCapture(int(source) if is_camera else source)
    try:
        if not capture.isOpened():
            raise ImageError("there is no such camera" if is_camera else "there is no such file, or it is no video")
        own_rate = capture.get(cv2.CAP_PROP_FPS) or USUAL_RATE
        step = max(1.0, own_rate / frames)
        number = taken = 0
        while (limit is None or taken < limit) and capture.grab():
            if number >= round(taken * step):
                done, pixels = capture.retrieve()
                if not done:
                    break
                yield f"{'camera ' if is_camera else ''}{source}#{number / own_rate:.2f}", np.ascontiguousarray(pixels[:, :, ::-1])
                taken += 1
            number += 1
        if not taken:
            raise ImageError("no frame could be read")
    finally:
        capture.release()


def classify(
    classifier: Classifier, paths: Iterable[str], *, frames: float = 1.0, limit: int | None = None
) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Yield (path, probabilities, '') for every image or frame in order, or (path, None, reason) where it cannot be read.

    Neighboring images of equal size go through the model together; a frame never waits for others.
    """
    waiting: list[tuple[str, np.ndarray]] = []

    def flush() -> Iterator[tuple[str, np.ndarray | None, str]]:
        if waiting:
            answers = classifier.predict_batch([image for _, image in waiting])
            yield from ((path, answer, "") for (path, _), answer in zip(waiting, answers, strict=True))
            waiting.clear()

    for path in paths:
        if is_moving(path):
            yield from flush()
            try:
                if classifier.bands != 3:
                    raise ImageError("this model reads four channels, which frames do not have")
                for name, frame in read_frames(path, frames=frames, limit=limit):
                    yield name, classifier.predict(frame), ""
            except ImageError as error:
                yield path, None, str(error)
            continue
        try:
            image = read_image(path, white=classifier.white, bands=classifier.bands)
        except ImageError as error:
            yield from flush()
            yield path, None, str(error)
            continue
        full = len(waiting) >= min(BATCH_IMAGES, BATCH_VALUES // image.size)
        if waiting and (full or image.shape != waiting[0][1].shape):
            yield from flush()
        waiting.append((path, image))
    yield from flush()


def measure(classifier: Classifier, path: str, seconds: float = BENCHMARK_SECONDS) -> dict[str, Any]:
    """Return how fast the model answers for an image file: milliseconds for one image alone, and images a second, several together.

    Raises:
        ImageError: the file cannot be read.
    """

    def times(work: Callable[[], object]) -> np.ndarray:
        found, end = [], time.perf_counter() + seconds / 3
        while len(found) < 10 or time.perf_counter() < end:
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
        return np.array(found)

    image = read_image(path, white=classifier.white, bands=classifier.bands)
    start = time.perf_counter()
    classifier.predict(image)
    first = time.perf_counter() - start
    reading = times(lambda: read_image(path, white=classifier.white, bands=classifier.bands))
    alone, together = times(lambda: classifier.predict(image)), times(lambda: classifier.predict_batch([image] * BENCHMARK_BATCH))
    return {
        "runtime": classifier.runtime,
        "image": path,
        "pixels": [image.shape[1], image.shape[0]],
        "reading_ms": 1e3 * float(np.median(reading)),
        "first_ms": 1e3 * first,
        "median_ms": 1e3 * float(np.median(alone)),
        "p95_ms": 1e3 * float(np.quantile(alone, 0.95)),
        "batch": BENCHMARK_BATCH,
        "images_per_second": BENCHMARK_BATCH / float(np.median(together)),
    }


def _benchmark(classifier: Classifier, path: str, opening: float, args: argparse.Namespace) -> int:
    """Print what `measure` finds."""
    if is_moving(path):
        return _complain(f"--benchmark takes an image file, not {path}", 2)
    try:
        found = {"model": args.model, "threads": args.threads, "opening_ms": 1e3 * opening, **measure(classifier, path)}
    except ImageError as error:
        return _complain(f"{_printable(path)}: {error}", 2)
    if args.json:
        print(json.dumps(found))
        return 0
    threads = f"{args.threads} threads" if args.threads else "as many threads as it takes"
    print(f"{args.model} with {found['runtime']}, {threads}")
    print(f"opened in {found['opening_ms']:.0f} ms, first answer after {found['first_ms']:.0f} ms more")
    print(f"{_printable(path)}, {found['pixels'][0]} x {found['pixels'][1]} pixels: read in {found['reading_ms']:.1f} ms")
    print(f"one image     median {found['median_ms']:.2f} ms, 95% within {found['p95_ms']:.2f} ms")
    print(f"{found['batch']} together    {found['images_per_second']:.1f} images/s")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the flags."""
    parser = argparse.ArgumentParser(
        description="Classify images with a file that python main.py --export wrote: .onnx, .xml (OpenVINO) or .pt (TorchScript).",
        epilog=f"A folder is searched, with all folders in it, for {' '.join(SUFFIXES)}. "
        "Without --json: a line an image: path, then label and probability of the best classes. With --json: a JSON object a line, "
        '{"path": ..., "top": [{"label": ..., "probability": ...}, ...]}, or {"path": ..., "error": ...} for an unreadable image. '
        'A model with thresholds names all labels that reach theirs, or "-" for none; in JSON they are "labels". '
        "With --top K it names the K best instead, and in JSON both. "
        'A model that may reject says "unsure" behind the classes of an image that it rejects, and "rejected" in JSON. '
        "Exit code: 0 all done; 1 an image could not be read, the others are done; 2 no usable model or no image.",
    )
    parser.add_argument("model", metavar="MODEL", help="file of the model; its ending names the runtime")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE_OR_FOLDER",
        help="image files, folders to search through, video files, and numbers of cameras, which go on until Ctrl-C",
    )
    default = "default: 3, or all that reach their threshold"
    parser.add_argument("--top", type=_positive, metavar="K", help=f"number of classes to name ({default})")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of the runtime (default: it decides)")
    parser.add_argument("--frames", type=_rate, default=1.0, metavar="F", help="frames a second of videos and cameras (default: 1)")
    parser.add_argument("--limit", type=_positive, metavar="N", help="most frames of each video and camera (default: all)")
    parser.add_argument("--benchmark", action="store_true", help="measure how fast the model answers for the first image, in a few seconds")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when an image was unreadable, or 2 when there was nothing to do."""
    given = sys.argv[1:] if argv is None else list(argv)
    if not given:
        name = os.path.basename(sys.argv[0]) or "classifier.py"
        return _complain(
            f"name a model file and images, such as: python {name} model.onnx photo.jpg "
            f"(python main.py --export onnx --resume RUN writes the model file; python {name} --help says more)",
            2,
        )
    args = build_parser().parse_args(given)
    if not any(_is_installed(name) for name in ("PIL", "cv2")):
        return _complain("reading images needs the package pillow, which is missing: pip install pillow", 2)
    start = time.perf_counter()
    try:
        classifier = Classifier(args.model, args.threads)
    except ModelError as error:
        return _complain(str(error), 2)
    opening = time.perf_counter() - start
    paths = find_images(args.images)
    if not paths:
        return _complain(f"no images in {', '.join(args.images)}; a folder is searched for {' '.join(SUFFIXES)}", 2)
    if args.benchmark:
        return _benchmark(classifier, paths[0], opening, args)
    return _print_answers(classifier, paths, args)


def _print_answers(classifier: Classifier, paths: Sequence[str], args: argparse.Namespace) -> int:
    """Print a line an image; return 0, or 1 when one was unreadable."""
    path_width, label_width = max(len(_printable(path)) for path in paths), max(map(len, classifier.classes))
    code = 0
    for path, probabilities, reason in classify(classifier, paths, frames=args.frames, limit=args.limit):
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
            cells = [f"{label:<{label_width}} {100 * probability:5.1f}%" for label, probability in answer]
            cells += ["unsure"] if rejected.get("rejected") else []
            print(f"{_printable(path):<{path_width}}", *(cells or ["-"]), sep="  ", flush=True)
    return code


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:
        # A module that another one put in its place.
        return sys.modules.get(name) is not None


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


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("a number above zero is wanted")
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
