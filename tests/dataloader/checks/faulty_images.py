"""Generated pictures with shapes and soft colors, so that perceptual hashes have something to see; and a data set full of faults."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance


def scene(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return an RGB picture of `size` (width, height): soft colors, and a few shapes on them."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(60, 220, (4, 5, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for number in range(5):
        x, y = rng.uniform(0, 0.8, 2) * size
        width, height = rng.uniform(0.15, 0.5, 2) * size
        color = tuple(rng.integers(0, 256, 3).tolist())
        (pen.ellipse if number % 2 else pen.rectangle)((x, y, x + width, y + height), fill=color)
    return image


def save(image: Image.Image, path: Path, **options: object) -> Path:
    """Write an image, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header promises width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def turned(image: Image.Image) -> bytes:
    """Return a JPEG that EXIF says to turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def write_faulty(root: Path, *, size: tuple[int, int] = (96, 72), each: int = 12) -> Path:
    """Write train/, val/ and test/ of three classes, with a fault of every kind."""
    seed = 0
    for split, count in (("train", each), ("val", 4), ("test", 4)):
        for label in ("boat", "house", "tree"):
            for number in range(count if label != "tree" or split != "train" else max(1, each // 4)):
                save(scene(seed, size), root / split / label / f"{label}{number:02d}.jpg", quality=90)
                seed += 1
    train, test = root / "train", root / "test"
    good = (train / "boat" / "boat00.jpg").read_bytes()
    # Leakage: byte for byte, and as a smaller, darker version.
    (test / "boat" / "again.jpg").write_bytes(good)
    twin = Image.open(train / "house" / "house01.jpg")
    save(
        ImageEnhance.Brightness(twin.resize((size[0] * 2 // 3, size[1] * 2 // 3))).enhance(0.9), test / "house" / "smaller.jpg", quality=60
    )
    # A conflict, and a copy.
    (train / "tree" / "ship.jpg").write_bytes((train / "boat" / "boat02.jpg").read_bytes())
    (train / "house" / "copy.jpg").write_bytes((train / "house" / "house03.jpg").read_bytes())
    # Files that cannot be read.
    (train / "boat" / "empty.jpg").touch()
    (train / "boat" / "text.jpg").write_text("not an image at all")
    (train / "boat" / "cut.jpg").write_bytes(good[: len(good) // 2])
    (train / "boat" / "huge.png").write_bytes(bomb(30_000, 30_000))
    os.mkfifo(train / "boat" / "pipe.jpg")
    (train / "boat" / "loop.jpg").symlink_to(train / "boat" / "loop.jpg")
    # Odd ones that can.
    save(scene(901, size), train / "boat" / "really_png.jpg", format="PNG")
    save(scene(902, size).convert("CMYK"), train / "house" / "print.jpg")
    save(scene(903, size).convert("P"), train / "house" / "palette.png")
    save(scene(904, size).convert("RGBA"), train / "house" / "clear.png")
    save(Image.fromarray(np.asarray(scene(905, size).convert("L")).astype(np.uint16) * 257), train / "house" / "deep.png")
    save(scene(906, size), train / "house" / "moving.webp", save_all=True, append_images=[scene(907, size)])
    (train / "house" / "lying.jpg").write_bytes(turned(scene(908, size)))
    save(Image.new("RGB", size, (10, 90, 200)), train / "house" / "blue.png")
    save(scene(909, (10, 8)), train / "house" / "icon.png")
    save(scene(910, (size[0] * 5, size[1] // 2)), train / "house" / "strip.jpg")
    (train / "house" / "phone.heic").write_bytes(b"no image that is read here")
    return root
