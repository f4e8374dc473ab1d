"""Measures sidepulse beside others on loopback; called by benches/run."""

import argparse
import os
import re
import tempfile
from pathlib import Path

import checks
import curves
import floor
import peers
from load import ROUNDS, SECONDS
from postgres import postgres
from processes import raise_file_limit
from table import Table

SECTIONS = {"floor": floor.measure, "checks": checks.measure, "peers": peers.measure, "curves": curves.measure}


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1e6
    return f"{os.cpu_count()} × {model[1] if model else os.uname().machine}, {memory:.0f} GB, Linux {os.uname().release}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("binaries", type=Path, help=argparse.SUPPRESS)  # given by benches/run
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []], help="only these; all of them without")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    arguments = parser.parse_args()
    raise_file_limit()
    table = Table()
    table.title(machine())
    table.note(f"Medians of the ratios of {ROUNDS} rounds, in turn, of {SECONDS} s; clients and servers share the machine.")
    with postgres() as server, tempfile.TemporaryDirectory(prefix="bench") as work:
        for name in arguments.section or SECTIONS:
            SECTIONS[name](table, server) if name != "peers" else peers.measure(table, server, Path(work))
    table.end(arguments.markdown)


main()
