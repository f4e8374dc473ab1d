"""The real programs: each on a port of the kernel's choice, with a clean environment, read line by line."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import httpx

from servers import wait_until

ROOT = Path(__file__).parents[2]
SIDEPULSE = Path(os.environ.get("SIDEPULSE_BIN", ROOT / "target/debug/sidepulse")).resolve()
TOKEN = "the-token-of-these-tests"
SOON = 30.0  # on a machine that is busy with builds

QUICK = {
    "SIDEPULSE_LISTEN": "127.0.0.1:0",
    "SIDEPULSE_APP_INTERVAL": "200ms",
    "SIDEPULSE_DATABASE_INTERVAL": "200ms",
    "SIDEPULSE_DATABASE_TIMEOUT": "2s",
    "SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT": "1s",
    "SIDEPULSE_DATABASE_MODE": "steady",
}


class Program:
    """A child that leads a process group of its own; `stop` ends the whole group."""

    def __init__(self, *command: object, environment: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"]} | (environment or {}),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, within: float = SOON) -> re.Match[str]:
        """The first match in the output; the program must not end before it."""
        found = re.compile(pattern)
        wait_until(lambda: found.search(self.output) or self.process.poll() is not None, within, pattern)
        match = found.search(self.output)
        assert match, self.output
        return match

    def wait(self, within: float = SOON) -> int:
        """The exit code; by then `output` is complete."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code

    def stop(self) -> int:
        try:
            if self.process.poll() is None:
                self.process.terminate()
            return self.wait()
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # nothing is left of it, as it should be


class Web(Program):
    """A program that serves HTTP and prints its address."""

    LISTENS = r""

    def __init__(self, *command: object, **how: object) -> None:
        super().__init__(*command, **how)
        self._address: str | None = None

    @property
    def address(self) -> str:
        if self._address is None:
            self._address = self.wait_for(self.LISTENS)[1]
        return self._address

    def get(self, path: str, **how: object) -> httpx.Response:
        return httpx.get(f"http://{self.address}{path}", timeout=10, **how)


class Sidecar(Web):
    LISTENS = r"listens on ([0-9.:]+)"

    def __init__(self, **environment: str) -> None:
        super().__init__(SIDEPULSE, environment=QUICK | environment)

    def wait_until_answers(self, path: str, status: int) -> httpx.Response:
        wait_until(lambda: self.get(path).status_code == status, SOON, f"{path} answers {status}")
        return self.get(path)


class Prometheus(Web):
    """A real Prometheus with this configuration; its data is in the same directory."""

    LISTENS = r'msg="?Listening on"? (?:component=web )?address=([0-9.:]+)'  # 2.x, 3.x

    def __init__(self, config: Path) -> None:
        super().__init__(
            tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={config.parent / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        )

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The current result of an instant query, as labels and value."""
        response = self.get("/api/v1/query", params={"query": expression})
        if response.status_code == 503:
            return []  # it listens before it has opened its storage
        answer = response.json()
        assert answer["status"] == "success", answer
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]


class Blackbox(Web):
    LISTENS = Prometheus.LISTENS

    def __init__(self, config: Path) -> None:
        program = tool("prometheus-blackbox-exporter")
        super().__init__(program, f"--config.file={config}", "--web.listen-address=127.0.0.1:0")


def tool(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is needed: see tests/kit/requirements.txt"
    return path


def run(*command: object, cwd: Path = ROOT, within: float = 100, **environment: str) -> str:
    """Runs a command that must succeed, and returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_json(*command: object, **how: object) -> object:
    return json.loads(run(*command, **how))
