"""A network of four channels, trained from a cache on disk, is served: the fourth channel decides in both."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.applications.conftest import Call, read_rows, tiny
from tests.applications.training.test_channels import write_four


def png(alpha: int, *, colors: int = 0) -> bytes:
    """Return an image of noise; without alpha where that is negative."""
    pixels = np.random.default_rng(colors).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    pixels[:, :, 3] = max(alpha, 0)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert("RGB" if alpha < 0 else "RGBA").save(file, "png")
    return file.getvalue()


@pytest.mark.slow
def test_the_fourth_channel_reaches_the_cache_and_the_server(call: Call, serving, tmp_path):
    data, cache = write_four(tmp_path / "four"), tmp_path / "cache"
    four, cached = ("--channels", 4, "--epochs", 4, "--lr", 0.01), ("--cache", "disk", "--cache_dir", cache)
    colored = call(*tiny(data, *cached))
    runs = [call(*tiny(data, *four, *more)) for more in (cached, cached, ())]
    assert [each.code for each in (colored, *runs)] == [0, 0, 0, 0], [each.err for each in (colored, *runs)]
    losses = [[(row["train_loss"], row["val_loss"]) for row in read_rows(each.run / "metrics.csv")] for each in runs]
    assert losses[0] == losses[1] == losses[2], "a cache holds what the files hold, and is not that of three channels"
    client = serving(runs[1].run, "-j", 1)
    files = [("files", (f"{alpha}-{colors}.png", png(alpha, colors=colors))) for alpha in (50, 200) for colors in (1, 2)]
    done = client.post("/api/predict?top=1&heat_map=true", files=files)
    assert done.status_code == 200, done.text
    found = [image["answers"][0]["top"][0]["label"] for image in done.json()["images"]]
    assert found == ["dark", "dark", "light", "light"]
    assert all(image["answers"][0]["heat_map"].startswith("data:image/") for image in done.json()["images"])
    refused = client.post("/api/predict", files=[("files", ("opaque.png", png(-1)))])
    assert refused.status_code == 422
    assert "no fourth channel" in refused.text
