"""--serve: a page and a JSON API for one model or several."""

import importlib.util
import socket
from collections.abc import Sequence
from contextlib import closing
from errno import EACCES, EADDRINUSE
from typing import Any

from applications.settings.options import Request, ServeOptions
from utils.errors import UserError
from utils.logs import log

# As `socket.getaddrinfo` gives them.
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# Name of the module -> of the package.
PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def run(request: Request) -> int:
    """Serve the models of --serve until a signal ends it; return 128 plus the signal."""
    check_installed()
    return serve(request)


def serve(request: Request, *, decode: str | None = None) -> int:
    """Serve as `run` does; `decode` is for `open_service`."""
    # What they import may be missing.
    from applications.serving.access import is_loopback
    from applications.serving.app import build_app
    from applications.serving.limits import choose_token
    from applications.serving.service import open_service
    from applications.serving.web_server import WebServer

    options = request.config.serve
    addresses = find_addresses(options)
    # All of them, since pages of another machine of that name may ask here, too.
    local = all(is_loopback(str(place[0])) for *_, place in addresses)
    token = choose_token(options, local=local)
    # Before anything slow: a port that is taken is told at once.
    with closing(listen(options, addresses[0])) as listener, open_service(request, decode=decode) as service:
        server = WebServer(build_app(service, token=token, own_name=options.host if local else None))
        log().info(f"serving   {shown_address(listener, options.host)}{f'#token={token}' if token else ''} (Ctrl-C ends it)")
        return server.run_until_signal(listener)


def check_installed() -> None:
    """Raise UserError, with the line for pip, when a package is missing."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"--serve needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def find_addresses(options: ServeOptions) -> Sequence[Address]:
    """Return what --host and --port stand for.

    Raises:
        UserError: there is no such port or host.
    """
    if options.port > 65535:
        raise UserError(f"--port {options.port}: ports end at 65535")
    try:
        return socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"--host {options.host}: no such host; 127.0.0.1 is this machine alone, 0.0.0.0 all its addresses") from error


def listen(options: ServeOptions, address: Address) -> socket.socket:
    """Return a socket that listens on an address of --host and --port.

    Raises:
        UserError: the port is in use or not allowed, or the host is no address of this machine.
    """
    family, kind, protocol, _, place = address
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == EADDRINUSE:
            raise UserError(f"--port {options.port} is in use; choose another, or 0 for any that is free") from error
        if error.errno == EACCES:
            raise UserError(f"--port {options.port} is not open to you; choose one above 1023") from error
        raise UserError(f"--host {options.host}: {error.strerror}; name an address of this machine") from error
    return listener


def shown_address(listener: socket.socket, host: str) -> str:
    """Return where a browser finds the page."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"
