"""All processes of PostgreSQL are stopped: which program notices, after how long, and how long do its clients wait?"""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import servers
from postgres import Postgres
from servers import Server
from table import Table

PATIENCE = 15  # seconds, for one answer and for all of them
PAUSE = 0.05
SETTLED = 4


@dataclass
class Verdict:
    asked: int = 0
    red_after: float | None = None
    slowest: float = 0
    says: str = ""
    unanswered: int = 0


def measure(table: Table, postgres: Postgres, work: Path) -> None:
    """Here sidepulse and HAProxy check every second, give up after 2 s and turn red at the second failure."""
    with ExitStack() as stack:
        app = stack.enter_context(servers.backend(postgres).running())
        settings = {"database_interval": "1s", "database_timeout": "2s"}
        others = [
            servers.sidepulse(app.port, postgres.url, "/health", **settings),
            servers.haproxy(work, app.port, postgres, every="1s"),
            servers.blackbox(work, "http", f"http://127.0.0.1:{app.port}/health"),
            servers.blackbox(work, "tcp", f"127.0.0.1:{postgres.port}"),
            servers.postgres_exporter(postgres),
        ]
        running = [stack.enter_context(server.running()) for server in others]
        everyone = [running[0], app, *running[1:]]
        verdicts = [Verdict() for _ in everyone]
        time.sleep(SETTLED)  # HAProxy forgives nothing before its first good check
        with postgres.frozen():
            askers = [threading.Thread(target=ask, args=pair) for pair in zip(everyone, verdicts, strict=True)]
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join()
    table.title(f"PostgreSQL frozen for {PATIENCE} s")
    table.grid(
        ["", "red after", "slowest answer", "what it says"],
        [_row(*pair) for pair in zip(everyone, verdicts, strict=True)],
    )


def ask(server: Server, verdict: Verdict) -> None:
    """Asks again and again, as impatient probers do."""
    since = time.monotonic()
    while time.monotonic() - since < PATIENCE:
        asked = time.monotonic()
        answer = server.get(timeout=PATIENCE)
        verdict.slowest = max(verdict.slowest, time.monotonic() - asked)
        if answer is None:
            verdict.unanswered += 1
        elif server.is_red(answer):
            if verdict.red_after is None:
                verdict.red_after = time.monotonic() - since
            verdict.says = _words(answer.status, answer.body)
        elif verdict.red_after is None:
            verdict.says = _words(answer.status, answer.body)
        time.sleep(PAUSE)


def _words(status: int, body: bytes) -> str:
    """The status, and the line or field that gives the reason."""
    text = body.decode(errors="replace")
    for line in text.splitlines():
        if line.startswith(("probe_success ", "pg_up ")):
            return f"{status}, {line}"
    for key in ('"output":"', '"reason":"'):
        if key in text:
            return f"{status}, {text.split(key)[1].split(chr(34))[0]}"
    return str(status)


def _row(server: Server, verdict: Verdict) -> list[str]:
    red = f"{verdict.red_after:.1f} s" if verdict.red_after is not None else "never"
    none = f"{verdict.unanswered} without an answer" if verdict.unanswered else ""
    says = ", ".join(filter(None, [verdict.says, none]))
    return [server.name, red, f"{verdict.slowest * 1e3:,.1f} ms", says]
