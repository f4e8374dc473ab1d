"""`deploy/demo --once` as a recording: each line appears when it was printed."""

import os
import re
import subprocess
import time
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = "deploy/demo --once"
COLUMNS, LONGEST = 110, 3  # characters of a line, lines of a paragraph
CHARACTER, LINE, MARGIN = 7.2, 17, 14  # pixels
STYLE = """
  rect { fill: #0d1117 }
  text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre }
  .typed { fill: #7ee787 } .log { fill: #9198a1 } .bad { fill: #ff7b72 }
  @keyframes shown { to { opacity: 1 } }
  text { opacity: 0; animation: shown 1ms linear forwards }
  @media (prefers-reduced-motion) { text { opacity: 1; animation: none } }
"""


def recorded() -> list[tuple[float, str]]:
    since = time.monotonic()
    # The demo takes settings from its environment, which must not be those of the person who draws.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIDEPULSE_")}
    demo = subprocess.Popen(
        COMMAND.split(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert demo.stdout is not None
    lines = [(time.monotonic() - since, line.rstrip("\n")) for line in demo.stdout]
    assert demo.wait() == 0
    return lines


def wrapped(line: str) -> list[str]:
    """Wrapped as on a terminal; of a long body only the beginning."""
    parts = [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)] or [""]
    if len(parts) > LONGEST:
        parts = [*parts[: LONGEST - 1], parts[LONGEST - 1][: COLUMNS - 2] + " …"]
    return parts


def kind(line: str) -> str:
    if line.startswith("$"):
        return "typed"
    if re.search(r"fail|503|is down|\berror\b", line):
        return "bad"
    return "log" if line.startswith("  | ") else ""


def recording(lines: list[tuple[float, str]]) -> str:
    texts, y = [], MARGIN
    for at, line in [(0.0, f"$ {COMMAND}"), *lines]:
        for part in wrapped(line):
            y += LINE
            style = f'style="animation-delay:{at + 0.5:.1f}s"'
            texts.append(f'<text class="{kind(line)}" x="{MARGIN}" y="{y}" {style}>{escape(part)}</text>')
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
        f'aria-label="A recording of {COMMAND}">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" rx="6"/>\n' + "\n".join(texts) + "\n</svg>\n"
    )


def draw(pictures: Path) -> None:
    (pictures / "demo.svg").write_text(recording(recorded()))
