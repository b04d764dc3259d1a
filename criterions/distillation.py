"""How far a student's answers are from its teacher's: soft (arXiv 1503.02531), hard (arXiv 2012.12877), decoupled (arXiv 2203.08679).

The teacher's logits come tempered, since those of several teachers are averaged at the temperature first.
"""

import inspect
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from criterions import DISTILLATIONS
from criterions.elementwise import ActivationName
from utils.errors import UserError
from utils.spec import parse_specs

# (student's logits, teacher's tempered logits, dense targets, all (N, C); temperature) -> (N,).
DistanceTerms = Callable[[Tensor, Tensor, Tensor, float], Tensor]

TINY = 1e-7


def soft_softmax(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) of the tempered distributions, (N,): T^2 keeps gradients of one size (section 2 of the paper)."""
    del targets
    ours, theirs = F.log_softmax(student / temperature, 1), F.log_softmax(teacher, 1)
    return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)


def soft_sigmoid(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student), (N,), summed over classes, each a coin of its own."""
    del targets
    ours, p = student / temperature, teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, p, reduction="none")
    return temperature**2 * (F.binary_cross_entropy_with_logits(ours, p, reduction="none") - entropy).sum(1)


def hard_softmax(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy (N,) with the class that the teacher names."""
    del targets, temperature
    return F.cross_entropy(student, teacher.argmax(1), reduction="none")


def hard_sigmoid(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Return the binary cross entropy (N,), summed over classes, with the classes that the teacher finds more likely than not."""
    del targets, temperature
    return F.binary_cross_entropy_with_logits(student, (teacher >= 0).to(student.dtype), reduction="none").sum(1)


def decoupled(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float, *, alpha: float, beta: float) -> Tensor:
    """Return T^2 (alpha x KL of true class against the rest + beta x KL among the other classes), (N,).

    A mixed sample counts for the class of its larger share.
    """
    true = F.one_hot(targets.argmax(1), student.shape[1]).bool()
    ours, theirs = F.log_softmax(student / temperature, 1), F.log_softmax(teacher, 1)
    coins = [torch.stack([log[true], log.masked_fill(true, -torch.inf).logsumexp(1)], 1) for log in (ours, theirs)]
    target_class = F.kl_div(coins[0], coins[1], reduction="none", log_target=True).sum(1)
    # Without the true class, the others are a distribution of their own; where both have a zero, nothing is added.
    others = [(log - coin[:, 1:]).masked_fill(true, 0.0) for log, coin in zip((ours, theirs), coins, strict=True)]
    other_classes = F.kl_div(others[0], others[1], reduction="none", log_target=True).sum(1)
    return temperature**2 * (alpha * target_class + beta * other_classes)


def kd(activation: ActivationName) -> DistanceTerms:
    """Soft distillation."""
    return soft_softmax if activation == "softmax" else soft_sigmoid


def hard(activation: ActivationName) -> DistanceTerms:
    """Hard distillation; the temperature plays no part."""
    return hard_softmax if activation == "softmax" else hard_sigmoid


def dkd(activation: ActivationName, *, alpha: float = 1.0, beta: float = 2.0) -> DistanceTerms:
    """Decoupled distillation: alpha for the true class against the rest, beta among the others."""
    if activation != "softmax":
        raise UserError("--distill_loss dkd speaks of one true class, and needs a softmax loss; take kd with sigmoids")
    if not (0 <= alpha < float("inf") and 0 <= beta < float("inf")):
        raise UserError(f"--distill_loss dkd: alpha {alpha} and beta {beta} must be 0 or more")
    return lambda student, teacher, targets, temperature: decoupled(student, teacher, targets, temperature, alpha=alpha, beta=beta)


def build_distillation(source: str, activation: ActivationName) -> DistanceTerms:
    """Return the terms that a spec such as 'kd' or 'dkd(beta=8)' names: a row of DISTILLATIONS, or 'my_file.py:name'.

    Raises:
        UserError: the name or an argument cannot be used.
    """
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--distill_loss {source}: write one name, such as kd")
    build = DISTILLATIONS.resolve(specs[0].name)
    try:
        inspect.signature(build).bind(activation, *specs[0].args, **specs[0].kwargs)
        return build(activation, *specs[0].args, **specs[0].kwargs)
    except TypeError as error:
        raise UserError(f"--distill_loss {source}: {error}") from error


def tempered_mean(logits: list[Tensor], activation: ActivationName, temperature: float) -> Tensor:
    """Return logits (N, C) whose probabilities are the mean of the teachers' at the temperature.

    Args:
        logits: one (N, C) a teacher.
    """
    if len(logits) == 1:
        return logits[0] / temperature
    parts = torch.stack(logits) / temperature
    if activation == "softmax":
        return F.log_softmax(parts, 2).logsumexp(0)
    return parts.sigmoid().mean(0).logit(TINY)


def as_logits(logits: Tensor, spoken: ActivationName, wanted: ActivationName) -> Tensor:
    """Return logits that give under `wanted` the probabilities that they give under `spoken`, scaled to sum to one for softmax."""
    if spoken == wanted:
        return logits
    return F.logsigmoid(logits) if wanted == "softmax" else logits.softmax(1).logit(TINY)


def feature_distance(ours: Tensor, theirs: Tensor, kind: Literal["mse", "cosine"]) -> Tensor:
    """Return how far two maps (N, C, h, w) and (N, C, h', w') are apart, (N,), free of the teacher's scale.

    The larger one is averaged down to the size of the other. 'mse' is the squared error over the mean square of the
    teacher's map (hints: arXiv 1412.6550), 'cosine' one minus the cosine between the channels, mean over places.
    """
    size = (min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3]))
    ours, theirs = F.adaptive_avg_pool2d(ours, size), F.adaptive_avg_pool2d(theirs, size)
    if kind == "cosine":
        return (1 - F.cosine_similarity(ours, theirs, dim=1, eps=TINY)).flatten(1).mean(1)
    scale = theirs.square().mean().clamp(min=TINY)
    return (ours - theirs).square().flatten(1).mean(1) / scale
