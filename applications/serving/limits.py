"""What --serve keeps to, read from its flags."""

import secrets
from dataclasses import dataclass

from applications.settings.options import ServeOptions
from utils.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        max_bytes: of a request.
        max_images: of a request.
        max_pixels: of an image.
        decode_seconds: of a file.
        max_waiting: images of all requests under way; beyond it the server says that it is busy.
    """

    max_bytes: int
    max_images: int
    max_pixels: int
    decode_seconds: float

    @property
    def max_waiting(self) -> int:
        return 8 * self.max_images


def read_limits(options: ServeOptions) -> Limits:
    """Return the limits that the flags say."""
    return Limits(int(options.max_mb * 1e6), options.max_images, int(options.max_megapixels * 1e6), options.decode_seconds)


def choose_token(options: ServeOptions, *, local: bool) -> str | None:
    """Return the token that requests must carry: --token, a fresh one where other machines can ask, else none.

    Args:
        options: the flags.
        local: whether only programs of this machine can ask.

    Raises:
        UserError: it cannot stand in a header.
    """
    if options.token is None:
        return None if local else secrets.token_urlsafe(24)
    if len(options.token) < 8 or not all("!" <= letter <= "~" for letter in options.token):
        raise UserError("--token takes at least 8 letters, digits and signs without spaces; without it, one is made for other machines")
    return options.token
