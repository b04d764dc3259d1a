"""Prints a table of names: models with what they cost, losses, optimizers, augmentations and others."""

from fnmatch import fnmatchcase

from applications.listing.table_names import TABLES
from applications.settings.options import Request
from dataloader import AUGMENT_PRESETS
from models import FAMILIES, FORWARDED, list_models
from models.detectors import DETECTORS
from models.known_models import HEADER, read_known_models
from utils.errors import UserError, nearest
from utils.logs import log
from utils.terminal_tables import print_table


def run(request: Request) -> int:
    """Print the rows that --list and --filter name."""
    subject, pattern = request.subject, request.config.output.filter
    found = rows(subject)
    if pattern is not None:
        found = [row for row in found if fnmatchcase(row[0], pattern)]
        if not found:
            raise UserError(f"--filter {pattern}: no name of --list {subject} matches; write a shell pattern, such as --filter 'res*'")
    if subject in TABLES:
        print_table(("name", "what it is"), found, left=("what it is",), wrap=True)
    else:
        _print_models([name for name, _ in found])
        own = set(list_models())
        if shown := sum(name in own for name, _ in found):
            log().info(f"\n{shown} of the {len(own)} networks written here")
    told = [] if subject in TABLES else [row for row in found if row[1]]
    if told:
        log().info("")
        print_table(("name", "what it is"), told, left=("what it is",), wrap=True)
    return 0


def _print_models(names: list[str]) -> None:
    """Print what networks cost and what their weights claim; of a package's networks, and the user's own, the names alone."""
    known = read_known_models()
    unknown = ("",) * (len(HEADER) - 1)
    print_table(HEADER, [known[name].cells() if name in known else (name, *unknown) for name in names], left=("license",))


def weights_rows() -> list[tuple[str, str]]:
    """Return (name, what its publisher says) of every published file that --pretrained takes for our own networks."""
    from models.find_published import find_published

    listed = []
    for arch in (*list_models(), *DETECTORS):
        for name, advprop in ((arch, False), (f"{arch} --advprop", True)):
            try:
                published = find_published(arch, advprop=advprop)
            except UserError:
                continue
            if published is not None:
                listed.append((name, f"{published.claims}; SHA-256 {published.sha256 or 'unknown'}; {published.url}"))
    return listed


def rows(subject: str) -> list[tuple[str, str]]:
    """Return (name, description) of every row of a table, or of the models that match a pattern.

    Raises:
        UserError: it is neither.
    """
    if subject == "weights":
        return weights_rows()
    if subject not in ("models", *TABLES):
        names = [(name, "") for name in list_models(subject)]
        names += [(name, f"forwarded to {full}") for name, full in FORWARDED.items() if fnmatchcase(name, subject)]
        if not names:
            known = ["models", "weights", *TABLES]
            raise UserError(f"--list {subject}: no such table or model.{nearest(subject, known)} Tables: {', '.join(known)}")
        return names
    if subject == "models":
        # A family is described once, beside its first name.
        listed = [(name, family.help if name == family.variants[0] else "") for family in FAMILIES.values() for name in family.variants]
        more = "every other classifier of the package, the same way"
        listed += [(name, f"forwarded to {full}") for name, full in FORWARDED.items()]
        listed += [(name, f"finds objects, for --task detect: {row.help}") for name, row in DETECTORS.items()]
        return [*listed, ("torchvision/NAME", more), ("timm/NAME", more), ("my_file.py:Class", "a network of your own")]
    listed = [(name, row.help) for name, row in TABLES[subject].items()]
    if subject == "augments":
        listed += [(name, f"preset: {spec}") for name, spec in AUGMENT_PRESETS.items()]
    return listed
