"""A headless Chromium, driven over a pipe by the Chrome DevTools Protocol: real clicks and keys.

``--remote-debugging-pipe`` needs no websocket: messages are JSON, each with a zero byte at its end,
read by the browser from file descriptor 3 and written to 4.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from support.waiting import PATIENCE

__all__ = ["PROGRAM", "Chromium", "Page"]

#: The browser, where there is one.
PROGRAM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

#: Nothing that asks the network by itself; and as root, in a container, no sandbox.
OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu",
    "--no-default-browser-check", "--disable-background-networking", "--disable-extensions",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--mute-audio",
    "--no-sandbox", "--disable-features=Translate,OptimizationHints,MediaRouter",
)  # fmt: skip

#: What a key is to the browser.
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}


class Chromium:
    """A browser; each page has cookies of its own."""

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def connect() -> None:  # in the child: the two ends, where it looks for them
            one, other = os.dup(to_browser), os.dup(from_browser)
            os.dup2(one, 3)
            os.dup2(other, 4)

        self._process = subprocess.Popen(
            [PROGRAM, *OPTIONS, f"--user-data-dir={self._folder}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=connect, pass_fds=(3, 4), start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._write)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._read], [], [], left)[0], "no answer"
            data = os.read(self._read, 1 << 16)
            assert data, "the browser has ended"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def page(self, width: int = 1400, height: int = 900) -> Page:
        """A new page, in a profile of its own."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.send(f"{domain}.enable")
        page.look(width, height)
        return page


class Page:
    """One page of a browser, with all that went wrong on it."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser, self.session = browser, session
        self._forgiven: list[str] = []
        self._has_scripts = True

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        return self.browser.send(method, self.session, **parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has happened on this page, of one kind."""
        self.run("0")  # all that came before this is there now
        mine = [e for e in self.browser.events if e.get("sessionId") == self.session]
        return [event["params"] for event in mine if event["method"] == method]

    def complaints(self) -> list[str]:
        """What the browser complained of: errors of scripts, violations of the policy, and more."""
        logged = [e["entry"] for e in self.events("Log.entryAdded")]
        found = [entry["text"] for entry in logged if entry["level"] in ("error", "warning")]
        calls = self.events("Runtime.consoleAPICalled")
        found += [str(call["args"]) for call in calls if call["type"] in ("error", "warning")]
        thrown = self.events("Runtime.exceptionThrown")
        found += [str(error["exceptionDetails"]) for error in thrown]
        return [text for text in found if not any(known in text for known in self._forgiven)]

    def forgive(self, *texts: str) -> None:
        """Complaints with one of these texts are what a test wanted to see."""
        self._forgiven += texts

    def close(self) -> None:
        """Leave it."""
        self.send("Page.close")

    def requested(self) -> list[str]:
        """All URLs that were asked for."""
        return [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]

    def look(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Be of another size, or in light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def disable_scripts(self) -> None:
        """Run none of the page's own; then nothing on it moves, either."""
        self._has_scripts = False
        self.send("Emulation.setScriptExecutionDisabled", value=True)

    def open(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        self.send("Page.navigate", url="about:blank")  # else it might only scroll to a fragment
        self.run("window.isOld = true")
        self.send("Page.navigate", url=url)
        self.loaded()

    def loaded(self) -> None:
        """Wait until another page than the one before is there."""
        self.until("!window.isOld && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                got = self.send(
                    "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
                )
                break
            except AssertionError:  # the page was left meanwhile
                assert time.monotonic() < deadline
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"it never happened: {script}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Press the mouse where something is, as a visitor does.

        A visitor waits until it stands still, and clicks again if it has moved all the same.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            place = PLACE if self._has_scripts else RESTING_PLACE
            x, y, reachable = self.run(place % json.dumps(selector))
            assert reachable, f"something lies upon {selector}"
            for kind in ("mousePressed", "mouseReleased"):
                button = {"button": "left", "clickCount": 1}
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
            # On another page, nothing is known of it.
            if not self._has_scripts or self.run("window.wasClicked ?? true"):
                return
            assert time.monotonic() < deadline, f"{selector} never stands still"

    def click_away(self, selector: str) -> None:
        """Click on what leads to another page, and wait for that."""
        self.run("window.isOld = true")
        self.click(selector)
        self.loaded()

    def press(self, key: str) -> None:
        """Press a key."""
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key,
                windowsVirtualKeyCode=code, **more,
            )  # fmt: skip

    def tab_to(self, selector: str, most: int = 80) -> None:
        """Go on with the tabulator until something has the focus."""
        for _ in range(most):
            self.press("Tab")
            if self.run(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"the keyboard does not lead to {selector}")

    def type(self, text: str) -> None:
        """Write where the focus is."""
        self.send("Input.insertText", text=text)

    def shot(self, path: Path | str, whole: bool = True) -> None:
        """Save a picture."""
        got = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(got["data"]))


#: The middle of something, and whether a click on that would reach it.
RESTING_PLACE = """(() => {
  const it = document.querySelector(%s);
  it.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const box = it.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  return [x, y, it.contains(document.elementFromPoint(x, y))];
})()"""

#: The same, once it is where it was two frames before; and the click is noted.
PLACE = """(async () => {
  const it = document.querySelector(%s);
  it.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const frame = () => new Promise(requestAnimationFrame);
  let box, before = null;
  for (;;) {
    box = it.getBoundingClientRect();
    if (before && before.x === box.x && before.y === box.y) break;
    before = box;
    await frame();
    await frame();
  }
  window.wasClicked = false;
  it.addEventListener("click", () => { window.wasClicked = true; }, {once: true, capture: true});
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  return [x, y, it.contains(document.elementFromPoint(x, y))];
})()"""
