"""Clients: one request, as many as possible, a steady rate, and many idle connections."""

import os
import re
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from processes import cpu_seconds

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float


class Client:
    """One keep-alive connection. Python's own HTTP client would take longer than the servers under test."""

    def __init__(self, port: int, timeout: float = 15) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port), timeout)
        self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str, close: bool = False) -> Answer:
        since = time.perf_counter()
        last = "Connection: close\r\n" if close else ""
        self._stream.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{last}\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, body = received.split(b"\r\n\r\n", 1)
        if length := re.search(rb"(?i)content-length: (\d+)", head):
            while len(body) < int(length[1]):
                body += self._receive()
        elif re.search(rb"(?i)transfer-encoding: chunked", head):
            while not body.endswith(b"0\r\n\r\n"):
                body += self._receive()
        return Answer(int(head.split()[1]), body, time.perf_counter() - since)

    def _receive(self) -> bytes:
        chunk = self._stream.recv(65536)
        if not chunk:
            raise ConnectionError("closed before the answer was whole")
        return chunk

    def close(self) -> None:
        self._stream.close()


def get(port: int, path: str, timeout: float = 15) -> Answer | None:
    """One request on a new connection; None without an answer."""
    since = time.perf_counter()
    try:
        client = Client(port, timeout)
        try:
            answer = client.get(path, close=True)
        finally:
            client.close()
    except (OSError, IndexError, ValueError):
        return None
    return Answer(answer.status, answer.body, time.perf_counter() - since)


@dataclass
class Load:
    """What wrk measured (latencies in µs), and what it cost the server (µs of CPU a request)."""

    rate: float
    p50: float
    p99: float
    requests: int
    cpu: float
    refused: int


def wrk(pid: int, port: int, path: str, connections: int, seconds: int = SECONDS) -> Load:
    """As many requests as `connections` clients can make, each waiting for its answer."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    before = cpu_seconds(pid)
    run = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True)
    used, text = cpu_seconds(pid) - before, run.stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    scale = {"us": 1, "ms": 1e3, "s": 1e6}

    def latency(percent: int) -> float:
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * scale[unit]

    requests = max(1, int(re.search(r"(\d+) requests in", text)[1]))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    return Load(rate, latency(50), latency(99), requests, used / requests * 1e6, int(refused[1]) if refused else 0)


@dataclass
class Pace:
    """Requests at a steady rate over one connection; each is timed from the moment it was due."""

    times: list[float] = field(default_factory=list)  # µs

    @property
    def p99(self) -> float:
        return percentile(self.times, 99)


def paced(port: int, path: str, rate: float, seconds: float) -> Pace:
    pace, client = Pace(), Client(port)
    since = time.perf_counter()
    for i in range(max(1, int(rate * seconds))):
        due = since + i / rate
        time.sleep(max(0, due - time.perf_counter()))
        client.get(path)
        pace.times.append((time.perf_counter() - due) * 1e6)
    client.close()
    time.sleep(max(0, since + seconds - time.perf_counter()))
    return pace


@contextmanager
def asked_every(seconds: float, targets: list[tuple[int, str]]) -> Iterator[None]:
    """A prober in the background: each target in turn, at the interval."""
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            for port, path in targets:
                get(port, path)
            done.wait(seconds)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def crowd(port: int, count: int, path: str) -> Iterator[list[socket.socket]]:
    """This many clients that have made one request and keep their connection."""
    clients: list[socket.socket] = []
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    try:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), 5)
            clients.append(client)
            client.sendall(request)
            client.recv(4096)
        yield clients
    finally:
        for client in clients:
            client.close()


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: list[float]) -> float:
    return statistics.median(values)
