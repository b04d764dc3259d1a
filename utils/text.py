"""Words for people: numbers with their noun, names as they can be shown."""

import unicodedata


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return '1 image', '2 images', '1,234 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def say_rate(rate: float) -> str:
    """Return things a second for people: '12', '0.4'."""
    return f"{rate:.0f}" if rate >= 9.95 else f"{rate:.2g}"


def two_digits(count: float) -> int:
    """Return the number rounded up to its two leading digits: 1234.5 -> 1300."""
    step = 10 ** max(0, len(str(int(count))) - 2)
    return int(-(-count // step) * step)


def printable(text: str) -> str:
    """Return a name in one line of visible letters: file names need not be valid text, and may hold marks that nothing draws."""
    text = unicodedata.normalize("NFC", text.encode(errors="replace").decode())
    text = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text)
    return "".join(letter for letter in text if not ("\ufe00" <= letter <= "\ufe0f" or letter in "\u200b\u200d\ufeff"))


def shortened(text: str, most: int) -> str:
    """Return the text, cut with an ellipsis where it is wider than `most` letters; those of China and Japan count as two."""
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= most:
        return text
    room, kept = most - 1, 0
    while room >= widths[kept]:
        room -= widths[kept]
        kept += 1
    return text[:kept] + "…"


def say_bytes(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


class FirstNames:
    """Which of many files to name as they are met: each once, the first few; the others are only counted."""

    MOST = 5

    def __init__(self) -> None:
        self._met: set[str] = set()
        self._told = 0

    def __len__(self) -> int:
        return len(self._met)

    def number(self, file: str) -> int:
        """Return the number of a file that is to be named now, from 1; else 0."""
        if file in self._met:
            return 0
        self._met.add(file)
        if len(self) > self.MOST:
            return 0
        self._told = len(self)
        return self._told

    def rest(self) -> int:
        """Return how many were met since the last one was named, or since this was last asked."""
        rest, self._told = len(self) - self._told, len(self)
        return rest
