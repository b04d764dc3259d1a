"""Words for people: numbers with their noun."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return '1 image', '2 images', '1,234 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def say_bytes(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


class FirstFew:
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
