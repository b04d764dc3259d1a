"""Puts the parts of a report together: report.html for people, report.json for programs."""

import json
from pathlib import Path

from applications.assemble.seen_images import TRAINED_ON, describe_overlap
from applications.report import REPORTS
from applications.report.measured import Measured
from applications.report.report_part import plain_floats
from applications.report.shared_sections import cost, origin, run_curves
from applications.trained.probe_figures import PROBE, describe_probe
from utils.files import write_text
from utils.page import Page, paragraph, tiles


def write_report(material: Measured) -> list[Path]:
    """Write report.html, report.json and the folder figures into the material's folder; return what a person opens first.

    The page needs no other file and no network.
    """
    material.attachments.mkdir(exist_ok=True)
    headline, *others = REPORTS.resolve(material.task.name)(material)
    parts = [headline, run_curves(material), *others, cost(material), origin(material)]
    trained = material.trained
    page = Page(
        f"{trained.config.model.arch} on {len(material.split)} {material.split.name} images",
        f"{trained.origin()}; {material.split.display_path}",
        style="".join(part.style for part in parts),
    )
    facts = {name: value for part in parts for name, value in part.tiles.items()}
    warnings = describe_overlap(material.seen, len(material.split), material.split.name, model="this model")
    probe = material.trained.saved.get(PROBE)
    begun = [paragraph(f"Before training: {describe_probe(probe)}.")] if probe else []
    first = [*(paragraph(line, tone="bad") for line in warnings), *begun, tiles(facts)]
    for number, (title, blocks) in enumerate(section for part in parts for section in part.sections):
        page.section(title, *(first if number == 0 else []), *blocks)
    files = [material.folder / "report.html", material.folder / "report.json"]
    page.write(files[0])
    figures = {
        "checkpoint": str(trained.path),
        "epoch": trained.epoch,
        "split": material.split.name,
        "images": len(material.split),
        "unreadable": material.unreadable,
        **material.facts(),
        "views": material.views or None,
        TRAINED_ON: None if material.seen is None else material.seen._asdict(),
    }
    for part in parts:
        figures |= part.figures
    write_text(files[1], json.dumps(plain_floats(figures), indent=2) + "\n")
    return files
