"""What more work costs: SQL checks, scrapes, idle clients. A cost may grow with the work, never faster."""

import re
import time

import servers
from load import SECONDS, crowd, get, median, paced, percentile
from postgres import Postgres
from processes import Memory, cpu_seconds, memory, open_files
from servers import Server
from table import Table, at_most

SQL_CHECKS = (1, 2, 4, 8, 16, 32)
SCRAPES = (1, 10, 100, 1000)
IDLE_CLIENTS = (1, 10, 100, 1000, 5000)
IDLE_SECONDS = 5  # sidepulse closes a silent connection after 80
MEGABYTES = ["RSS MB", "anonymous", "PSS"]
FRESH = 1.1  # the metrics are encoded once a second
# Growth of the cost over growth of the work in one step of a curve; above 1 is noise, or the edge of a cliff.
NO_CLIFF = at_most(1.25)


def measure(table: Table, postgres: Postgres) -> None:
    sql_checks(table, postgres)
    scrapes(table, postgres)
    idle_clients(table, postgres)


def megabytes(of: Memory) -> list[str]:
    """The cells below MEGABYTES."""
    return [f"{figure:.1f}" for figure in (of.rss, of.anonymous, of.pss)]


def steepest(work: tuple[int, ...], cost: list[float]) -> float:
    """The worst step: growth of the cost over growth of the work."""
    steps = zip(work, work[1:], cost, cost[1:], strict=False)
    return max((later / earlier) / (more / less) for less, more, earlier, later in steps)


def flatness(cost: list[float]) -> float:
    """The curve's worst point over its first."""
    return max(cost) / cost[0]


def _sum(metrics: str, name: str) -> float:
    """The sum over all its series, those of SQL checks and of the database, not of the app."""
    found = re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", metrics, re.M)
    return sum(float(value) for labels, value in found if 'check="app"' not in labels)


def _metrics(server: Server) -> str:
    time.sleep(FRESH)
    return server.get("/metrics").body.decode()


def sql_checks(table: Table, postgres: Postgres) -> None:
    table.title("1 to 32 SQL checks, every 100 ms")
    rows, times, cpus, sizes, memories = [], [], [], [], []
    with servers.floor().running() as app:
        for count in SQL_CHECKS:
            checks = "\n".join(f"c{i}: SELECT count(*) > 0 FROM pg_class" for i in range(count))
            settings = {"database_interval": "100ms", "app_interval": "1h", "sql_checks": checks}
            with servers.sidepulse(app.port, postgres.url, "/health", **settings).running() as server:
                before, cpu = _metrics(server), cpu_seconds(server.pid)
                time.sleep(SECONDS)
                after = _metrics(server)
                cpu = cpu_seconds(server.pid) - cpu
                name = 'sidepulse_checks_total{check="database"} '
                made = int(after.split(name)[1].split()[0]) - int(before.split(name)[1].split()[0])
                took = _sum(after, "sidepulse_check_duration_seconds_sum")
                took -= _sum(before, "sidepulse_check_duration_seconds_sum")
                scraped = []
                for _ in range(3):
                    time.sleep(FRESH)
                    scraped.append(server.get("/metrics"))
                times.append(took / made * 1e3)
                cpus.append(cpu / made * 1e3)
                sizes.append(len(scraped[-1].body) / 1e3)
                memories.append(memory(server.pid))
                scrape = median([answer.seconds for answer in scraped]) * 1e3
                figures = [f"{times[-1]:.1f}", f"{cpus[-1]:.2f}", *megabytes(memories[-1]), f"{sizes[-1]:.0f}"]
                rows.append([str(count), *figures, f"{scrape:.1f}"])
    table.grid(["SQL checks", "whole check ms", "CPU ms a check", *MEGABYTES, "scrape kB", "scrape ms"], rows)
    table.claim("steepest step of the check's time ÷ that of the work", steepest(SQL_CHECKS, times), NO_CLIFF)
    table.claim("  of its CPU", steepest(SQL_CHECKS, cpus), NO_CLIFF)
    table.claim("  of the scrape's size", steepest(SQL_CHECKS, sizes), NO_CLIFF)
    table.claim("a SQL check more, ms", (times[-1] - times[0]) / (SQL_CHECKS[-1] - SQL_CHECKS[0]))


def scrapes(table: Table, postgres: Postgres) -> None:
    """With a slow client, beside the figures of bare hyper with the same client."""
    table.title("1 to 1,000 scrapes a second")
    rows, cpus, tails = [], [], []
    with (
        servers.floor().running() as app,
        servers.sidepulse(app.port, postgres.url, "/health").running() as server,
    ):
        for rate in SCRAPES:
            seconds = max(SECONDS, 2)
            cpu = cpu_seconds(server.pid)
            pace = paced(server.port, "/metrics", rate, seconds)
            cpus.append((cpu_seconds(server.pid) - cpu) / seconds * 100)
            least = paced(app.port, app.path, rate, seconds)
            tails.append(pace.p99 / least.p99)
            times = [f"{percentile(pace.times, 50):,.0f}", f"{pace.p99:,.0f}", f"{least.p99:,.0f}"]
            rows.append([f"{rate:,}", f"{cpus[-1]:.2f} %", *times, *megabytes(memory(server.pid))])
    table.grid(["scrapes a second", "CPU of a core", "p50 µs", "p99 µs", "p99 µs of bare hyper", *MEGABYTES], rows)
    table.claim("steepest step of the CPU ÷ that of the work", steepest(SCRAPES, cpus), NO_CLIFF)
    table.claim("p99 ÷ bare hyper's `ok` at 1,000 a second", tails[-1])


def idle_clients(table: Table, postgres: Postgres) -> None:
    """Above its limit of 512 (less where it may open fewer files) sidepulse closes the quietest: the curve ends."""
    table.title("1 to 5,000 idle clients")
    rows, memories, tails = [], [], []
    with servers.floor().running() as app:
        for count in IDLE_CLIENTS:
            with servers.sidepulse(app.port, postgres.url).running() as server:
                with crowd(server.port, count, "/readyz") as clients:
                    cpu = cpu_seconds(server.pid)
                    time.sleep(IDLE_SECONDS)
                    idle = (cpu_seconds(server.pid) - cpu) / IDLE_SECONDS * 100
                    memories.append(memory(server.pid))
                    files, green = open_files(server.pid), get(server.port, "/readyz")
                    load = server.load(16, min(SECONDS, 4))
                tails.append(load.p99)
                figures = [f"{len(clients):,}", f"{files:,}", *megabytes(memories[-1]), f"{idle:.2f} %"]
                rows.append([*figures, f"{load.p99:,.0f}", f"{load.rate:,.0f}", str(green and green.status)])
    columns = ["clients", "files open", *MEGABYTES, "CPU of a core", "/readyz p99 µs", "requests/s", "a newcomer gets"]
    table.grid(columns, rows)
    table.claim("RSS at 5,000 clients ÷ at 1,000", memories[-1].rss / memories[-2].rss, at_most(1.05))
    more = memories[2].anonymous - memories[0].anonymous
    table.claim("anonymous memory a client, kB", more / (IDLE_CLIENTS[2] - IDLE_CLIENTS[0]) * 1024, None, "", 1)
    table.claim("worst p99 ÷ that with one client", flatness(tails))
