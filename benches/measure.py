"""Measures sidepulse, its floor and the backend's own health route on loopback; called by benches/run."""

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(sys.argv[1])
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int, path: str = "/", wanted: bytes = b"") -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            return stream.recv(64).startswith(wanted or b"HTTP/1.1 ")
    except OSError:
        return False


def wait_for(what: str, ready, limit: float = 30) -> float:
    since = time.perf_counter()
    while not ready():
        if time.perf_counter() - since > limit:
            raise SystemExit(f"{what} did not come within {limit} s")
        time.sleep(0.0005)
    return time.perf_counter() - since


@contextmanager
def process(command: list, environment: dict | None = None, cwd: Path | None = None):
    child = subprocess.Popen(
        command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def postgres():
    """A throwaway server with TLS; gives its URL for `localhost` and a function that counts sidepulse's logins."""
    work = Path(tempfile.mkdtemp(prefix="bench"))
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))[-1]
    as_server = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    port = free_port()
    try:
        work.chmod(0o711)
        data, key, certificate = work / "data", work / "server.key", work / "server.crt"
        data.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        (work / "password").write_text("bench")
        if as_server:
            for path in (data, key, work / "password"):
                shutil.chown(path, "postgres")
        run = lambda *command: subprocess.run([*as_server, *command], check=True, capture_output=True, cwd=data)  # noqa: E731
        run(binaries / "initdb", "-D", data, "-U", "app", "-A", "scram-sha-256", "--pwfile", work / "password", "--no-sync")
        options = (
            f"-p {port} -k {data} -c listen_addresses=localhost -c fsync=off -c ssl=on -c log_connections=on "
            f"-c ssl_cert_file={certificate} -c ssl_key_file={key}"
        )
        run(binaries / "pg_ctl", "-D", data, "-l", data / "log", "-w", "start", "-o", options)
        try:
            logins = lambda: (data / "log").read_text().count("application_name=sidepulse")  # noqa: E731
            url = f"postgresql://app:bench@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={certificate}"
            yield url, logins, lambda: family(data)
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def family(data: Path) -> list[int]:
    """The postmaster and its children."""
    postmaster = (data / "postmaster.pid").read_text().split()[0]
    children = subprocess.run(["pgrep", "-P", postmaster], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in [postmaster, *children]]


