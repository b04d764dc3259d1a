"""A network small enough to train in a test, with batch norm and dropout so that their state counts."""

from torch import Tensor, nn


class TinyNet(nn.Module):
    """Two convolutions; (N, 3, H, W) -> (N, num_classes)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class NoNormNet(nn.Module):
    """Without batch norm and dropout: its gradients do not depend on how a batch is shared."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class FixedNet(nn.Module):
    """Takes images of 64 x 64 pixels alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 64 * 64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))
