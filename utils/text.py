"""Words for people: numbers with their noun."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return '1 image', '2 images', '1,234 images'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
