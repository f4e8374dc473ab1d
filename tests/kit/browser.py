"""A real headless Chromium, driven by chromedriver over plain HTTP."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import httpx

from programs import Web, tool

PHONE = (390, 844)
DESKTOP = (1200, 900)


class Browser(Web):
    LISTENS = r"started successfully on port ([0-9]+)"

    def __init__(self, directory: Path) -> None:
        """Everything that Chromium writes goes below the directory."""
        environment = {"HOME": str(directory), "TMPDIR": str(directory)}
        super().__init__(tool("chromedriver"), "--port=0", environment=environment, cwd=directory)
        arguments = [
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'profile'}",
        ]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        wanted = {
            "goog:chromeOptions": {"binary": tool("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._session = ""
        try:
            session = self.ask("POST", "/session", capabilities={"alwaysMatch": wanted})
        except BaseException:
            super().stop()
            raise
        self._session = f"/session/{session['sessionId']}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{super().address}"

    def ask(self, method: str, path: str, **parameters: object) -> Any:
        body = parameters if method == "POST" else None
        url = f"http://{self.address}{self._session}{path}"
        answer = httpx.request(method, url, json=body, timeout=60).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def devtools(self, command: str, **parameters: object) -> Any:
        return self.ask("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def open(self, url: str) -> None:
        self.ask("POST", "/url", url=url)

    def new_window(self) -> str:
        """Opens a window on this address."""
        window = self.ask("POST", "/window/new", type="window")["handle"]
        self.switch_to(window)
        return window

    @property
    def window(self) -> str:
        return self.ask("GET", "/window")

    def switch_to(self, window: str) -> None:
        self.ask("POST", "/window", handle=window)

    def run(self, script: str, *arguments: object) -> Any:
        """The result of this function body, with promises awaited."""
        return self.ask("POST", "/execute/sync", script=script, args=arguments)

    def words(self) -> str:
        """All text of the document, without JavaScript and in one call: the page may reload between two
        calls."""
        return "\n".join(self.devtools("DOMSnapshot.captureSnapshot", computedStyles=[])["strings"])

    def allow_scripts(self, allow: bool) -> None:
        self.devtools("Emulation.setScriptExecutionDisabled", value=not allow)

    def press(self, key: str) -> None:
        down = {"type": "keyDown", "value": key}
        up = {"type": "keyUp", "value": key}
        self.ask("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": [down, up]}])

    def look(self, size: tuple[int, int], scheme: str) -> None:
        """As a screen of this size, light or dark."""
        width, height = size
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=media)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def console(self) -> list[str]:
        """What was logged since the last call, including violations of the content security policy."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", type="browser")]

    def requests(self) -> list[str]:
        """The addresses that this window has requested since the last call."""
        entries = [
            json.loads(entry["message"])["message"]
            for entry in self.ask("POST", "/se/log", type="performance")
        ]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]

    def stop(self) -> int:
        try:
            self.ask("DELETE", "")
        finally:
            code = super().stop()
        return code
