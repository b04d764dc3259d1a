"""What the API takes and answers, as OpenAPI describes it."""

from pydantic import BaseModel, Field


class Error(BaseModel):
    """Why a request has no answer."""

    detail: str = Field(description="one line")


class LabelShare(BaseModel):
    """A class and its probability."""

    label: str
    probability: float


class ClassArea(BaseModel):
    """How much of an image a class covers."""

    label: str
    color: str = Field(description="its color in mask and picture, as '#rrggbb'")
    pixels: int
    share: float = Field(description="of the pixels of the image")


class MaskAnswer(BaseModel):
    """What a segmenter says of an image."""

    areas: list[ClassArea] = Field(description="the classes that occur, the largest first")
    mask: str | None = Field(description="a PNG as 'data:' address, as large as the image: the number of its class for every pixel")


class DefectRegion(BaseModel):
    """A connected region whose scores reach the threshold."""

    box: list[int] = Field(description="left, top, width and height in pixels of the image")
    pixels: int
    score: float = Field(description="the largest of its pixels")


class AnomalyAnswer(BaseModel):
    """What a detector of defects says of an image."""

    score: float = Field(description="from 0 to 1, the larger the stranger")
    threshold: float = Field(description="the score from which on images, and pixels, are defective")
    defective: bool
    defects: list[DefectRegion] = Field(description="the strangest first")
    mask: str | None = Field(description="a PNG as 'data:' address, as large as the image: 1 where pixels are defective")


class FoundBox(BaseModel):
    """A box around an object."""

    label: str
    color: str = Field(description="its color in the picture, as '#rrggbb'")
    score: float = Field(description="from 0 to 1; it ranks boxes")
    box: list[float] = Field(description="left, top, width and height in pixels of the image")


class DetectionAnswer(BaseModel):
    """What a detector of objects says of an image."""

    boxes: list[FoundBox] = Field(description="the surest first")


class Answer(BaseModel):
    """What a model says of an image."""

    model: str
    labels: list[LabelShare] = Field(description="what the model names, the most probable first; empty where it names nothing")
    unsure: bool = Field(description="everything it would name is below the probability from which its answers count")
    top: list[LabelShare] = Field(description="the most probable classes, whether named or not")
    heat_map: str | None = Field(
        description="a JPEG as 'data:' address: what spoke for the most probable class; of a segmenter its mask over the image, of a "
        "detector of defects its scores, of one of objects its boxes"
    )
    segmentation: MaskAnswer | None = Field(default=None, description="of a segmenter, which names no labels")
    anomaly: AnomalyAnswer | None = Field(default=None, description="of a detector of defects, which names no labels")
    detection: DetectionAnswer | None = Field(default=None, description="of a detector of objects, which names no labels of an image")


class ImageAnswers(BaseModel):
    """What models say of an image, or why they cannot."""

    file: str
    width: int | None
    height: int | None
    answers: list[Answer] = Field(description="in the order in which the models were named")
    error: str | None = Field(description="why the file could not be read")


class Predictions(BaseModel):
    """The answer to a request, an entry for each file, in their order."""

    images: list[ImageAnswers]


class ModelInfo(BaseModel):
    """A model that can be asked."""

    name: str
    task: str = Field(description="'classify', 'multilabel', 'segment', 'detect' or 'anomaly'")
    description: str
    classes: list[str]
    several_labels: bool = Field(description="whether an image may have several labels")
    reject: dict[str, float] | None = Field(description="the probability below which an answer of each class does not count")
    image_size: list[int] = Field(description="height and width to which images are brought")
    heat_map: str | None = Field(
        description="what it can draw over an image: the method of its heat maps, 'mask', 'heat' or 'boxes'; else null"
    )
    threshold: float | None = Field(
        description="of a detector of defects: the score from which on an image is defective; of one of objects: the least score of a box"
    )


class LimitsInfo(BaseModel):
    """What a request may cost."""

    bytes: int = Field(description="of a request")
    images: int = Field(description="of a request")
    pixels: int = Field(description="of an image")
    decode_seconds: float = Field(description="of a file")


class Models(BaseModel):
    """What can be asked, and how much."""

    models: list[ModelInfo]
    limits: LimitsInfo


class Health(BaseModel):
    """Whether the server works."""

    status: str
    seconds: float = Field(description="since it started")
