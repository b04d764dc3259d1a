"""What --predict calls the files of an image: masks, copies, lines of boxes."""

from pathlib import Path

from dataloader.sources.frames import Frame


class FileNames:
    """Gives every image a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, path: str, frame: Frame | None = None) -> str:
        """Return the name of a file without its suffix; with the number of its frame, so that they sort as they come.

        An image has a number of its own behind it where another one is called so, too.
        """
        stem = Path(path).stem or "image" if frame is None else f"{Path(frame.source).stem}-{frame.number:06}"
        name, number = stem, 2
        while name in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name)
        return name
