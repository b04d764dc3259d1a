"""--export best: several files of one model, of which the fastest stays that is accurate enough."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from applications.export.convert import destination_of, write_draft
from applications.export.record import Record, write_record
from applications.export.source import Source, read_source
from applications.export.staging import check_room, draft_folder, place
from applications.export.wanted_formats import check_format
from applications.formats import FORMATS, build_format
from applications.formats.format import Format
from applications.settings.options import ExportOptions, Request
from utils.errors import UserError
from utils.files import write_text
from utils.logs import log
from utils.text import counted


@dataclass(frozen=True)
class Candidate:
    """A file that was written to be compared with others.

    Attributes:
        name: format, with its precision.
        record: its comparison with the model.
        folder: where it waits.
        destination: where it is to lie.
    """

    name: str
    record: Record
    folder: Path
    destination: Path

    def fault(self, least: float, most_ms: float | None) -> str:
        """Return why it cannot win, or ''."""
        record = self.record
        if record.refusal or record.parity is None or record.timing is None:
            return record.refusal or "it was not measured"
        if record.parity.file < least - 1e-9:
            return f"{record.parity.headline} {100 * record.parity.file:.2f}% is below {100 * least:.2f}%"
        if most_ms is not None and self.milliseconds > most_ms:
            return f"{self.milliseconds:.2f} ms are more than {most_ms:g} ms"
        return ""

    @property
    def milliseconds(self) -> float:
        """Median for one image; infinite where it was not measured."""
        return float("inf") if self.record.timing is None else 1e3 * self.record.timing.median


def export_best(request: Request) -> int:
    """Write files of all formats and precisions that can be written here, and keep the winner; return 1 when there is none."""
    options = request.config.export
    if options.int8 or options.half:
        raise UserError("--export best tries precisions by itself; leave --int8 and --half out")
    able = writable(options)
    source = read_source(request, [found for found, _ in able])
    with ExitStack() as stack:
        names = [each.name + (" int8" if chosen.int8 else "") for each, chosen in able]
        log().info(f"try       {', '.join(names)}; each is written, asked and timed")
        found: list[Candidate] = []
        for each, chosen in able:
            if chosen.int8 and options.min_accuracy is not None and "max_drop" not in request.given:
                # What may be lost is what the user said is enough.
                chosen = replace(chosen, max_drop=max(options.max_drop, accuracy_of_model(found) - options.min_accuracy))
            if (candidate := _write(source, each, chosen, stack)) is not None:
                found.append(candidate)
        if not found:
            raise UserError("--export best: none of the files could be written")
        least = accuracy_of_model(found) - options.max_drop if options.min_accuracy is None else options.min_accuracy
        winner, reason = choose_winner(found, least, options.max_ms)
        write_table(found, source.trained.path.parent, least, options.max_ms, reason)
        if winner is None:
            log().error(f"{reason}; nothing was kept")
            return 1
        write_record(winner.record, winner.destination)
        place(winner.folder, winner.destination)
    log().info(reason)
    log().info(f"written   {winner.destination} ({winner.record.bytes / 1e6:.1f} MB)")
    return 0


def accuracy_of_model(found: Sequence[Candidate]) -> float:
    """Return the figure of the model on the images of the comparison, as a share; 0 where nothing was compared."""
    return next((each.record.parity.model for each in found if each.record.parity is not None), 0.0)


def writable(options: ExportOptions) -> list[tuple[Format, ExportOptions]]:
    """Return the formats and precisions whose packages are here and that hold what was asked for; others are told."""
    able = []
    for found in filter(lambda each: each.portable, map(build_format, FORMATS)):
        for int8 in (False, True) if found.holds.int8 else (False,):
            chosen = replace(options, int8=int8, opset=options.opset if found.holds.opset else None)
            try:
                check_format(found, chosen)
            except UserError as error:
                log().warning(f"left out {found.name}{' int8' if int8 else ''}: {error}")
                continue
            able.append((found, chosen))
    return able


def _write(source: Source, found: Format, options: ExportOptions, stack: ExitStack) -> Candidate | None:
    source = replace(source, options=options)
    destination, name = destination_of(source, found), found.name + (" int8" if options.int8 else "")
    try:
        check_room(destination, source.trained.model)
        folder = stack.enter_context(draft_folder(destination))
        return Candidate(name, write_draft(source, found, folder / destination.name), folder, destination)
    except UserError as error:
        log().warning(f"left out {name}: {error}")
        return None


def choose_winner(found: Sequence[Candidate], least: float, most_ms: float | None) -> tuple[Candidate | None, str]:
    """Return the fastest that is accurate and fast enough, and why it is that one."""
    able = [each for each in found if not each.fault(least, most_ms)]
    if not able:
        nearest = min(found, key=lambda each: each.milliseconds)
        return None, f"none of {len(found)} files is accurate and fast enough; {nearest.name}: {nearest.fault(least, most_ms)}"
    winner = min(able, key=lambda each: each.milliseconds)
    bound = f"{len(able)} of {len(found)} files reach {100 * least:.2f}%" + ("" if most_ms is None else f" within {most_ms:g} ms")
    return winner, f"{winner.name} wins: {bound}, and it is the fastest of them, {winner.milliseconds:.2f} ms an image"


def write_table(found: Sequence[Candidate], folder: Path, least: float, most_ms: float | None, reason: str) -> None:
    """Write export-best.md and export-best.json: all candidates, and why one was kept."""
    rows, plain = ["| file | median (ms) | accuracy | size (MB) | |", "|---|---|---|---|---|"], []
    for each in sorted(found, key=lambda candidate: candidate.milliseconds):
        parity, fault = each.record.parity, each.fault(least, most_ms)
        accuracy = "" if parity is None else f"{100 * parity.file:.2f}%"
        rows.append(f"| {each.name} | {each.milliseconds:.2f} | {accuracy} | {each.record.bytes / 1e6:.1f} | {fault or 'could win'} |")
        timing = None if each.record.timing is None else each.record.timing.to_dict()
        plain.append(
            {
                "name": each.name,
                "timing": timing,
                "accuracy": None if parity is None else parity.file,
                "bytes": each.record.bytes,
                "fault": fault,
                "floating": each.record.floating,
            }
        )
    about = (
        f"One image at a time on {counted(torch.get_num_threads(), 'thread')}, {found[0].record.split} images of {found[0].record.data}."
    )
    write_text(folder / "export-best.md", "\n".join(["# The best export", "", about, "", *rows, "", f"{reason}.", ""]))
    facts = {"reason": reason, "min_accuracy": least, "max_ms": most_ms, "threads": torch.get_num_threads(), "candidates": plain}
    write_text(folder / "export-best.json", json.dumps(facts, indent=2) + "\n")
