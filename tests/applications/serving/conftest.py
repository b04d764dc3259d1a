"""Runs to be served, and an application that serves them in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import config
from applications.serving.app import build_app
from applications.serving.limits import choose_token
from applications.serving.service import open_service
from tests.applications.conftest import NETS, run_once, tiny

HOSTILE = "tests.applications.serving.faulty_decoder:decode"
Serving = Callable[..., TestClient]


@pytest.fixture(scope="session")
def runs(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two runs of a tiny network on three colors; the second one sees larger images."""
    folder = tmp_path_factory.mktemp("served")
    run_once(*tiny(colors, "--logdir", folder, "--name", "one"))
    run_once(*tiny(colors, "--logdir", folder, "--name", "two", "--image_size", 20, 24, "--seed", 1))
    return folder / "classify" / "one", folder / "classify" / "two"


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """Return a function that serves models in this process, until the end of the file's tests."""
    with ExitStack() as stack:

        def open_client(*argv: object) -> TestClient:
            request = config.parse(["--serve", *map(str, argv), "--arch", f"{NETS}:TinyNet"])
            service = stack.enter_context(open_service(request, decode=HOSTILE))
            options = request.config.serve
            local = options.host == "127.0.0.1"
            app = build_app(service, token=choose_token(options, local=local), own_name=options.host if local else None)
            return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)

        yield open_client
