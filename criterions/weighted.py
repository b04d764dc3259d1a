"""The one loss of training: elementwise terms x weighters x sample weight, averaged over samples."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from criterions import ASSIGNMENTS, BOX_LOSSES, CRITERIONS, REGION_LOSSES, WEIGHTERS
from criterions.divergence import js_divergence
from criterions.elementwise import ACTIVATIONS, ActivationName, Elementwise, smooth
from criterions.priors import log_prior
from criterions.weighters.cost import Cost
from criterions.weighters.scale import MOMENTUM, MeanFactor
from criterions.weighters.weighter import ClassFacts, ClassWeighter, Weighter, as_buffer
from utils.errors import UserError
from utils.logs import log
from utils.spec import Spec


class Criterion(nn.Module):
    """A weighted classification loss on dense targets.

    loss = mean over samples of (sample weight x sum over classes of (term x product of weighters / its mean)).

    A weighter sees values without gradient and targets before smoothing, may change what targets the loss asks for, and keeps its
    state in buffers that move in training mode only, by batches that are recorded. The product of the weighters is divided by its mean over
    the terms that carry loss, so that the learning rate means the same with and without them.

    Args:
        elementwise: the loss of every (sample, class) pair.
        label_smoothing: share of every target that is spread over all classes.
        logit_shift: (C,), added to the logits by the loss alone; predictions do without it.
        weighters: name -> module.
        jsd: factor of the divergence between the copies of a sample; None leaves it out.

    Attributes:
        activation: 'softmax' or 'sigmoid', for exported files.
    """

    logit_shift: Tensor | None

    def __init__(
        self,
        elementwise: Elementwise,
        *,
        label_smoothing: float = 0.0,
        logit_shift: np.ndarray | None = None,
        weighters: Mapping[str, Weighter] | None = None,
        jsd: float | None = None,
    ) -> None:
        super().__init__()
        self.activation: ActivationName = elementwise.activation
        self._kind = ACTIVATIONS[elementwise.activation]
        self._terms = elementwise.terms
        self._smoothing = label_smoothing
        # persistent=False: the shift is rebuilt from the config; only running counts are saved.
        self.register_buffer("logit_shift", None if logit_shift is None else as_buffer(logit_shift), persistent=False)
        self._jsd = jsd
        # Module names may hold no dots, which a user's file has.
        self.weighters = nn.ModuleDict({name.replace(".", "_"): module for name, module in (weighters or {}).items()})
        wanted = {weighter.SCALE for weighter in (weighters or {}).values()}
        momenta = {"moving": MOMENTUM, "batch": 0.0}
        self.scales = nn.ModuleDict({kind: MeanFactor(momentum) for kind, momentum in momenta.items() if kind in wanted})

    def forward(self, logits: Tensor, targets: Tensor, sample_weights: Tensor, *, copies: int = 1, record: bool = True) -> Tensor:
        """Return the weighted loss, a scalar in float32 or better.

        The divisor is the number of samples, not the sum of their weights: a sample of weight
        zero still counts, so that the learning rate means the same in every batch.

        Args:
            logits: (N, C).
            targets: (N, C), dense.
            sample_weights: (N,).
            copies: rows of every sample, all first ones, then all second ones, the clean images first. With `jsd` the loss looks at these
                alone, and the divergence between the copies is added to it.
            record: whether weighters with counts count this batch; not where it is looked at once more.
        """
        _check_dense(logits, targets)
        assert sample_weights.shape == logits.shape[:1], f"one weight a sample is wanted, not {tuple(sample_weights.shape)}"
        # Half precision is for the network: costs and bounds would be rounded.
        with torch.autocast(logits.device.type, enabled=False):
            if self._jsd is None or copies == 1:
                return self._weighted(logits, targets, sample_weights, record=record)
            clean = len(logits) // copies
            parts = self._kind.parts(logits)
            apart = js_divergence(parts.reshape(copies, clean, *parts.shape[1:]))
            loss = self._weighted(logits[:clean], targets[:clean], sample_weights[:clean], record=record)
            return loss + self._jsd * (apart * sample_weights[:clean]).mean()

    def _weighted(self, logits: Tensor, targets: Tensor, sample_weights: Tensor, *, record: bool) -> Tensor:
        """Return the mean over samples of weight x terms x weighters."""
        if self.logit_shift is not None:
            logits = logits + self.logit_shift
        wanted = smooth(self._retargeted(targets), self._smoothing)
        terms = self._terms(logits, wanted)
        if len(self.weighters):
            # Weights choose what to learn from; no gradient may flow into the choice.
            with torch.no_grad():
                factors = self._factors(self._kind.probabilities(logits), targets, wanted, sample_weights, record=record)
            terms = terms * factors
        return (terms.sum(dim=1) * sample_weights).mean()

    def plain(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the (N,) cross entropy of every sample, softmax or binary, without all that training adds to it.

        This is what evaluation reports: it can be compared between runs that were trained differently.

        Args:
            logits: (N, C).
            targets: (N, C), dense.
        """
        _check_dense(logits, targets)
        return self._kind.plain(logits, targets).sum(dim=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return (N, C) probabilities: softmax or sigmoid, the way the loss trains them."""
        return self._kind.probabilities(logits)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take the counts of the parts that are still the same; a part that is new or changed begins afresh.

        A run may go on with another loss than it had, so what does not fit is left alone. Matrices, weights and shifts
        are settings, and never come from here.
        """
        own = self.state_dict()
        fitting = {name: value for name, value in state_dict.items() if name in own and own[name].shape == value.shape}
        if afresh := sorted({name.rpartition(".")[0] for name in own if name not in fitting}) if state_dict else []:
            log().info(f"loss      not in the checkpoint as they are now, and so begun afresh: the counts of {', '.join(afresh)}")
        return super().load_state_dict({**own, **fitting}, strict=strict, assign=assign)

    def _retargeted(self, targets: Tensor) -> Tensor:
        """Return the targets that the weighters let the loss ask for, (N, C)."""
        for weighter in self.weighters.values():
            assert isinstance(weighter, Weighter)
            targets = weighter.retarget(targets)
        return targets

    def _factors(self, probabilities: Tensor, targets: Tensor, wanted: Tensor, sample_weights: Tensor, *, record: bool) -> Tensor:
        """Return the product of all weighters, of mean 1 over the terms that carry loss, broadcasting to (N, C)."""
        # Hardness is measured against the smoothed targets, but weighters see the unsmoothed ones.
        weights = sample_weights[:, None]
        hardness = torch.where(weights > 0, self._kind.hardness(probabilities, wanted), -1.0)
        products: dict[str, Tensor] = {kind: torch.ones_like(probabilities) for kind in ("own", *self.scales)}
        for weighter in self.weighters.values():
            assert isinstance(weighter, Weighter)
            factors = weighter if record else weighter.unrecorded
            products[weighter.SCALE] = products[weighter.SCALE] * factors(probabilities, targets, hardness=hardness)
        product = products["own"]
        for kind, scale in self.scales.items():
            carried = self._kind.shares(wanted) * weights * product
            product = product * products[kind] / scale(products[kind], carried, record=record)
        return product


def build_criterion(
    spec: Sequence[Spec],
    *,
    classes: Sequence[str] = (),
    class_counts: Sequence[float] = (),
    class_shares: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    logit_adjust: float | None = None,
    jsd: float | None = None,
) -> Criterion:
    """Build the loss of training.

    Args:
        spec: the loss, then weighters, each a row of its table or 'my_file.py:NAME'.
        classes: names, which matrices are checked against.
        class_counts: training images of every class, for class weights and logit adjustment.
        class_shares: the same, with a multi-label image as an equal part of an image for each; None where each has one.
        label_smoothing: share of every target that is spread over all classes, in [0, 1).
        logit_adjust: tau of the logit adjustment (Menon et al., arXiv 2007.07314); None adds nothing.
        jsd: factor of the divergence between the copies of a sample (AugMix, arXiv 1912.02781); None leaves it out.

    Raises:
        UserError: a name, an argument, a file or a value cannot be used.
    """
    if not 0 <= label_smoothing < 1:
        raise UserError(f"--label_smoothing {label_smoothing} is outside [0, 1); 0.1 is a common choice, 0 turns it off")
    if jsd is not None and not 0 < jsd < float("inf"):
        raise UserError(f"--jsd {jsd}: write a number above 0; 12 is the paper's choice")
    loss, *rest = spec
    elementwise = build_elementwise(loss)
    shift = None
    if logit_adjust is not None:
        if elementwise.activation != "softmax":
            raise UserError(f"--logit_adjust is made for softmax losses, not for {loss.name}; --class_weights works for both")
        if not np.isfinite(logit_adjust):
            raise UserError(f"--logit_adjust {logit_adjust} is not a number; 1 is the paper's choice")
        shift = logit_adjust * log_prior(class_counts)
    shares = class_counts if class_shares is None else class_shares
    facts = ClassFacts(tuple(classes), class_counts, shares)
    weighters = {part.name: _build_weighter(part, facts) for part in rest}
    for weighter in weighters.values():
        if elementwise.activation == "softmax" and isinstance(weighter, Cost):
            _warn_of_idle_costs(weighter.costs.numpy(), loss)
    return Criterion(elementwise, label_smoothing=label_smoothing, logit_shift=shift, weighters=weighters, jsd=jsd)


def build_elementwise(spec: Spec) -> Elementwise:
    """Return the loss without weighters that `spec` names: a row of CRITERIONS, or the user's Elementwise or a function that returns one.

    Raises:
        UserError: the name or an argument cannot be used.
    """
    _refuse_other_tasks(spec)
    found = CRITERIONS.resolve(spec.name)
    if not isinstance(found, Elementwise):
        found = call_with_spec(found, spec) if callable(found) else found
    if not isinstance(found, Elementwise):
        raise UserError(f"--criterion {spec}: an Elementwise (criterions/elementwise.py) is wanted, not {type(found).__name__}")
    return found


def _refuse_other_tasks(spec: Spec) -> None:
    if spec.name in REGION_LOSSES:
        raise UserError(f"--criterion: {spec} compares regions of pixels, and needs --task segment; --list criterions names others")
    if spec.name in BOX_LOSSES or spec.name in ASSIGNMENTS:
        raise UserError(f"--criterion: {spec} is for boxes, and needs --task detect; --list criterions names others")


def _build_weighter(spec: Spec, facts: ClassFacts) -> Weighter:
    _refuse_other_tasks(spec)
    found = WEIGHTERS.resolve(spec.name)
    if not (isinstance(found, type) and issubclass(found, Weighter)):
        raise UserError(f"--criterion {spec}: a subclass of Weighter (criterions/weighters/weighter.py) is wanted")
    return call_with_spec(found.build, spec, facts) if issubclass(found, ClassWeighter) else call_with_spec(found, spec)


def call_with_spec(make: Callable[..., Any], spec: Spec, *first: Any) -> Any:
    """Call `make` with `first`, then the arguments of the spec.

    Raises:
        UserError: an argument is unknown, missing, too many, or of another type.
    """
    signature = inspect.signature(make)
    taken = list(signature.parameters.values())[len(first) :]
    usage = ", ".join(item.name if item.default is item.empty else f"{item.name}={item.default}" for item in taken)
    try:
        signature.bind(*first, *spec.args, **spec.kwargs)
        return make(*first, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--criterion {spec}: {error}; write {spec.name}({usage})") from error


def _warn_of_idle_costs(costs: np.ndarray, loss: Spec) -> None:
    """Say when softmax has no use for what a cost matrix holds."""
    same = np.diag(costs)
    if np.ptp(same) == 0 and np.ptp(costs) > 0:
        log().warning(
            f"{loss.name} has a term for the true class alone, and the diagonal of the cost matrix is {same[0]:g} throughout, so the costs "
            "have next to no effect; use --criterion 'softmax|risk(FILE)', or bce"
        )


def _check_dense(logits: Tensor, targets: Tensor) -> None:
    assert logits.shape == targets.shape, f"dense targets are wanted: {tuple(targets.shape)} for logits {tuple(logits.shape)}"
