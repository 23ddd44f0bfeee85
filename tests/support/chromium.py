"""A headless Chromium for tests of pages: the DevTools protocol over its pipe, no driver needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")

# without these it looks up hosts of its own at its start
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",  # /dev/shm of a container is small
)


def find_chromium() -> str | None:
    """Return the browser's path: the variable CHROMIUM, or what stands on PATH."""
    if named := os.environ.get("CHROMIUM"):
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A browser with one page; `events` are what the page told since it was opened."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.events: list[dict[str, Any]] = []
        self.session: dict[str, str] = {}
        self.numbers = itertools.count(1)
        self.buffer = b""

    def __enter__(self) -> "Chromium":
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self.write_end = os.pipe()
        self.read_end, to_write = os.pipe()
        # the browser takes commands at descriptor 3 and answers at 4
        command = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        options = (*QUIET, "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}")
        self.process = subprocess.Popen(
            ["bash", "-c", command, self.program, *options, "about:blank"],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.write_end)
        os.close(self.read_end)
        self.profile.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command; return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params, **self.session}
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
            if answer["method"] == "Page.javascriptDialogOpening":  # or the page stands still
                closing = {"id": 0, "method": "Page.handleJavaScriptDialog", **self.session}
                closing["params"] = {"accept": True}
                os.write(self.write_end, json.dumps(closing).encode() + b"\0")
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.read_end, 1 << 20)
            assert part, f"{self.program} ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file, and wait until its charts are drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.scheme(dark)
        self.events.clear()
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.body && document.body.dataset.drawn === 'all'")

    def scheme(self, dark: bool) -> None:
        """Set what the page is told about light and dark."""
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression in the page; a promise's is waited for."""
        asked = {"expression": code, "returnByValue": True, "awaitPromise": True}
        result = self.send("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not true after {seconds} s: {condition}"
            time.sleep(0.05)

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go; `code` is its virtual key code."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", **event, **(text if kind == "keyDown" else {}))

    def screenshot(self, file: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))
