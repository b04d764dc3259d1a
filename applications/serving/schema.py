"""What the API takes and answers, as OpenAPI describes it."""

from pydantic import BaseModel, Field


class Error(BaseModel):
    """Why a request has no answer."""

    detail: str = Field(description="one line")


class LabelShare(BaseModel):
    """A class and its probability."""

    label: str
    probability: float


class Answer(BaseModel):
    """What a model says of an image."""

    model: str
    labels: list[LabelShare] = Field(description="what the model names, the most probable first; empty where it names nothing")
    unsure: bool = Field(description="everything it would name is below the probability from which its answers count")
    top: list[LabelShare] = Field(description="the most probable classes, whether named or not")
    heat_map: str | None = Field(description="a JPEG as 'data:' address: what spoke for the most probable class")


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
    description: str
    classes: list[str]
    several_labels: bool = Field(description="whether an image may have several labels")
    reject: dict[str, float] | None = Field(description="the probability below which an answer of each class does not count")
    image_size: list[int] = Field(description="height and width to which images are brought")
    heat_map: str | None = Field(description="the method of its heat maps; null where it has none")


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
