"""The optimizer shelf: how the weights change. The rows are resolved on use."""

from utils.registry import Row, Table

OPTIMIZERS = Table(
    "optimizer",
    {
        "sgd": Row("optim.optimizers:build_sgd", "gradient descent with Nesterov momentum"),
        "adam": Row("optim.optimizers:build_adam", "Adam, weight decay inside the gradient (arXiv 1412.6980)"),
        "adamw": Row("optim.optimizers:build_adamw", "Adam, weight decay apart from the gradient (arXiv 1711.05101)"),
        "radam": Row("optim.optimizers:build_radam", "rectified Adam, weight decay apart from the gradient (arXiv 1908.03265)"),
    },
)

SCHEDULES = Table(
    "schedule",
    {
        "cosine": Row("optim.schedules:build_cosine", "linear warm-up, then half a cosine down to zero (arXiv 1608.03983)"),
        "steps": Row("optim.schedules:build_steps", "one factor for every stage of the run"),
    },
)
