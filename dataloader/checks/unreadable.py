"""Files that cannot be read, by reason."""

from dataloader.checks.examine import Problem
from dataloader.checks.findings import Finding, singles
from dataloader.checks.survey import Survey
from utils.text import counted

# Problem -> name of such files, advice, and whether --fix may move them away (not where a permission can be given).
KINDS: dict[Problem, tuple[str, str, str, bool]] = {
    "empty": ("empty file", "empty files", "Fetch them again or remove them; --fix moves them away.", True),
    "damaged": ("damaged image", "damaged images", "Fetch them again or remove them; --fix moves them away.", True),
    "foreign": ("file that is not an image", "files that are not images", "Remove them; --fix moves them away.", True),
    "bomb": (
        "suspiciously large image",
        "suspiciously large images",
        "Training refuses them: scale them down, or remove them; --fix moves them away.",
        True,
    ),
    "unsupported": (
        "image of an unsupported kind",
        "images of unsupported kinds",
        "They are intact, but training skips them: convert them to 8 or 16 bits per channel, or take them out.",
        False,
    ),
    "crash": (
        "file that crashes the decoder",
        "files that crash the decoder",
        "Look at them one by one.",
        False,
    ),
    "special": (
        "pipe, socket or folder with the name of an image",
        "pipes, sockets or folders with names of images",
        "Remove them.",
        False,
    ),
    "denied": ("file without the right to read it", "files without the right to read them", "Give read permission: chmod u+r FILE.", False),
    "missing": ("file that cannot be opened", "files that cannot be opened", "Fix the link, or remove it.", False),
}


def find(survey: Survey) -> list[Finding]:
    """Return a finding for every kind of problem."""
    found: dict[str, list[int]] = {}
    for number, facts in enumerate(survey.facts):
        if facts.problem:
            found.setdefault(facts.problem, []).append(number)
    findings = []
    for kind, (one, many, advice, fixable) in KINDS.items():
        if numbers := found.get(kind):
            notes = {number: survey.facts[number].reason for number in numbers}
            movable = tuple(numbers) if fixable else ()
            findings.append(Finding("error", counted(len(numbers), one, many), advice, singles(numbers, notes), fixable=movable))
    return findings
