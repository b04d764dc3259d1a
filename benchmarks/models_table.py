"""The figures of every network of the table: models/known_models.csv, which --list models prints, and the table in docs/models.md.

    python -m benchmarks.models_table            # writes both
    python -m benchmarks.models_table --check    # ends with 1 where they are not what is measured

Nothing is computed: networks are built without numbers and asked for the shapes of their layers, a second or less each.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from models import build_model, list_models
from models.find_published import find_published
from models.known_models import HEADER, KnownModel, read_known_models, write_known_models

CLASSES = 1000
PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- written by python -m benchmarks.models_table -->", "<!-- to here -->"


def measure(arch: str) -> KnownModel:
    """Count a network of the table, at the size of its published weights."""
    published = find_published(arch)
    size = published.size if published is not None else (224, 224)
    with torch.device("meta"):
        net = build_model(arch, num_classes=CLASSES).eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, *size))
    return KnownModel(
        name=arch,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        # torch counts a multiply-add as two operations.
        multiply_adds=counter.get_total_flops() // 2,
        height=size[0],
        width=size[1],
        top1=published.top1 if published is not None else None,
        license=published.license if published is not None else "",
    )


def page_with(known: list[KnownModel], page: str) -> str:
    """Return the page with the table of these networks between its two marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    rows = [
        HEADER,
        ("---", "---:", "---:", "---", "---:", "---"),
        *([f"`{first}`", *others] for first, *others in map(KnownModel.cells, known)),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main(argv: list[str]) -> int:
    """Measure all, and write or compare."""
    parser = argparse.ArgumentParser(description="write or check the figures of all models")
    parser.add_argument("--check", action="store_true", help="write nothing, and end with 1 where a figure is not current")
    options = parser.parse_args(argv)
    found = [measure(arch) for arch in list_models()]
    page = PAGE.read_text(encoding="utf-8")
    if options.check:
        known = read_known_models()
        stale = [each.name for each in found if known.get(each.name) != each] + [name for name in known if name not in list_models()]
        if page != page_with(found, page):
            stale.append(str(PAGE.name))
        print(f"not current: {', '.join(stale)}" if stale else f"{len(found)} networks, all current")
        return int(bool(stale))
    write_known_models(found)
    PAGE.write_text(page_with(found, page), encoding="utf-8")
    print(f"wrote the figures of {len(found)} networks")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
