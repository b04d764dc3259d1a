"""A network that shows maps and has no norms: its gradients do not depend on how a batch is shared."""

from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo


class MapNet(Backbone):
    """Two convolutions and a classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12, num_classes)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(8, 2), FeatureInfo(12, 4)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        first = self.first(x).relu()
        return [first, self.second(first).relu()]

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vector = maps[-1].mean((2, 3))
        return vector if pre_logits else self.head(vector)

    def get_classifier(self) -> nn.Linear:
        return self.head
