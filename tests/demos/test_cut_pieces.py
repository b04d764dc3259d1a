"""Pieces are cut where --predict says, as squares that lie in the image."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demos.cut_pieces import found_boxes, square

DEMO = Path(__file__).parents[2] / "demos" / "cut_pieces.py"


@pytest.mark.parametrize("box", [(0, 0, 4, 3), (50, 30, 10, 8), (20, 5, 12, 30)])
def test_a_piece_is_a_square_in_the_image_around_the_box(box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = square(box, (60, 40), margin=0.25, least=8)
    assert right - left == bottom - top == max(8, round(1.25 * max(box[2:])))
    assert (0 <= left <= box[0], 0 <= top <= box[1]) == (True, True)
    assert (box[0] + box[2] <= right <= 60, box[1] + box[3] <= bottom <= 40) == (True, True)


def test_a_piece_as_large_as_the_image_ends_at_its_border() -> None:
    assert square((10, 0, 40, 20), (60, 20), margin=0.5, least=8) == (0, 0, 60, 20)


@pytest.mark.parametrize("kind", ["regions.json", "defects.json"])
def test_what_either_task_has_found_is_cut_out(tmp_path: Path, kind: str) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:18, 20:28] = 255
    Image.fromarray(image).save(tmp_path / "part.png")
    path = str(tmp_path / "part.png")
    if kind == "regions.json":
        content = {
            "images": [{"id": 7, "file_name": path}],
            "annotations": [{"image_id": 7, "bbox": [20, 10, 8, 8]}],
        }
    else:
        content = {"images": [{"path": path, "defects": [{"box": [20, 10, 8, 8]}]}]}
    assert dict(found_boxes(content)) == {path: [(20, 10, 8, 8)]}
    (tmp_path / kind).write_text(json.dumps(content))
    command = [sys.executable, DEMO, tmp_path / kind, tmp_path / "pieces", "--margin", "0", "--least", "8"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"pieces: 1, of 1 images, in {tmp_path / 'pieces'}\n")
    assert (np.asarray(Image.open(tmp_path / "pieces" / "part-1.png")) == 255).all()
    (tmp_path / "part.png").unlink()
    lost = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)
    assert "--images" in lost.stderr
