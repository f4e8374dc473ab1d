"""What happens to a request that is under way when a signal arrives: each server as it is really started,
each signal, and `sidepulse run` beside what it is compared with. A container's end is simulated: whatever is
left when the signalled program has ended is killed at once.

    SIGNALS_TABLE=FILE python -m pytest tests/kit/test_signals.py

runs the server alone, under tini and under dumb-init as well, and writes the whole table to FILE."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from programs import ROOT, SIDEPULSE, SOON, tool
from servers import free_port, wait_until

KIT = ROOT / "tests/kit"
TABLE = os.environ.get("SIGNALS_TABLE")
SIGNALS = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"]
# A server that has not ended this long after its last request keeps running.
GOES_ON = 1.5
BUSY = 6

PYTHON = sys.executable
UVICORN = [PYTHON, "-m", "uvicorn", "slow_app:app", "--port", "{port}", "--log-level", "warning"]
GUNICORN = [
    PYTHON,
    "-m",
    "gunicorn",
    "slow_app:app",
    "-b",
    "127.0.0.1:{port}",
    "--log-level",
    "error",
    "--no-control-socket",
]
SHELL = " ".join(UVICORN)


@dataclass(frozen=True)
class Case:
    command: list[str]
    path: str = "/sleep"
    terminal: bool = False


CASES = {
    "uvicorn": Case(UVICORN),
    "uvicorn, a subprocess": Case(UVICORN, "/subprocess"),
    "uvicorn, a process pool": Case(UVICORN, "/pool"),
    "uvicorn, an idle process pool": Case(UVICORN, "/idle-pool"),
    "uvicorn --workers 2": Case([*UVICORN, "--workers", "2"]),
    "uvicorn --reload": Case([*UVICORN, "--reload"]),
    "gunicorn -w 2": Case([*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "-w", "2"]),
    "sh -c 'exec uvicorn'": Case(["sh", "-c", f"cd / && exec {SHELL}"]),
    "sh -c 'cd / && uvicorn'": Case(["sh", "-c", f"cd / && {SHELL}"]),
    "uvicorn, at a terminal": Case(UVICORN, terminal=True),
    "sh -c 'cd / && uvicorn', at a terminal": Case(["sh", "-c", f"cd / && {SHELL}"], terminal=True),
}

PROGRAMS = {
    "alone": [],
    "tini": ["tini", "-s", "--"],
    "dumb-init": ["dumb-init"],
    "sidepulse": [str(SIDEPULSE), "run", "--"],
}


@dataclass
class End:
    """How a run ended; `code` is None where the server keeps running."""

    request: str
    code: int | None
    seconds: float
    left: int

    def __str__(self) -> str:
        end = "goes on" if self.code is None else f"{self.code}, {self.seconds:.1f} s"
        return f"{self.request}; {end}" + (f"; {self.left} killed" if self.left else "")


Expected = dict[str, tuple[str, int | None]]


def and_dies(stops: Expected, request: str) -> Expected:
    """What the stops do, and what the other signals do to a program that does not handle them."""
    return stops | {name: (request, 128 + getattr(signal, f"SIG{name}")) for name in SIGNALS[2:]}


# The request, and the exit code. Where the server itself dies of a signal that is passed on, its request is
# cut off; where a shell or a reloader dies, what it started is told to stop, and answers first.
STOPS = {"TERM": ("200", 143), "INT": ("200", 0)}
WAITS = {"TERM": ("200", 143), "INT": ("200", 130)}
GOES_ON_SERVING: Expected = {name: ("200", None) for name in SIGNALS[2:]}
EXPECTED: dict[str, Expected] = {
    "uvicorn": and_dies(STOPS, "cut"),
    "uvicorn, a subprocess": and_dies(STOPS, "cut"),
    "uvicorn, a process pool": and_dies(STOPS, "cut"),
    "uvicorn, an idle process pool": and_dies({"TERM": ("none", 143), "INT": ("none", 0)}, "none"),
    "uvicorn --workers 2": GOES_ON_SERVING | {"TERM": ("200", 0), "INT": ("200", 0)},
    "uvicorn --reload": and_dies({"TERM": ("200", 0), "INT": ("200", 0)}, "200"),
    # With uvicorn's workers gunicorn itself does not end at SIGINT before its graceful timeout of 30 s.
    "gunicorn -w 2": GOES_ON_SERVING | {"TERM": ("200", 0), "INT": ("200", 137)},
    "sh -c 'exec uvicorn'": and_dies(STOPS, "cut"),
    "sh -c 'cd / && uvicorn'": and_dies(WAITS, "200"),
    "uvicorn, at a terminal": and_dies(STOPS, "cut"),
    "sh -c 'cd / && uvicorn', at a terminal": and_dies(WAITS, "200"),
}


class Marked:
    """The processes of one run: they carry its mark in their environment, whatever their parent is."""

    def __init__(self) -> None:
        self.value = uuid.uuid4().hex

    def living(self) -> list[int]:
        mark = f"RUN_OF_TEST={self.value}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    # It is empty for a zombie.
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    pass  # it has ended, or is not ours
        return found

    def kill(self) -> int:
        """Kills all of them, and returns how many there were."""
        first = living = self.living()
        while living:
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            living = self.living()
        return len(first)


@contextmanager
def standard_input(terminal: bool) -> Iterator[int]:
    if not terminal:
        yield subprocess.DEVNULL
        return
    ours, theirs = os.openpty()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


def run(program: str, case: Case, name: str, directory: Path) -> End:
    """Starts the case, sends the signal while its request is under way, and waits for the outcome of both."""
    port, mark, under_way = free_port(), Marked(), directory / uuid.uuid4().hex
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(KIT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "UNDER_WAY": str(under_way),
        "RUN_OF_TEST": mark.value,
        "SIDEPULSE_APP_PORT": str(port),
        "SIDEPULSE_LISTEN": "127.0.0.1:0",
        "SIDEPULSE_DATABASE": "off",
        "SIDEPULSE_LOG": "error",
    }
    command = [part.replace("{port}", str(port)) for part in PROGRAMS[program] + case.command]
    if case.terminal:
        command = ["setsid", "--ctty", *command]
    with standard_input(case.terminal) as stdin, open(directory / f"{mark.value}.log", "wb+") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=stdin,
            stdout=log,
            stderr=log,
            # Where a terminal is needed, setsid provides it.
            start_new_session=not case.terminal,
        )
        try:
            return observe(process, case, name, port, mark, under_way)
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace"))
            raise
        finally:
            mark.kill()
            process.wait()


def observe(
    process: subprocess.Popen, case: Case, name: str, port: int, mark: Marked, under_way: Path
) -> End:
    wait_until(lambda: ask(port, "/") == "200", SOON, f"{case.command} answers")
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(ask(port, case.path)))
    client.start()
    wait_until(under_way.exists, SOON, "the request is under way")
    if case.path == "/idle-pool":
        # What counts is the idle workers.
        client.join()
        answers = ["none"]
    sent = time.monotonic()
    os.kill(process.pid, getattr(signal, f"SIG{name}"))
    last = sent + SOON
    while process.poll() is None and time.monotonic() < last:
        if name not in ("TERM", "INT") and not client.is_alive():
            last = min(last, time.monotonic() + GOES_ON)
        time.sleep(0.01)
    seconds = time.monotonic() - sent
    code = process.poll()
    left = mark.kill() if code is not None else 0
    client.join()
    return End(answers[0], code if code is None or code >= 0 else 128 - code, seconds, left)


def ask(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException):
        return "cut"
    finally:
        connection.close()


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    lines = [f"| server | signal | {' | '.join(PROGRAMS)} |", "|---|---|" + "---|" * len(PROGRAMS)]
    yield lines
    if TABLE:
        Path(TABLE).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_a_signal_cuts_no_request_that_the_server_would_have_answered(
    name: str, table: list[str], tmp_path: Path
) -> None:
    programs = list(PROGRAMS) if TABLE else ["sidepulse"]
    for program in programs:
        if PROGRAMS[program] and program != "sidepulse":
            tool(program)
    runs = [(program, number) for number in SIGNALS for program in programs]
    with ThreadPoolExecutor(BUSY) as pool:
        ends = list(pool.map(lambda one: run(one[0], CASES[name], one[1], tmp_path), runs))
    found = dict(zip(runs, ends, strict=True))
    wrong = []
    for number in SIGNALS:
        table.append(
            " | ".join([f"| `{name}`", number, *(str(found[one, number]) for one in programs)]) + " |"
        )
        end = found["sidepulse", number]
        others = [found[program, number] for program in programs if program in ("tini", "dumb-init")]
        as_expected = (end.request, end.code) == EXPECTED[name][number] and end.left == 0
        if not as_expected or (end.request == "cut" and any(other.request == "200" for other in others)):
            wrong.append((number, str(end), EXPECTED[name][number]))
    assert not wrong
