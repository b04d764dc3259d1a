"""Who is answered by --serve."""

import asyncio
import json
import time
from functools import partial

import pytest
from starlette.types import Message

from applications.serving import app as app_module
from applications.serving.access import Gate, is_loopback
from applications.serving.app import build_app
from applications.serving.limits import choose_token
from applications.settings.options import ServeOptions
from tests.applications.serving.test_api import as_files, png
from utils.errors import UserError

TOKEN = "open-sesame"


@pytest.fixture(scope="module")
def guarded(serving, runs):
    return serving(runs[0], "-j", 1, "--host", "0.0.0.0", "--token", TOKEN)


def test_other_machines_are_asked_for_a_token() -> None:
    assert choose_token(ServeOptions(), local=True) is None
    assert choose_token(ServeOptions(token=TOKEN), local=True) == TOKEN
    made = choose_token(ServeOptions(), local=False)
    assert made is not None
    assert len(made) >= 24
    assert made != choose_token(ServeOptions(), local=False)
    for bad in ("", "short", "with space", "żółć-żółć"):
        with pytest.raises(UserError, match="--token takes"):
            choose_token(ServeOptions(token=bad), local=True)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_loopback(host, local) -> None:
    assert is_loopback(host) == local


def test_nothing_but_the_page_and_health_is_answered_without_the_token(guarded) -> None:
    for path in ("/", "/page/app.js", "/page/style.css", "/health"):
        assert guarded.get(path).status_code == 200
    for path in ("/metrics", "/openapi.json", "/api/models", "/docs", "/anything"):
        done = guarded.get(path)
        assert (done.status_code, done.headers["www-authenticate"]) == (401, "Bearer")
    for wrong in ("Bearer", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer " + TOKEN[:-1], "Bearer \xff"):
        headers = {"Authorization": wrong.encode("latin-1")}
        assert guarded.post("/api/predict", files=as_files(good=png()), headers=headers).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/api/predict", files=as_files(good=png()), headers=right).status_code == 200


def test_pages_of_other_sites_cannot_ask(serving, runs) -> None:
    client = serving(runs[0], "-j", 1)
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9"):
        done = client.post("/api/predict", files=as_files(good=png()), headers={"Origin": origin})
        assert (done.status_code, done.json()["detail"]) == (403, "another site may not ask")
    assert client.post("/api/predict", files=as_files(good=png()), headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    # A name that was made to lead here.
    assert client.get("/api/models", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/api/models", headers={"Host": "localhost:8000"}).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(guarded) -> None:
    page = guarded.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in ("/", "/page/app.js", "/page/style.css"):
        assert "//" not in guarded.get(path).text.replace("http://www.w3.org", "").replace("\n// ", "\n").replace("  // ", "  ")


def test_a_request_that_does_not_arrive_in_time_is_refused(guarded, monkeypatch) -> None:
    monkeypatch.setattr(app_module, "Gate", partial(Gate, seconds=0.2))
    app = build_app(guarded.app.state.service, token=None, own_name=None)
    headers = [(b"host", b"here"), (b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": "/api/predict", "query_string": b"", "headers": headers}
    parts = iter([b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'])
    answer: list[Message] = []

    async def receive() -> Message:
        # Something always comes, but never the end.
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": next(parts, b"0"), "more_body": True}

    async def send(message: Message) -> None:
        answer.append(message)

    started = time.monotonic()
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))
    assert time.monotonic() - started < 3
    assert answer[0]["status"] == 408
    assert json.loads(answer[1]["body"])["detail"] == "the request was not sent within 0.2 s"
