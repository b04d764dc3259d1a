"""A headless Chromium, driven by the DevTools protocol through its pipe: no package is needed."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any


class Chromium:
    """A browser with one open page.

    Args:
        program: its file.
        profile: an empty folder.
        url: what to open.
        size: (width, height) of the window.
    """

    def __init__(self, program: str, profile: Path, url: str, size: tuple[int, int] = (1280, 900)) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run"]
        flags += [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
        # The pipe is the descriptors 3 and 4.
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, program, *flags, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest, self._number, self._session = b"", 0, None
        target = self.send("Target.createTarget", url=url)["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> Any:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Return the value of a script in the page."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Return the value of a script as soon as it is true."""
        end = time.monotonic() + seconds
        # The page may not be there yet.
        while not (value := self.run(f"(() => {{ try {{ return {script}; }} catch {{ return false; }} }})()")):
            assert time.monotonic() < end, f"{script} is not true: {self.run('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def drop(self, files: list[Path]) -> None:
        """Drop files onto the page, as a person does with the mouse."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=600, y=150, data=data)

    def screenshot(self, file: Path) -> None:
        """Write a picture of the page."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)
