"""Files whose content is another format than their name says."""

from pathlib import PurePosixPath

from dataloader.checks.findings import Finding, singles
from dataloader.checks.survey import Survey
from utils.text import counted

PILLOW_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF"}


def find(survey: Survey) -> list[Finding]:
    """Return a warning: they are read by their content here, but other programs go by the name."""
    notes = {}
    for number in survey.readable:
        form = survey.facts[number].form
        named = PILLOW_FORMATS.get(PurePosixPath(survey.picture(number).path).suffix[1:].lower(), "")
        if form and named and form != named:
            notes[number] = f"{form}, not {named}"
    if not notes:
        return []
    title = f"{counted(len(notes), 'file is', 'files are')} of another format than the name says"
    return [Finding("warning", title, "They are read all the same; other programs may fail. Rename them.", singles(list(notes), notes))]
