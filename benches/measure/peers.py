"""sidepulse compared with others that could answer "is it well?": how fast, at what cost, and their answers when all is
frozen.

Each is given what it can do of the job; what it cannot do is said below its figures.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import footprint
import frozen
import servers
from load import ROUNDS, Load, median
from postgres import Postgres
from servers import Server
from table import Table

CONNECTIONS = (1, 16, 64)
SECONDS = 1  # a round: these differ by factors

LIMITS = [
    "HAProxy has one thread here, as sidepulse serves with one. Its pgsql-check speaks in the clear and leaves when "
    "asked for a password: it proves neither TLS nor the password nor a query, and gives no reason. It is green until "
    "a check has failed, at start as well.",
    "blackbox_exporter probes anew at each request and answers 200 whatever it finds: for Prometheus, not for Railway "
    "or Kubernetes. What it sends is UTF-8 and ends in a newline, so that it cannot ask PostgreSQL for TLS: it sees "
    "the open port.",
    "postgres_exporter queries at each scrape, over a session that it keeps, and answers 200 whatever it finds; of "
    "the app it knows nothing.",
    "The backend's /health shares one query among those who ask at the same time.",
]


def measure(table: Table, postgres: Postgres) -> None:
    with tempfile.TemporaryDirectory(prefix="bench") as work, ExitStack() as stack:
        app = stack.enter_context(servers.backend(postgres).running())
        others = [
            servers.floor(),
            servers.haproxy(Path(work), app.port, postgres),
            servers.blackbox(Path(work), "http", f"http://127.0.0.1:{app.port}/health"),
            servers.blackbox(Path(work), "tcp", f"127.0.0.1:{postgres.port}"),
            servers.postgres_exporter(postgres),
        ]
        sidepulse = servers.sidepulse(app.port, postgres.url, "/health")
        with ExitStack() as rates_only:
            least, *running = [rates_only.enter_context(server.running()) for server in (*others, sidepulse)]
            # The same sidepulse twice: /readyz compares with a bare `ok`, /health says as much as the others.
            ready = replace(sidepulse, path="/readyz")
            ready.pid = sidepulse.pid
            rates(table, [sidepulse, ready, least, app, *running[:-1]])
        footprint.measure(table, postgres, Path(work))
        frozen.measure(table, postgres, Path(work))
    for limit in LIMITS:
        table.note(limit)


def rates(table: Table, all_of_them: list[Server]) -> None:
    """The health answer of each, in turn; sidepulse's is the whole JSON of /health."""
    for connections in CONNECTIONS:
        rounds: list[list[Load]] = []
        for _ in range(ROUNDS):
            rounds.append([s.load(connections, SECONDS) for s in all_of_them])
        plural = "connection" if connections == 1 else "connections"
        table.title(f"the health answer at {connections} {plural}: sidepulse's /health ÷ the other's")
        rows = []
        for i, server in enumerate(all_of_them):
            ratios = [
                median([getattr(loads[0], what) / getattr(loads[i], what) for loads in rounds])
                for what in ("rate", "p99", "cpu")
            ]
            rate, p50, p99, cpu = (
                median([getattr(loads[i], what) for loads in rounds]) for what in ("rate", "p50", "p99", "cpu")
            )
            figures = [f"{rate:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}", f"{cpu:,.1f}"]
            rows.append(
                [f"{server.name} {server.path.split('?')[0]}", *(f"{ratio:,.3g}" for ratio in ratios), *figures]
            )
        columns = ["rate ÷", "p99 ÷", "CPU ÷", "requests/s", "p50 µs", "p99 µs", "CPU µs a request"]
        table.grid(["", *columns], rows)
    for server in all_of_them:
        if server.false_alarms:
            table.note(f"{server.name} turned red {server.false_alarms} times although nothing was wrong.")
