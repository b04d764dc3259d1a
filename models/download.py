"""Published files fetched over a network that may break: whole and checked, or not at all, and never twice from the start."""

import os
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin

from models.published import Published
from utils.errors import UserError
from utils.files import locked, sha256_of

NETWORK_TIMEOUT_S = 30
ATTEMPTS = 4
REDIRECTS = 5
AGENT = {"User-Agent": "darkroom"}


def download(published: Published, path: Path) -> None:
    """Fetch a file of weights to `path`; it appears there whole and checked, or not at all.

    What has come of a file whose hash is known, from its name or from its server, is kept in PATH.part: a broken connection is taken up
    again from there, at once and by the next call. Processes that want the same file wait for the first.

    Raises:
        UserError: it cannot be fetched, written, or is not the published file.
    """
    part, lock = (path.with_name(f"{path.name}.{suffix}") for suffix in ("part", "lock"))
    sha256, remedy = "", f"fetch {published.url} where there is network and save it as {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(lock, wait=lambda: None):
                if not path.is_file():
                    sha256 = published.sha256 or announced_sha256(published.url)
                    _fetch_all(published.url, part, resumes=bool(sha256))
                    _check(published.url, part, sha256, remedy)
                    os.replace(part, path)
        finally:
            lock.unlink(missing_ok=True)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        if not sha256 and part.is_file():
            part.unlink()
        kept = _size(part)
        again = f"; {kept / 1e6:.1f} MB of it are kept in {part}, and the same command goes on from there" if kept else ""
        raise UserError(f"cannot download the weights ({error}){again}; {remedy}") from error


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Lets a redirection be looked at."""

    def redirect_request(self, *_args: object, **_named: object) -> None:
        return None


def announced_sha256(url: str) -> str:
    """Return the SHA-256 that a server names for a file before it sends it, as model hubs do; '' where it names none.

    It tells that a file has come as it lies there, not that nobody has changed it there.
    """
    opener = urllib.request.build_opener(_StayHere)
    for _ in range(REDIRECTS):
        try:
            with opener.open(urllib.request.Request(url, headers=AGENT, method="HEAD"), timeout=NETWORK_TIMEOUT_S) as answer:
                headers = answer.headers
        except HTTPError as error:
            headers = error.headers
            error.close()
        except (OSError, HTTPException, ValueError):
            return ""
        if found := re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get("X-Linked-ETag", "")):
            return found[1]
        if not (place := headers.get("Location")):
            return ""
        url = urljoin(url, place)
    return ""


def _check(url: str, part: Path, sha256: str, remedy: str) -> None:
    """Raise UserError, and drop the file, unless its hash begins with `sha256`."""
    if not sha256_of(part).startswith(sha256):
        part.unlink()
        raise UserError(f"what came from {url} is not the published file (changed or damaged); try again, or {remedy}")


def _fetch_all(url: str, part: Path, *, resumes: bool) -> None:
    """Write the file to `part`; where it `resumes`, take up again what breaks off as long as something comes."""
    for attempt in range(ATTEMPTS):
        before = _size(part) if resumes else 0
        try:
            _fetch(url, part, start=before)
            return
        except (OSError, HTTPException) as error:
            gone_on = resumes and _size(part) > before
            if isinstance(error, HTTPError) or not gone_on or attempt == ATTEMPTS - 1:
                raise


def _fetch(url: str, part: Path, *, start: int) -> None:
    """Write what `url` gives from byte `start` on behind what `part` has, or all of it where the server does not know how.

    Raises:
        OSError: it cannot be fetched, or the connection ended before the file did.
    """
    headers = AGENT | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=NETWORK_TIMEOUT_S)
    except HTTPError as error:
        # Nothing lies behind the last byte: the file is whole, which its hash will say.
        if start and error.code == 416:
            error.close()
            return
        raise
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        announced, count = answer.headers.get("Content-Length"), 0
        with part.open("ab" if goes_on else "wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
                count += len(block)
    if announced is not None and count != int(announced):
        raise ConnectionError(f"the connection ended after {count:,} of {int(announced):,} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
