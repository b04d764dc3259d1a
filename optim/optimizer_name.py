"""What --opt may say: a row of OPTIMIZERS, lookahead(NAME), or code of the user's own."""

import re
from dataclasses import dataclass

from optim import OPTIMIZERS
from utils.errors import UserError
from utils.registry import is_user_code

LOOKAHEAD = "lookahead"
# Rows that are Lookahead around another one.
WITH_LOOKAHEAD = (LOOKAHEAD, "ranger", "rangerlars")
# timm's name for what is `sgd` here.
SAME = {"nesterov": "sgd"}


@dataclass(frozen=True)
class OptimizerName:
    """A row of OPTIMIZERS or 'my_file.py:build', and for `lookahead` the one that it is put around, where one is named."""

    name: str
    base: str | None = None


def read_optimizer(text: str) -> OptimizerName:
    """Read --opt: NAME, lookahead(NAME), or lookahead_NAME and LookaheadName, which mean the same.

    Names of rows are taken in capitals, too.

    Raises:
        UserError: the name is neither in the table nor of the form 'my_file.py:build', or nests what cannot be nested.
    """
    if not isinstance(text, str):
        # A config file may hold a mapping where a chain can be meant.
        raise UserError(f"opt: {text} is no name; write opt: sgd, and arguments as opt_args: 'nesterov=False'")
    called = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text)
    if called is not None:
        name, inside = called[1].lower(), called[2].strip().strip("'\"")
        if name != LOOKAHEAD:
            OPTIMIZERS.check(name)
            raise UserError(f"--opt {text}: {name} takes nothing in parentheses; arguments go to --opt_args '{inside}'")
        return OptimizerName(LOOKAHEAD, _base(inside, text) if inside else None)
    name = _row(text.strip())
    if name not in OPTIMIZERS and (joined := re.fullmatch(rf"{LOOKAHEAD}[ _]?(\w+)", name, re.IGNORECASE)):
        return OptimizerName(LOOKAHEAD, _base(joined[1], text))
    OPTIMIZERS.check(name)
    return OptimizerName(name)


def innermost(text: str) -> str:
    """Return the row that moves the weights: of Lookahead, which is put around another, that one."""
    chosen = read_optimizer(text)
    return (chosen.base or "adamw") if chosen.name == LOOKAHEAD else chosen.name


def _row(name: str) -> str:
    folded = SAME.get(name.lower(), name.lower())
    return folded if folded in OPTIMIZERS else name


def _base(name: str, text: str) -> str:
    name = _row(name)
    if name in WITH_LOOKAHEAD:
        raise UserError(f"--opt {text}: {name} has Lookahead already; name one without, such as lookahead(radam)")
    if not is_user_code(name):
        OPTIMIZERS.check(name)
    return name