def wrk(port: int, path: str, connections: int) -> dict:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    scale = {"us": 1, "ms": 1e3, "s": 1e6}
    latency = lambda p: float(re.search(rf"{p}%\s+([\d.]+)", text)[1]) * scale[re.search(rf"{p}%\s+[\d.]+(us|ms|s)", text)[1]]  # noqa: E731
    requests = int(re.search(r"(\d+) requests in", text)[1])
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), "p50": latency(50), "p99": latency(99), "requests": requests}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_kb(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def row(name: str, value: str, note: str = "") -> None:
    print(f"{name:<58} {value:>16}  {note}", flush=True)


def sidecar_environment(app_port: int, port: int, url: str | None, **more: str) -> dict:
    database = {"DATABASE_URL": url} if url else {"SIDEPULSE_DATABASE": "off"}
    address = {"SIDEPULSE_LISTEN": f"127.0.0.1:{port}", "SIDEPULSE_APP_URL": f"http://127.0.0.1:{app_port}/"}
    return {"SIDEPULSE_LOG": "error", **address, **database, **more}


def compare_with_floor(url: str) -> None:
    """In turn, so that a machine whose speed drifts slows both alike; medians of the ratios of each pair."""
    floor_port, port = free_port(), free_port()
    environment = sidecar_environment(floor_port, port, url)
    with process([BINARIES / "examples/floor", str(floor_port)]) as floor, process([BINARIES / "sidepulse"], environment) as sidecar:
        wait_for("the floor", lambda: answers(floor_port))
        wait_for("readiness", lambda: answers(port, "/readyz", b"HTTP/1.1 200"))
        for connections in (1, 16, 64):
            pairs = []
            for _ in range(ROUNDS):
                pair = []
                for pid, target, path in ((floor.pid, floor_port, "/"), (sidecar.pid, port, "/readyz")):
                    before = cpu_seconds(pid)
                    measured = wrk(target, path, connections)
                    measured["cpu"] = (cpu_seconds(pid) - before) / measured["requests"] * 1e6
                    pair.append(measured)
                pairs.append(pair)
            ratio = lambda key: statistics.median(b[key] / a[key] for a, b in pairs)  # noqa: E731
            middle = lambda i, key: statistics.median(p[i][key] for p in pairs)  # noqa: E731
            row(f"/readyz beside the floor, {connections} connections: rate", f"{ratio('rate'):.3f}", f"{middle(1, 'rate'):,.0f} / {middle(0, 'rate'):,.0f} requests a second")
            row("  p99", f"{ratio('p99'):.2f}", f"{middle(1, 'p99'):.0f} / {middle(0, 'p99'):.0f} µs")
            row("  CPU a request", f"{ratio('cpu'):.2f}", f"{middle(1, 'cpu'):.1f} / {middle(0, 'cpu'):.1f} µs")


def requests_cost_no_login(url: str, logins) -> None:
    floor_port, port = free_port(), free_port()
    environment = sidecar_environment(floor_port, port, url, SIDEPULSE_DATABASE_INTERVAL="15s")
    with process([BINARIES / "examples/floor", str(floor_port)]), process([BINARIES / "sidepulse"], environment):
        wait_for("health", lambda: answers(port, "/health", b"HTTP/1.1 200"))
        before, since, requests = logins(), time.monotonic(), 0
        while requests < 100_000:
            requests += wrk(port, "/health", 16)["requests"]
        took = time.monotonic() - since
        row(f"logins caused by {requests:,} requests of /health", str(logins() - before), f"in {took:.0f} s at an interval of 15 s")


def memory_and_cpu(url: str, logins) -> None:
    floor_port, port = free_port(), free_port()
    with process([BINARIES / "examples/floor", str(floor_port)]):
        with process([BINARIES / "sidepulse"], sidecar_environment(floor_port, port, None)) as sidecar:
            wait_for("readiness", lambda: answers(port, "/readyz", b"HTTP/1.1 200"))
            row("RSS without a database", f"{rss_kb(sidecar.pid) / 1024:.1f} MB")
        # An hour of checks at the default intervals: 240 of the database and 720 of the app.
        fast = {"SIDEPULSE_DATABASE_INTERVAL": "100ms", "SIDEPULSE_APP_INTERVAL": "100ms"}
        with process([BINARIES / "sidepulse"], sidecar_environment(floor_port, port, url, **fast)) as sidecar:
            wait_for("health", lambda: answers(port, "/health", b"HTTP/1.1 200"))
            row("RSS after the first TLS check", f"{rss_kb(sidecar.pid) / 1024:.1f} MB")
            first, since, before = logins(), time.monotonic(), cpu_seconds(sidecar.pid)
            wait_for("240 checks", lambda: time.sleep(0.1) or logins() - first >= 240, 120)
            used = cpu_seconds(sidecar.pid) - before
            note = f"{logins() - first} checks in {time.monotonic() - since:.0f} s used {used:.2f} s of CPU"
            row("RSS after an hour's worth of TLS checks", f"{rss_kb(sidecar.pid) / 1024:.1f} MB", note)


def start_to_first_answer() -> None:
    times = []
    for _ in range(20):
        port = free_port()
        since = time.perf_counter()
        with process([BINARIES / "sidepulse"], sidecar_environment(1, port, None)):
            wait_for("the first answer", lambda: answers(port, "/livez", b"HTTP/1.1 200"))
            times.append((time.perf_counter() - since) * 1e3)
    row("start to first answer", f"{statistics.median(times):.1f} ms", f"worst of 20: {max(times):.1f} ms, fork and polling included")


def frozen_database(url: str, servers) -> None:
    """The backend's own route beside sidepulse, when PostgreSQL is frozen."""
    app_port, port = free_port(), free_port()
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "ENVIRONMENT": "development"}
    command = [sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", str(app_port), "--log-level", "warning"]
    short = {"SIDEPULSE_DATABASE_INTERVAL": "1s", "SIDEPULSE_DATABASE_TIMEOUT": "2s"}
    with process(command, environment, ROOT / "deploy/backend") as app:
        wait_for("the backend", lambda: answers(app_port, "/health", b"HTTP/1.1 200"))
        row("RSS of the backend", f"{rss_kb(app.pid) / 1024:.1f} MB")
        measured = wrk(app_port, "/health", 16)
        row("the backend's /health, 16 connections", f"{measured['rate']:,.0f} /s", f"p99 {measured['p99'] / 1e3:.1f} ms")
        with process([BINARIES / "sidepulse"], sidecar_environment(app_port, port, url, **short)):
            wait_for("health", lambda: answers(port, "/health", b"HTTP/1.1 200"))
            frozen = servers()
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            try:
                wait_for("red", lambda: answers(port, "/health", b"HTTP/1.1 503"))
                for name, target in (("sidepulse", port), ("the backend", app_port)):
                    since = time.perf_counter()
                    answers(target, "/health")
                    row(f"/health of {name} while PostgreSQL is frozen", f"{(time.perf_counter() - since) * 1e3:.1f} ms")
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)


def main() -> None:
    size = (BINARIES / "sidepulse").stat().st_size
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"{os.cpu_count()} × {model}; medians of {ROUNDS} rounds of {SECONDS} s; sidepulse / the other\n")
    row("stripped binary", f"{size / 1e6:.2f} MB")
    start_to_first_answer()
    with postgres() as (url, logins, servers):
        compare_with_floor(url)
        requests_cost_no_login(url, logins)
        memory_and_cpu(url, logins)
        frozen_database(url, servers)


main()
