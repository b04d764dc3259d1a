"""Groups that are in two splits, and file names that look like groups."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dataloader.checks.findings import Finding, ImageSet
from dataloader.checks.survey import Survey
from dataloader.splits.catalog import name_some
from dataloader.splits.integrity import find_torn_groups
from utils.text import counted

# Common names of shots of one object: folders below the class, a trailing number, a trailing letter.
PATTERNS = (r"[^/]+/[^/]+(?=/[^/]+$)", r"([^/]+)[_-]\d+\.[^./]*$", r"([^/]*\d)[a-z]\.[^./]*$")
FEWEST_GROUPS = 6
# A group with a larger share of its class is just the class.
LARGEST = 0.25
PAIRS = 2000
# Least probability that two images of one group are more alike than two of the class, and least standard errors above chance.
ALIKE, ERRORS = 0.75, 5.0


class Hint(NamedTuple):
    """Names that look like groups.

    Attributes:
        pattern: for --group_by.
        torn: groups that are in two splits, as numbers of their images.
        groups: how many there are.
        alike: the probability that two images of one group are more alike than two of one class in different groups.
    """

    pattern: str
    torn: list[tuple[int, ...]]
    groups: int
    alike: float


def find(survey: Survey) -> list[Finding]:
    """Return an error for groups in two splits; without groups, a warning where both names and pixels suggest some."""
    catalog = survey.catalog
    torn = find_torn_groups(catalog)
    if torn:
        starts = {name: survey.numbers(name).start for name in catalog.splits}
        groups = [ImageSet(tuple(starts[name] + index for name, index in places), group) for group, places in torn.items()]
        title = f"{counted(len(torn), 'group stands', 'groups stand')} in two splits: {name_some(list(torn), 5)}"
        advice = "Metrics on these images are too good: tested objects were trained on. Put all images of a group into one split."
        return [Finding("error", title, advice, groups, figures={"torn": len(torn)})]
    if any(any(split.groups) for split in catalog.splits.values()):
        return []
    hint = next((found for pattern in PATTERNS if (found := _hint(survey, pattern)) is not None), None)
    if hint is None:
        return []
    title = (
        f"file names look like {hint.groups} groups of shots of one thing, {len(hint.torn)} of them in two splits; two images of one are "
        f"more alike than two others of their class in {hint.alike:.0%} of cases"
    )
    advice = f"If that is so, keep them together: --group_by '{hint.pattern}' in training and --prepare. If not, nothing is wrong."
    return [Finding("warning", title, advice, [ImageSet(numbers) for numbers in hint.torn], figures={"pattern": hint.pattern})]


def _hint(survey: Survey, pattern: str) -> Hint | None:
    """Return the groups that a pattern finds; None where it does not fit the names, or the pixels do not support it."""
    pictures = [survey.picture(number) for number in range(len(survey.facts))]
    found = [re.search(pattern, picture.path) for picture in pictures]
    keys = [match.group(match.re.groups) for match in found if match is not None]
    if len(keys) < len(pictures):
        return None
    members: dict[tuple[str, str], list[int]] = {}
    for number, (picture, key) in enumerate(zip(pictures, keys, strict=True)):
        members.setdefault((picture.label, key), []).append(number)
    sizes: dict[str, int] = {}
    for picture in pictures:
        sizes[picture.label] = sizes.get(picture.label, 0) + 1
    groups = {key: numbers for key, numbers in members.items() if len(numbers) > 1}
    if len(groups) < FEWEST_GROUPS or any(len(numbers) > LARGEST * sizes[label] for (label, _), numbers in groups.items()):
        return None
    torn = [tuple(numbers) for numbers in groups.values() if len({pictures[number].split for number in numbers}) > 1]
    if not torn or 2 * sum(map(len, groups.values())) < len(pictures):
        return None
    alike, errors = _alikeness(survey, list(groups), groups)
    return Hint(pattern, torn, len(groups), alike) if alike >= ALIKE and errors >= ERRORS else None


def _alikeness(survey: Survey, keys: Sequence[tuple[str, str]], groups: dict[tuple[str, str], list[int]]) -> tuple[float, float]:
    """Return how probable two images of one group are more alike than two of their class, and that in standard errors above chance.

    Likeness is the correlation of luma on a grid of 32x32.
    """
    known = set(survey.comparable)
    rng = np.random.default_rng(0)
    by_class: dict[str, list[tuple[str, str]]] = {}
    usable = {key: [number for number in groups[key] if number in known] for key in keys}
    usable = {key: numbers for key, numbers in usable.items() if len(numbers) > 1}
    for key in usable:
        by_class.setdefault(key[0], []).append(key)
    order = [key for key in usable if len(by_class[key[0]]) > 1]
    if len(order) < FEWEST_GROUPS:
        return 0.0, 0.0
    inside, outside = [], []
    # One pair per group and round, since pairs of one large group are not independent.
    for key in order[:PAIRS]:
        one, two = rng.choice(usable[key], 2, replace=False).tolist()
        others = [other for other in by_class[key[0]] if other != key]
        third = int(rng.choice(usable[others[int(rng.integers(len(others)))]]))
        inside.append(_correlation(survey, one, two))
        outside.append(_correlation(survey, one, third))
    wins = np.array(inside)[:, None] - np.array(outside)[None]
    share = float((wins > 0).mean() + 0.5 * (wins == 0).mean())
    count = len(inside)
    # Standard error of the Mann-Whitney statistic under the null hypothesis.
    return share, (share - 0.5) / float(np.sqrt((2 * count + 1) / (12 * count * count)))


def _correlation(survey: Survey, one: int, two: int) -> float:
    first, second = (np.frombuffer(survey.facts[number].grid, np.uint8).astype(np.float64) for number in (one, two))
    return float(np.corrcoef(first, second)[0, 1])
