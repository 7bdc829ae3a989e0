"""A headless Chromium for tests, spoken to by its own protocol; skipped where there is none.

It sees this machine alone: other names are resolved to nothing.
"""

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 90.0
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1500,1100",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]


class Page:
    """One tab."""

    def __init__(self, line: Connection) -> None:
        self._line, self._numbers = line, itertools.count(1)
        self._call("Page.enable")

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)

    def text(self) -> str:
        """What a reader sees."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = SECONDS) -> Any:
        """The first value of an expression that is true; fails with what the page says."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} never came true; the page says:\n{self.text()[:3000]}"
            time.sleep(0.2)
        return value

    def shows(self, *words: str) -> None:
        """Wait until a reader sees all of the words."""
        for word in words:
            self.until(f"document.body && document.body.innerText.includes({json.dumps(word)})")

    def click(self, words: str, kind: str = "button, a, [role=tab], [role=menuitem], li, label") -> None:
        """Click the smallest thing that says exactly these words."""
        self.until(
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(kind)})]"
            f".filter(one => one.innerText && one.innerText.trim() === {json.dumps(words)}"
            " && one.offsetParent !== null);"
            " if (!found.length) return false; found[found.length - 1].click(); return true; })()"
        )

    def fill(self, label: str, text: str) -> None:
        """Type into the field under a label."""
        self.until(
            f"(() => {{ const label = [...document.querySelectorAll('label')].find(one => one.innerText &&"
            f" one.innerText.trim().startsWith({json.dumps(label)})); if (!label) return false;"
            " const field = (label.control || label.parentElement.parentElement.querySelector('textarea, input'));"
            " if (!field) return false; field.focus(); return document.activeElement === field; })()"
        )
        self._call("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._line.recv(timeout=SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A tab of a browser whose profile is the folder."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    log = folder / "chromium.log"
    folder.mkdir(parents=True)
    with log.open("w") as output:
        browser = subprocess.Popen([program, *OPTIONS, f"--user-data-dir={folder}/profile"], stderr=output)
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"DevTools listening on ws://([^/]+)/", log.read_text())):
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        with connect(_tab(found[1]), max_size=None) as line:
            yield Page(line)
    finally:
        browser.terminate()
        browser.wait(30)


def _tab(host: str) -> str:
    request = urllib.request.Request(f"http://{host}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (on this machine)
        return str(json.load(answer)["webSocketDebuggerUrl"])
