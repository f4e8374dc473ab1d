"""sidepulse compared with a minimal hyper server: requests, start, memory, and the CPU of an hour."""

import time
from contextlib import ExitStack

import servers
from load import ROUNDS, Load, asked_every, median
from postgres import Postgres
from processes import Memory, cpu_seconds, memory, process, wait_for
from servers import Server
from table import Goal, Table, at_least, at_most

A_MILLION = 1_000_000
STARTS = 20
PROBING_SECONDS = 10
RSS = at_most(9.5, " MB")
ANONYMOUS = at_most(2, " MB")
# How much faster than by default the checks run where an hour's worth of them is measured: every 300 and 100 ms.
HASTE = 50


def measure(table: Table, postgres: Postgres) -> None:
    table.title("sidepulse ÷ a bare hyper server")
    table.claim("stripped binary", servers.SIDEPULSE.stat().st_size / 1e6, at_most(2.5, " MB"))
    start(table, postgres)
    with ExitStack() as stack:
        floor = stack.enter_context(servers.floor().running())
        sidepulse = stack.enter_context(servers.sidepulse(floor.port, postgres.url).running())
        for connections in (1, 16, 64):
            requests(table, floor, sidepulse, connections)
    back_to_back(table, postgres)
    logins_caused(table, postgres)
    resident(table, postgres)
    hour(table, postgres)


def start(table: Table, postgres: Postgres) -> None:
    """Including fork, exec and polling."""
    times: dict[str, list[float]] = {}
    for _ in range(STARTS):
        for server in (servers.floor(), servers.sidepulse(1, postgres.url, "/livez")):
            since = time.perf_counter()
            with server.running():
                times.setdefault(server.name, []).append((time.perf_counter() - since) * 1e3)
    ours, least = times["sidepulse"], times["bare hyper"]
    note = f"worst of {STARTS}: {max(ours):.1f}; bare hyper {median(least):.1f}"
    table.claim("start to first answer", median(ours), at_most(10, " ms"), note)


def requests(table: Table, floor: Server, sidepulse: Server, connections: int) -> None:
    """In turn, so that a machine whose speed drifts slows both alike; the median of the ratios of the pairs."""
    pairs: list[tuple[Load, Load]] = []
    for _ in range(ROUNDS):
        least = floor.load(connections)
        pairs.append((least, sidepulse.load(connections)))

    def compare(name: str, goal: Goal, what: str, unit: str, digits: int) -> None:
        ratio = median([getattr(ours, what) / getattr(least, what) for least, ours in pairs])
        least, ours = (median([getattr(pair[i], what) for pair in pairs]) for i in (0, 1))
        table.claim(name, ratio, goal, f"{ours:,.{digits}f} ÷ {least:,.{digits}f} {unit}", 3)

    plural = "connection" if connections == 1 else "connections"
    compare(f"/readyz, {connections} {plural}: rate", at_least(0.97), "rate", "requests/s", 0)
    compare("  p50", at_most(1.1), "p50", "µs", 0)
    compare("  p99", at_most(1.1), "p99", "µs", 0)
    compare("  CPU a request", at_most(1.1), "cpu", "µs", 2)


def back_to_back(table: Table, postgres: Postgres) -> None:
    """/readyz without checks, with deep checks as fast as allowed, and with the same checks made by another process:
    what those cost the machine, including PostgreSQL's share, is not sidepulse's cost."""
    off, on, beside = [], [], []
    every = "100"
    with servers.floor().running() as app:
        for _ in range(ROUNDS):
            with servers.sidepulse(app.port, None).running() as server:
                off.append(server.load(16).p99)
            fast = {"database_interval": f"{every}ms"}
            with servers.sidepulse(app.port, postgres.url, **fast).running() as server:
                on.append(server.load(16).p99)
            raw = [servers.RAW, "every", every, postgres.driver_url, postgres.certificate]
            with process(raw), servers.sidepulse(app.port, None).running() as server:
                beside.append(server.load(16).p99)
    ratio = median([one / other for one, other in zip(on, off, strict=True)])
    note = f"{median(on):.0f} ÷ {median(off):.0f} µs, 16 connections"
    table.claim(f"p99, a deep check every {every} ms ÷ no checks", ratio, at_most(1.1), note, 3)
    ratio = median([one / other for one, other in zip(on, beside, strict=True)])
    note = f"{median(on):.0f} ÷ {median(beside):.0f} µs"
    table.claim("  ÷ the same checks made by another process", ratio, at_most(1.1), note, 3)


