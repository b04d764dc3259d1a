"""METHODS: the names of --visual_method."""

from typing import NoReturn

from utils.errors import UserError, nearest
from utils.registry import Row, Table

METHODS = Table(
    "visual method",
    {
        "cam": Row("applications.explain.heat_maps:classic_cam", "the classifier's weights on the map that it averages (arXiv 1512.04150)"),
        "grad-cam": Row("applications.explain.heat_maps:grad_cam", "channels by their mean gradient (arXiv 1610.02391)"),
        "grad-cam++": Row(
            "applications.explain.heat_maps:grad_cam_plus_plus", "positive gradients, for several objects (arXiv 1710.11063)"
        ),
        "xgrad-cam": Row("applications.explain.heat_maps:xgrad_cam", "channels by gradient times activation (arXiv 2008.02312)"),
        "hires-cam": Row("applications.explain.heat_maps:hires_cam", "gradient times activation, pixel by pixel (arXiv 2011.08891)"),
        "layer-cam": Row("applications.explain.heat_maps:layer_cam", "positive gradients, pixel by pixel (IEEE TIP 2021)"),
        "eigen-cam": Row(
            "applications.explain.heat_maps:eigen_cam", "first principal component, the same for every class (arXiv 2008.00299)"
        ),
        "eigen-grad-cam": Row("applications.explain.heat_maps:eigen_grad_cam", "first principal component of gradient times activation"),
        "score-cam": Row("applications.explain.heat_maps:score_cam", "channels by the answer to what they show; slow (arXiv 1910.01279)"),
        "ablation-cam": Row(
            "applications.explain.heat_maps:ablation_cam", "channels by what the answer loses without them; slow (WACV 2020)"
        ),
        "random": Row("applications.explain.heat_maps:random_map", "noise: what a method must beat to mean anything"),
    },
)
BOX_METHODS = Table(
    "visual method of boxes",
    {"d-rise": Row("applications.explain.d_rise:d_rise", "what a box hangs on, by hiding parts of the image at random (arXiv 2006.03204)")},
)
ALL = "all"
SPELLINGS = {"grad-camm++": "grad-cam++"}


def named_methods(text: str, table: Table = METHODS) -> list[str]:
    """Return the methods of a table that --visual_method names: one, several with commas, or all.

    Raises:
        UserError: a name is unknown, or of another table.
    """
    names = []
    for part in text.split(","):
        name = part.strip().lower().replace("_", "-")
        name = SPELLINGS.get(name, name)
        if name not in table and name != ALL:
            _refuse(part.strip(), name, table)
        names += table if name == ALL else [name]
    return list(dict.fromkeys(names))


def check_methods(text: str) -> None:
    """Raise UserError for a name that is in no table; of which task the model is need not be known."""
    for part in text.split(","):
        table = BOX_METHODS if part.strip().lower().replace("_", "-") in BOX_METHODS else METHODS
        named_methods(part, table)


def _refuse(given: str, name: str, table: Table) -> NoReturn:
    """Raise UserError for a name that is not in a table."""
    for other, answers in ((METHODS, "labels"), (BOX_METHODS, "boxes")):
        if other is not table and name in other:
            raise UserError(f"--visual_method {given} is for models that answer {answers}; take {', '.join(table)}")
    raise UserError(f"--visual_method {given}: no such method.{nearest(name, [*table, ALL])} Known: {', '.join(table)}, all")
