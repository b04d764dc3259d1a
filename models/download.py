"""Published files fetched over a network that may break: whole and checked, or not at all, and never twice from the start."""

import os
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from models.published import Published
from utils.errors import UserError
from utils.files import locked, sha256_of

NETWORK_TIMEOUT_S = 30
ATTEMPTS = 4


def download(published: Published, path: Path) -> None:
    """Fetch a file of weights to `path`; it appears there whole and checked, or not at all.

    What has come of a file that carries its hash is kept in PATH.part: a broken connection is taken up again from there, at once
    and by the next call. Processes that want the same file wait for the first.

    Raises:
        UserError: it cannot be fetched, written, or is not the published file.
    """
    part, lock = (path.with_name(f"{path.name}.{suffix}") for suffix in ("part", "lock"))
    remedy = f"fetch {published.url} where there is network and save it as {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(lock, wait=lambda: None):
                if not path.is_file():
                    _fetch_all(published, part)
                    _check(published, part, remedy)
                    os.replace(part, path)
        finally:
            lock.unlink(missing_ok=True)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        if not published.sha256 and part.is_file():
            part.unlink()
        kept = _size(part)
        again = f"; {kept / 1e6:.1f} MB of it are kept in {part}, and the same command goes on from there" if kept else ""
        raise UserError(f"cannot download the weights ({error}){again}; {remedy}") from error


def _check(published: Published, part: Path, remedy: str) -> None:
    """Raise UserError, and drop the file, unless it has the hash of the published one."""
    if not sha256_of(part).startswith(published.sha256):
        part.unlink()
        raise UserError(f"what came from {published.url} is not the published file (changed or damaged); try again, or {remedy}")


def _fetch_all(published: Published, part: Path) -> None:
    """Write the file to `part`, taking up again what breaks off as long as something comes."""
    for attempt in range(ATTEMPTS):
        before = _size(part) if published.sha256 else 0
        try:
            _fetch(published.url, part, start=before)
            return
        except (OSError, HTTPException) as error:
            gone_on = published.sha256 and _size(part) > before
            if isinstance(error, HTTPError) or not gone_on or attempt == ATTEMPTS - 1:
                raise


def _fetch(url: str, part: Path, *, start: int) -> None:
    """Write what `url` gives from byte `start` on behind what `part` has, or all of it where the server does not know how.

    Raises:
        OSError: it cannot be fetched, or the connection ended before the file did.
    """
    headers = {"User-Agent": "darkroom"} | ({"Range": f"bytes={start}-"} if start else {})
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
