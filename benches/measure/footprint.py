"""What each costs by running: start, memory, database connections, CPU of an hour, a scrape."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import servers
from load import SECONDS, asked_every, get, median
from postgres import Postgres
from processes import Memory, cpu_seconds, memory, wait_for
from servers import Server
from table import Table

STARTS = 3
PROBING_SECONDS = 10
A_MILLION = 1_000_000
FAST = 20_000  # requests a second, above which a million are waited for
HOUR_SECONDS = 20 * SECONDS  # of real time at the default intervals: a minute holds four deep checks
SCRAPE_INTERVAL = 15
SCRAPES = 5
NOTHING = Memory(0, 0, 0)
FRESH = 1.1  # sidepulse encodes its metrics once a second


@dataclass
class Cost:
    name: str
    first_answer: float = 0
    first_green: float = 0
    rss_start: float = 0  # MB
    probing: Memory = NOTHING
    after: Memory = NOTHING
    requests: int = 0
    connections: float = 0
    cpu_of_hour: float = 0
    scrapes: list[float] = field(default_factory=list)
    scrape_size: int = 0


def measure(table: Table, postgres: Postgres, work: Path) -> None:
    with servers.backend(postgres).running() as app:

        def everyone(every: str) -> list[Server]:
            """At their own intervals, or every `every` seconds."""
            intervals = {"app_interval": every, "database_interval": every} if every else {}
            return [
                servers.sidepulse(app.port, postgres.url, "/health", **intervals),
                servers.backend(postgres),
                servers.haproxy(work, app.port, postgres, every=every),
                servers.blackbox(work, "http", f"http://127.0.0.1:{app.port}/health"),
                servers.blackbox(work, "tcp", f"127.0.0.1:{postgres.port}"),
                servers.postgres_exporter(postgres),
            ]

        costs = [Cost(server.name) for server in everyone("")]
        start(costs, everyone)
        probing(costs, everyone("1s"))
        many(costs, everyone(""), postgres)
        hour(costs, everyone(""))
    table.title("what each costs by being there")
    table.grid(*_starts_and_memory(costs))
    table.title("what each costs as it is used")
    table.grid(*_use(costs))


def start(costs: list[Cost], everyone: Callable[[str], list[Server]]) -> None:
    """To any answer, and to a green one, including fork, exec and polling."""
    answers, greens = [[[] for _ in costs] for _ in range(2)]
    for _ in range(STARTS):
        for i, server in enumerate(everyone("")):
            since = time.perf_counter()
            with server.running(until_green=False):
                # blackbox_exporter and the backend would probe first: this is the time until they could.
                wait_for(server.name, lambda port=server.port: get(port, "/livez"))
                answers[i].append((time.perf_counter() - since) * 1e3)
                costs[i].rss_start = memory(server.pid).rss
                wait_for(server.name, server.is_green)
                greens[i].append((time.perf_counter() - since) * 1e3)
    for cost, answer, green in zip(costs, answers, greens, strict=True):
        cost.first_answer, cost.first_green = median(answer), median(green)


def probing(costs: list[Cost], everyone: list[Server]) -> None:
    """All at the same time, each asked once a second; those with checks of their own make them every second."""
    with ExitStack() as stack:
        running = [stack.enter_context(server.running()) for server in everyone]
        with asked_every(1, [(server.port, server.path) for server in running]):
            time.sleep(PROBING_SECONDS)
        for cost, server in zip(costs, running, strict=True):
            cost.probing = memory(server.pid)


def many(costs: list[Cost], everyone: list[Server], postgres: Postgres) -> None:
    """One after another, each alone, so that the database's connections are its own."""
    for cost, server in zip(costs, everyone, strict=True):
        with server.running():
            before = postgres.connections()
            while True:
                load = server.load(16, 3)
                cost.requests += load.requests
                if load.rate < FAST or cost.requests >= A_MILLION:
                    break
            cost.connections = (postgres.connections() - before) / cost.requests * 100_000
            cost.after = memory(server.pid)


def hour(costs: list[Cost], everyone: list[Server]) -> None:
    """All at the same time, in real time, asked and scraped every 15 s, as Prometheus would."""
    with ExitStack() as stack:
        running = [stack.enter_context(server.running()) for server in everyone]
        asked = [(server.port, path) for server in running for path in {server.path, server.metrics} if path]
        time.sleep(2)
        since, before = time.monotonic(), [cpu_seconds(server.pid) for server in running]
        with asked_every(SCRAPE_INTERVAL, asked):
            time.sleep(HOUR_SECONDS)
        used = [cpu_seconds(server.pid) - earlier for server, earlier in zip(running, before, strict=True)]
        part = (time.monotonic() - since) / 3600
        for cost, server, seconds in zip(costs, running, used, strict=True):
            cost.cpu_of_hour = seconds / part
            if server.metrics:
                scrape(cost, server)


def scrape(cost: Cost, server: Server) -> None:
    for _ in range(SCRAPES):
        answer = server.get(server.metrics)
        cost.scrapes.append(answer.seconds * 1e3)
        cost.scrape_size = len(answer.body)
        time.sleep(FRESH if server.name == "sidepulse" else 0)


def _starts_and_memory(costs: list[Cost]) -> tuple[list[str], list[list[str]]]:
    columns = ["", "first answer ms", "first green ms", "RSS MB at start", f"probing {PROBING_SECONDS} s", "÷"]
    columns += ["anonymous", "PSS", "after requests", "anonymous", "so many"]
    rows = []
    for cost in costs:
        times = [f"{cost.first_answer:,.0f}", f"{cost.first_green:,.0f}"]
        probing = [f"{cost.probing.rss:.1f}", f"{costs[0].probing.rss / cost.probing.rss:.2f}"]
        probing += [f"{cost.probing.anonymous:.1f}", f"{cost.probing.pss:.1f}"]
        after = [f"{cost.after.rss:.1f}", f"{cost.after.anonymous:.1f}", f"{cost.requests:,}"]
        rows.append([cost.name, *times, f"{cost.rss_start:.1f}", *probing, *after])
    return columns, rows


def _use(costs: list[Cost]) -> tuple[list[str], list[list[str]]]:
    columns = ["", "CPU s an hour", "÷", "database connections per 100,000 requests", "scrape ms", "scrape kB"]
    ours = costs[0].cpu_of_hour
    rows = []
    for cost in costs:
        scraped = [f"{median(cost.scrapes):.1f}", f"{cost.scrape_size / 1e3:.0f}"] if cost.scrapes else ["–", "–"]
        cpu = [f"{cost.cpu_of_hour:.2f}", f"{ours / cost.cpu_of_hour:.2f}"]
        rows.append([cost.name, *cpu, f"{cost.connections:,.1f}", *scraped])
    return columns, rows
