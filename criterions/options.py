"""Options of the loss, and the one spec that its switches are short for."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from criterions import ASSIGNMENTS, BOX_LOSSES, CRITERIONS, REGION_LOSSES, WEIGHTERS
from utils.errors import UserError
from utils.flags import flag
from utils.registry import Table, is_user_code
from utils.spec import Spec, parse_specs

# The loss of tasks that name no other.
USUAL = "softmax"


@dataclass(frozen=True)
class LossOptions:
    """What a wrong answer costs."""

    criterion: str | None = flag(
        None,
        "loss (--list criterions) and weighters (--list weighters): 'bce|ghm(bins=30,momentum=0.75)|ohm(0.7)|cost(costs.csv)' (default: "
        "softmax; of segmentation softmax|class_weights(sqrt)|dice, of detection bce|iou)",
        metavar="SPEC",
        used_for="training model compare serve probe",
        spec=True,
    )
    label_smoothing: float = flag(0.0, "share of every target that is spread over all classes", used_for="training")
    weighted_loss: bool = flag(False, "weigh mistakes by the costs in --cost_matrix, as |cost(FILE) does", used_for="training")
    cost_matrix: str | None = flag(
        None, "CSV of costs, one row per true class; --write_matrix makes a template", metavar="FILE", used_for="training"
    )
    threshold_loss: bool = flag(
        False, "train only probabilities between the bounds in --threshold_matrix, as |threshold(FILE) does", used_for="training"
    )
    threshold_matrix: str | None = flag(
        None,
        "CSV of lower and upper bounds; --write_matrix with --matrix_kind threshold makes a template",
        metavar="FILE",
        used_for="training",
    )
    ohm_loss: bool = flag(False, "train only the hardest --hard_ratio of a batch, as |ohm(R) does", used_for="training")
    hard_ratio: float = flag(0.7, "share of a batch that --ohm_loss keeps: the hardest", metavar="R", used_for="training")
    ghm_loss: bool = flag(False, "let common gradient sizes count less (GHM), as |ghm does", used_for="training")
    class_weights: str | None = flag(
        None,
        "factor of every class: auto (inverse frequency), sqrt (its root), effective (effective number), or a CSV of class,weight",
        metavar="auto|sqrt|effective|FILE",
        used_for="training",
    )
    logit_adjust: float | None = flag(
        None,
        "long tails: add TAU x log of the class frequency to the logits while training (bare: 1)",
        const=1.0,
        metavar="TAU",
        used_for="training",
    )
    jsd: float | None = flag(
        None,
        "with --aug_splits: pull the answers to the copies of an image together, ALPHA x their divergence (bare: 12)",
        const=12.0,
        metavar="ALPHA",
        used_for="training",
    )
    prior_bias: str | None = flag(
        None,
        "a fresh classifier starts at these probabilities: those of the data (bare), P for every class, or a CSV of class,weight",
        const="data",
        metavar="P|FILE",
        used_for="training",
    )
    matrix_kind: Literal["cost", "threshold", "weights"] = flag("cost", "what --write_matrix writes", used_for="write_matrix")

    def spec(self) -> tuple[Spec, ...]:
        """Return the canonical spec: the loss, the weighters in the order of their table, losses of regions or boxes; or regions alone.

        Raises:
            UserError: a name is unknown or named twice, a weighter stands where the loss belongs, or a switch lacks its file.
        """
        chain = parse_specs(USUAL if self.criterion is None else self.criterion)
        if not chain:
            raise UserError("--criterion is empty; softmax is the usual loss")
        loss, *weighters = chain
        if loss.name in WEIGHTERS:
            raise UserError(f"--criterion {self.criterion}: {loss.name} weighs a loss; put one before it: 'softmax|{loss}' or 'bce|{loss}'")
        rest = [*weighters, *self._switches()]
        last = (*REGION_LOSSES, *ASSIGNMENTS, *BOX_LOSSES)
        regions = [spec for spec in rest if spec.name in last]
        weighters = [spec for spec in rest if spec.name not in last]
        if loss.name in BOX_LOSSES or loss.name in ASSIGNMENTS:
            raise UserError(f"--criterion {self.criterion}: {loss.name} comes after the loss of objectness; write 'bce|{loss}'")
        if loss.name in REGION_LOSSES:
            self._check_regions_alone(loss, weighters)
        else:
            _check_name(loss, CRITERIONS)
        for spec in weighters:
            if spec.name in CRITERIONS:
                raise UserError(f"--criterion {self.criterion}: {spec.name} is a second loss; after the first come {', '.join(WEIGHTERS)}")
            _check_name(spec, WEIGHTERS)
        names = [spec.name for spec in (loss, *rest)]
        if twice := [name for name in names if names.count(name) > 1]:
            kind = next((table.kind for table in (REGION_LOSSES, ASSIGNMENTS, BOX_LOSSES) if twice[0] in table), WEIGHTERS.kind)
            raise UserError(f"the {kind} {twice[0]} is asked for twice; name it in --criterion or give its flag")
        order = [*WEIGHTERS, *sorted(set(names) - set(WEIGHTERS))]
        return (loss, *sorted(weighters, key=lambda spec: order.index(spec.name)), *regions)

    def completed(self, usual: str) -> Self:
        """Return these options with `usual` as the chain of --criterion, without the parts of it that a switch names."""
        switched = {part.name for part in self._switches()}
        return replace(self, criterion="|".join(str(part) for part in parse_specs(usual) if part.name not in switched))

    def canonical(self) -> str:
        """Return the canonical spec as one string, which --criterion reads back."""
        return "|".join(map(str, self.spec()))

    def _check_regions_alone(self, loss: Spec, weighters: list[Spec]) -> None:
        """Raise UserError for what needs a loss of single samples beside a region loss that stands first."""
        if weighters:
            raise UserError(
                f"--criterion {self.criterion}: {weighters[0].name} weighs the loss of single pixels; write 'softmax|{weighters[0]}|{loss}'"
            )

    def _switches(self) -> list[Spec]:
        """Return what the switches stand for."""
        found = []
        if self.class_weights is not None:
            found.append(Spec("class_weights", (self.class_weights,)))
        if self.weighted_loss:
            if self.cost_matrix is None:
                raise UserError("--weighted_loss needs --cost_matrix FILE; python main.py --data DIR --write_matrix FILE writes a template")
            found.append(Spec("cost", (self.cost_matrix,)))
        if self.threshold_loss:
            if self.threshold_matrix is None:
                template = "python main.py --data DIR --write_matrix FILE --matrix_kind threshold writes a template"
                raise UserError(f"--threshold_loss needs --threshold_matrix FILE; {template}")
            found.append(Spec("threshold", (self.threshold_matrix,)))
        if self.ohm_loss:
            found.append(Spec("ohm", (self.hard_ratio,)))
        return [*found, Spec("ghm")] if self.ghm_loss else found


def _check_name(spec: Spec, table: Table) -> None:
    """Raise UserError for a name that the table does not know. Nothing is imported for the others."""
    if spec.name not in table and not is_user_code(spec.name):
        table.resolve(spec.name)
