"""Chromium without a window, driven by its own protocol over a pipe, for the tests of pages."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-extensions",
    "--lang=en",
)
# It reads commands from file descriptor 3 and writes what happens to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE = 60.0


def program() -> str | None:
    """The browser of this machine, or none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Page:
    """A tab."""

    def __init__(self, commands: int, events: int) -> None:
        self._commands, self._events = commands, events
        self._number, self._rest = 0, b""
        # What the browser complained about: scripts that failed, what a policy forbade.
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the protocol, to this tab."""
        return self._call(method, session=self._session, **parameters)

    def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        problem = self.call("Page.navigate", url=url).get("errorText")
        assert problem is None, f"{url}: {problem}"
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of JavaScript, as soon as it is something."""
        deadline = time.monotonic() + _PATIENCE
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, (
                f"{expression} stays {value!r}:\n{self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def picture(self, *, dark: bool, width: int) -> bytes:
        """The whole page as a PNG file."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        # Low, so that the page is higher; then as high as the page.
        self._resize(width, 100)
        self._resize(width, self.evaluate("document.documentElement.scrollHeight"))
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _resize(self, width: int, height: int) -> None:
        size: dict[str, object] = {"width": width, "height": height, "deviceScaleFactor": 1.5, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def _call(self, method: str, *, session: str | None = None, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["source"] == "security":
            self.complaints.append(parameters["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._events], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser says nothing"
            more = os.read(self._events, 1 << 16)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def browsing() -> Iterator[Page]:
    """Start the browser with an empty profile, and end it."""
    path = program()
    assert path is not None
    for_browser, commands = _pipe()
    events, from_browser = _pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*_FLAGS, f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            # Its sandbox is made by a user that is not root.
            flags.append("--no-sandbox")
        command = [sys.executable, "-c", _START, str(for_browser), str(from_browser), path, *flags]
        process = subprocess.Popen(
            command, pass_fds=(for_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(for_browser)
        os.close(from_browser)
        try:
            yield Page(commands, events)
        finally:
            # It ends when nobody can command it any more.
            os.close(commands)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(events)


def _pipe() -> tuple[int, int]:
    """Both ends with numbers that are not 3 or 4."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
