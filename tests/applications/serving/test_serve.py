"""--serve as a program: what it says, how it ends, and what it refuses before it begins."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from applications.serving.web_server import WebServer
from tests.applications.conftest import NETS, Call, start

NET = ("--arch", f"{NETS}:TinyNet", "-j", 1)


def wait_for_address(process: "subprocess.Popen[str]") -> str:
    """Return where a server says that it answers."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"serving +(\S+)", line):
            return found[1]
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_cleanly(runs, tmp_path, number, code):
    process = start("--serve", runs[0], *NET, "--port", 0, folder=tmp_path)
    try:
        address = wait_for_address(process)
        with urllib.request.urlopen(address + "health") as answer:
            assert json.load(answer)["status"] == "ok"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert (out, err) == ("", "")
    for child in children:
        assert not Path(f"/proc/{child}/cmdline").exists() or b"forkserver" not in Path(f"/proc/{child}/cmdline").read_bytes()


@pytest.mark.slow
def test_other_machines_get_a_token_that_is_printed(runs, tmp_path):
    process = start("--serve", runs[0], *NET, "--port", 0, "--host", "0.0.0.0", folder=tmp_path)
    try:
        address, _, token = wait_for_address(process).partition("#token=")
        request = urllib.request.Request(address + "api/models", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            assert [model["name"] for model in json.load(answer)["models"]] == ["one"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("local", [True, False])
def test_a_name_is_local_if_all_its_addresses_are(runs, call: Call, monkeypatch, local):
    usual = socket.getaddrinfo

    def found(host: str | None, *more: object, **named: object) -> list[object]:
        if host != "Workstation":
            return usual(host, *more, **named)  # type: ignore[arg-type]
        return [each for place in ("127.0.1.1", "127.0.0.1" if local else "192.0.2.1") for each in usual(place, *more, **named)]  # type: ignore[arg-type]

    statuses: dict[str, int] = {}

    def ask(server: WebServer, listener: socket.socket) -> int:
        assert listener.getsockname()[0] == "127.0.1.1"
        client = TestClient(server.config.app)  # type: ignore[arg-type]
        for name in ("workstation", "127.0.0.1", "evil.example"):
            statuses[name] = client.get("/api/models", headers={"Host": f"{name}:8000"}).status_code
        return 0

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(WebServer, "run_until_signal", ask)
    done = call("--serve", runs[0], *NET, "--port", 0, "--host", "Workstation")
    assert done.code == 0, done.err
    assert re.search(r"serving   http://Workstation:\d+/(#token=)?", done.out)
    assert ("#token=" in done.out) is not local
    expected = {"workstation": 200, "127.0.0.1": 200, "evil.example": 421}
    assert statuses == (expected if local else dict.fromkeys(expected, 401))


def test_a_port_in_use_is_one_line(runs, call: Call):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call("--serve", runs[0], *NET, "--port", port)
    assert (done.code, done.err) == (2, f"error: --port {port} is in use; choose another, or 0 for any that is free\n")
    assert not done.out


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--host", "192.0.2.1"), "--host 192.0.2.1: Cannot assign requested address; name an address of this machine"),
        (("--host", "no such host"), "--host no such host: no such host; 127.0.0.1 is this machine alone, 0.0.0.0 all its addresses"),
        (("--port", 70000), "--port 70000: ports end at 65535"),
        (("--port", -1), "--port must be 0 or more, not -1"),
        (("--max_mb", 0), "--max_mb must be above 0, not 0.0"),
        (("--visual_method", "all"), "--visual_method all: --serve draws one kind of heat map; name one"),
        (("--epochs", 3), "--epochs belongs to training and does nothing for --serve; leave it out"),
        (("--reject", 2), "--reject 2.0: write a probability from 0 to 1"),
    ],
)
def test_mistakes_are_one_line(runs, call: Call, flags, line):
    done = call("--serve", runs[0], *NET, *([] if "--port" in flags else ["--port", 0]), *flags)
    assert (done.code, done.err) == (2, f"error: {line}\n")


def test_a_model_that_cannot_be_read_is_one_line(call: Call, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    for place in ("nothing.pt", "model.onnx"):
        done = call("--serve", place, "--port", 0)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert place in done.err
    assert call("--serve", "nothing.pt").err == "error: --serve: there is no run folder, checkpoint or exported file nothing.pt\n"


def test_missing_packages_are_named_with_the_line_for_pip(runs, call: Call, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("fastapi", "python_multipart") else found(name))
    done = call("--serve", runs[0], *NET)
    assert (done.code, done.err) == (2, "error: --serve needs fastapi and python-multipart: pip install fastapi python-multipart\n")
