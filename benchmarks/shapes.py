"""How hard the built-in scenes are: a linear model on mean colors, and a small network on pixels.

    python -m benchmarks.shapes

Colors must say next to nothing of the class, and a network of 0.3 million parameters must learn the scenes in about a minute of one core.
"""

import sys
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from dataloader.sources.shapes import CLASSES, COUNTS, scene

EPOCHS, BATCH, RATE = 24, 32, 3e-3
MOST_BY_COLOR, LEAST_BY_NETWORK = 0.25, 0.97


def main() -> int:
    """Measure both; return the exit code."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, held_out = COUNTS["train"] * len(CLASSES), sum(COUNTS.values()) * len(CLASSES)
    seen, labels = read(range(first))
    unseen, truth = read(range(held_out - COUNTS["test"] * len(CLASSES), held_out))
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(colors(seen), labels)
    by_color = float(linear.score(colors(unseen), truth))
    print(f"linear model on mean colors: {by_color:.1%} of {len(truth)} test scenes (chance {1 / len(CLASSES):.1%})")
    start = time.process_time()
    network = train(seen, labels)
    with torch.inference_mode():
        by_network = float((network(unseen).argmax(1) == truth).float().mean())
    parameters = sum(each.numel() for each in network.parameters())
    print(f"network of {parameters:,} parameters: {by_network:.1%} after {EPOCHS} epochs, {time.process_time() - start:.0f} s of one core")
    return int(by_color > MOST_BY_COLOR or by_network < LEAST_BY_NETWORK)


def read(numbers: range) -> tuple[Tensor, Tensor]:
    """Return images, float (N, 3, H, W), and labels of the scenes with these numbers."""
    scenes = [scene(number) for number in numbers]
    images = torch.from_numpy(np.stack([made.image for made in scenes])).permute(0, 3, 1, 2)
    return (images.float() / 255 - 0.5) / 0.25, torch.tensor([made.label for made in scenes])


def colors(images: Tensor) -> np.ndarray:
    """Return the mean color of each image, (N, 3)."""
    return images.mean((2, 3)).numpy()


def train(images: Tensor, labels: Tensor) -> nn.Module:
    """Return a small convolutional network, trained on images that are turned by quarters and mirrored."""
    widths = ((3, 16, 2), (16, 32, 2), (32, 64, 1), (64, 64, 2), (64, 128, 1), (128, 128, 2))
    network = nn.Sequential(*(block(*width) for width in widths), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(CLASSES)))
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = torch.rot90(images[chosen], int(torch.randint(4, ())), (2, 3))
            batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
            loss = functional.cross_entropy(network(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def block(channels: int, out: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    norm = nn.BatchNorm2d(out, momentum=0.3)
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), norm, nn.ReLU())


if __name__ == "__main__":
    sys.exit(main())
