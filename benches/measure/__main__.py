"""Measures sidepulse beside others on loopback; called by benches/run.

Where is …? The sections: floor.py (beside a bare hyper server), checks.py (beside raw tokio-postgres), peers.py (beside
other programs) with footprint.py and frozen.py, curves.py (as the work grows). What they stand on: servers.py (how
each program is started, what is red), postgres.py, load.py (the clients), processes.py, table.py,
progress.py.
"""

import argparse
import os
import re
import signal
import sys
from pathlib import Path

import checks
import curves
import floor
import peers
import progress
from load import ROUNDS, SECONDS
from postgres import postgres
from processes import raise_file_limit
from table import Table

SECTIONS = {"floor": floor.measure, "checks": checks.measure, "peers": peers.measure, "curves": curves.measure}


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1e6
    kernel = os.uname()
    return f"{os.cpu_count()} × {model[1] if model else kernel.machine}, {memory:.0f} GB, Linux {kernel.release}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__.splitlines()[0])
    parser.add_argument("binaries", type=Path, help=argparse.SUPPRESS)  # given by benches/run
    parser.add_argument("section", nargs="*", help=f"only these: {', '.join(SECTIONS)}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    arguments = parser.parse_args()
    if unknown := set(arguments.section) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    raise_file_limit()
    table = Table()
    table.title(machine())
    table.note(
        f"Medians of {ROUNDS} rounds of {SECONDS} s, of their ratios where there is a ÷: those who are compared take "
        "turns. Clients and servers share the machine."
    )
    with postgres() as server:
        chosen = arguments.section or list(SECTIONS)
        for number, name in enumerate(chosen, 1):
            progress.part(number, len(chosen), name)
            SECTIONS[name](table, server)
    table.end(arguments.markdown)


main()