def logins_caused(table: Table, postgres: Postgres) -> None:
    """Requests never reach the database."""
    with servers.floor().running() as app, servers.sidepulse(app.port, postgres.url, "/health").running() as server:
        before, since, count = postgres.logins(), time.monotonic(), 0
        while count < 100_000:
            count += server.load(16).requests
        took = time.monotonic() - since
        due = f"{took:.0f} s at an interval of 15 s"
        table.claim(f"logins during {count:,} requests of /health", postgres.logins() - before, None, due, 0)


def resident(table: Table, postgres: Postgres) -> None:
    with servers.floor().running() as app:
        with servers.sidepulse(app.port, None).running() as server:
            claim(table, "RSS without a database, MB", memory(server.pid))
            claim(table, "  of the bare hyper server, MB", memory(app.pid))
        every_second = {"database_interval": "1s", "app_interval": "1s"}
        sidepulse = servers.sidepulse(app.port, postgres.url, **every_second)
        with servers.without_bundle(sidepulse).running() as server:
            claim(table, "RSS, probing over TLS with SSL_CERT_FILE=/dev/null", probing(server), RSS, ANONYMOUS)
        with sidepulse.running() as server:
            ours, least = probing(server), of_raw(postgres)
            claim(table, f"RSS, probing every second over TLS for {PROBING_SECONDS} s", ours, RSS, ANONYMOUS)
            note = "OpenSSL, the system's roots, the driver, and nothing else"
            claim(table, "  of raw tokio-postgres that does the same, MB", least)
            table.claim("  ÷ it", ours.rss / least.rss, None, note)
            # 64 connections at once grow the heap; requests over them must not.
            first, once = a_million(server)
            second, twice = a_million(server)
            claim(table, f"  after {first:,} requests over 64 connections", once, RSS)
            table.claim(f"  after {second:,} more ÷ before them", twice.rss / once.rss, at_most(1.01), twice.parts, 3)


def claim(table: Table, name: str, figures: Memory, rss: Goal | None = None, anonymous: Goal | None = None) -> None:
    table.claim(name, figures.rss, rss, figures.parts)
    if anonymous:
        table.claim("  of that anonymous", figures.anonymous, anonymous)


def probing(server: Server) -> Memory:
    """After some seconds of checks, answers and scrapes."""
    with asked_every(1, [(server.port, "/health"), (server.port, "/metrics")]):
        time.sleep(PROBING_SECONDS)
    return memory(server.pid)


def a_million(server: Server) -> tuple[int, Memory]:
    """How many requests there were, and the memory after them."""
    count = 0
    while count < A_MILLION:
        count += server.load(64).requests
    return count, memory(server.pid)


def of_raw(postgres: Postgres) -> Memory:
    with process([servers.RAW, "every", "1000", postgres.driver_url, postgres.certificate]) as raw:
        time.sleep(PROBING_SECONDS)
        return memory(raw.pid)


def hour(table: Table, postgres: Postgres) -> None:
    """Part of an hour's checks in quick succession, and separately its seconds, which have a cost of their own."""
    checks, idle_seconds = 60, 5
    fast = {"database_interval": f"{15_000 // HASTE}ms", "app_interval": f"{5_000 // HASTE}ms"}
    rare = {"database_interval": "1h", "app_interval": "1h"}
    with servers.floor().running() as app:
        with servers.sidepulse(app.port, postgres.url, "/health", **rare).running() as server:
            time.sleep(1)
            before = cpu_seconds(server.pid)
            time.sleep(idle_seconds)
            idle = (cpu_seconds(server.pid) - before) / idle_seconds
        with servers.sidepulse(app.port, postgres.url, "/health", **fast).running() as server:
            first, before, since = postgres.logins(), cpu_seconds(server.pid), time.monotonic()
            wait_for(f"{checks} checks", lambda: time.sleep(0.05) or postgres.logins() - first >= checks, 120)
            made, took = postgres.logins() - first, time.monotonic() - since
            used = (cpu_seconds(server.pid) - before - idle * took) / made
    seconds = used * 240 + idle * 3600
    note = f"a deep check with 3 of the app: {used * 1e3:.2f} ms ({made} of 240); an idle second: {idle * 1e6:.0f} µs"
    table.claim("CPU of an hour at the default intervals", seconds, Goal("<", 1, " s"), note)
