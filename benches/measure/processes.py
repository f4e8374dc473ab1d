"""Processes, and what the kernel says about them. Whatever is started here ends with its block."""

import os
import re
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_file_limit() -> int:
    """Raises the limit of open files as far as allowed, for many clients; returns it. Children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def wait_for(what: str, ready: Callable[[], object], limit: float = 30) -> float:
    """Polls as fast as is sensible; returns the seconds it took."""
    since = time.perf_counter()
    while not ready():
        if time.perf_counter() - since > limit:
            raise SystemExit(f"{what} did not come within {limit:.0f} s")
        time.sleep(0.0005)
    return time.perf_counter() - since


@contextmanager
def process(command: list, environment: dict | None = None, cwd: Path | None = None) -> Iterator[subprocess.Popen]:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(list(map(str, command)), env=environment, cwd=cwd, **quiet)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time of the threads that are alive, to the nanosecond where the kernel counts that finely, else in clock
    ticks.

    None of the programs measured ends a thread that did work.
    """
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Memory:
    """In MB. What other processes map as well (libcrypto's code, say) counts fully in `rss` and by its share in `pss`;
    `anonymous` is what the process alone has written: its heap, its stacks, the pages that the loader relocates."""

    rss: float
    anonymous: float
    pss: float

    @property
    def parts(self) -> str:
        return f"anonymous {self.anonymous:.1f}, PSS {self.pss:.1f}"


def memory(pid: int) -> Memory:
    """As the kernel adds it up over all mappings."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()

    def megabytes(field: str) -> float:
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) / 1024

    return Memory(megabytes("Rss"), megabytes("Anonymous"), megabytes("Pss"))


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
