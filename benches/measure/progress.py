"""The progress of the run: on a terminal one line below the table, overwritten; elsewhere a line for each part."""

import sys
import time

_STARTED = time.monotonic()
_TERMINAL = sys.stderr.isatty()
_part = ""


def part(number: int, count: int, name: str) -> None:
    """The next part of the run begins."""
    global _part
    _part = f"part {number} of {count}, {name}"
    if not _TERMINAL:
        print(f"{_part}, after {_elapsed()}", file=sys.stderr, flush=True)


def now(what: str) -> None:
    """What is being done now."""
    if _TERMINAL:
        line = f"{_part}, {_elapsed()}: {what}"
        print(f"\r\x1b[K{line[:79]}", end="", file=sys.stderr, flush=True)


def out_of_the_way() -> None:
    """Clears the line before anything else is printed."""
    if _TERMINAL:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _elapsed() -> str:
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    return f"{minutes}:{seconds:02}"
