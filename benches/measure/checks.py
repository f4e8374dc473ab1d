"""A deep check compared with raw tokio-postgres: in one process, check by check, and as one-shot commands."""

import subprocess
import time

import progress
import servers
from load import ROUNDS, median
from postgres import Postgres
from table import Table, at_most

PAIRS = 60  # a round
ONE_SHOTS = 10  # a round


def measure(table: Table, postgres: Postgres) -> None:
    table.title("a deep check ÷ raw tokio-postgres: connect, TLS, SCRAM, query, close")
    in_one_process(table, postgres)
    one_shot(table, postgres)


def in_one_process(table: Table, postgres: Postgres) -> None:
    """Both on the same thread with the same roots, in turn; the median of the ratios of each pair."""
    command = [servers.RAW, "beside", str(PAIRS * ROUNDS), postgres.driver_url, postgres.certificate]
    progress.now(f"{PAIRS * ROUNDS} pairs of a deep check and a raw one")
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    pairs = [list(map(float, line.split())) for line in run.stdout.splitlines()]
    ratio = median([ours / raw for raw, ours, _, _ in pairs])
    raw, ours, raw_cpu, ours_cpu = (median(list(column)) for column in zip(*pairs, strict=True))
    overhead = median([ours - raw for raw, ours, _, _ in pairs])
    note = f"{ours / 1e3:.2f} ÷ {raw / 1e3:.2f} ms, {overhead:+.0f} µs; {len(pairs)} pairs"
    table.claim("time", ratio, at_most(1.05), note, 3)
    table.claim("  CPU", ours_cpu / raw_cpu, at_most(1.1), f"{ours_cpu / 1e3:.2f} ÷ {raw_cpu / 1e3:.2f} ms", 3)


def one_shot(table: Table, postgres: Postgres) -> None:
    """The whole life of a process. `check` also makes a second connection, the handshake for the certificate."""
    raw = [servers.RAW, "once", postgres.driver_url, postgres.certificate]
    check = [servers.SIDEPULSE, "check", "--only", "database"]
    times = []
    for number in range(ONE_SHOTS * ROUNDS):
        progress.now(f"pair {number + 1} of {ONE_SHOTS * ROUNDS} one-shots")
        times.append((_timed(raw, {}), _timed(check, {"DATABASE_URL": postgres.url})))
    ratio = median([ours / raw for raw, ours in times])
    raw_time, ours = (median(list(column)) for column in zip(*times, strict=True))
    note = f"{ours:.1f} ÷ {raw_time:.1f} ms, {len(times)} pairs"
    table.claim("`sidepulse check --only database` ÷ a raw one-shot", ratio, at_most(2), note)


def _timed(command: list, environment: dict) -> float:
    since = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return (time.perf_counter() - since) * 1e3
