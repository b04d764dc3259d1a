"""The loss shelf: what a wrong answer costs. The rows are resolved on use."""

from utils.registry import Row, Table

CRITERIONS = Table(
    "criterion",
    {
        "softmax": Row("criterions.elementwise:SOFTMAX", "softmax cross entropy: exactly one class is right"),
        "bce": Row("criterions.elementwise:BCE", "one sigmoid problem a class: each class is right or wrong by itself"),
    },
)
