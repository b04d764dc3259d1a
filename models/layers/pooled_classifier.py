"""The head of most convolutional networks: the mean of the last map, dropout and one linear layer."""

from torch import Tensor, nn

from models.backbone import Backbone, checked_width


class PooledClassifier(Backbone):
    """A backbone whose vector is the mean (N, C) of its last map. Subclasses compute maps, and call `add_head` behind their last stage."""

    avgpool: nn.AdaptiveAvgPool2d
    dropout: nn.Dropout
    fc: nn.Linear

    def add_head(self, channels: int, *, num_classes: int, drop_rate: float) -> None:
        """Add the head behind a last map of so many channels."""
        self.num_classes = checked_width(num_classes)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(drop_rate)
        self.fc = nn.Linear(channels, num_classes)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        x = self.avgpool(maps[-1]).flatten(1)
        return x if pre_logits else self.fc(self.dropout(x))

    def get_classifier(self) -> nn.Linear:
        return self.fc
