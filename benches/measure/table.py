"""The table: claims with their goals, and grids. It is printed as it grows, and kept for Markdown."""

import operator
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import progress

SIGNS = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Goal:
    sign: str
    limit: float
    unit: str = ""

    def met(self, figure: float) -> bool:
        return SIGNS[self.sign](figure, self.limit)

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}{self.unit}"


def at_most(limit: float, unit: str = "") -> Goal:
    return Goal("≤", limit, unit)


def at_least(limit: float, unit: str = "") -> Goal:
    return Goal("≥", limit, unit)


@dataclass
class Table:
    markdown: list[str] = field(default_factory=list)
    met: int = 0
    goals: int = 0
    _in_claims: bool = False

    def title(self, text: str) -> None:
        self._in_claims = False
        progress.out_of_the_way()
        print(f"\n{text}", flush=True)
        self.markdown += ["", f"## {text}"]

    def note(self, text: str) -> None:
        self._in_claims = False
        progress.out_of_the_way()
        print(textwrap.fill(text, 118, initial_indent="  ", subsequent_indent="  "), flush=True)
        self.markdown += ["", text]

    def claim(self, name: str, figure: float, goal: Goal | None = None, note: str = "", digits: int = 2) -> None:
        """One figure, with a mark where it has a goal."""
        mark = ""
        if goal:
            self.goals += 1
            self.met += goal.met(figure)
            mark = "✓" if goal.met(figure) else "✗"
        unit = goal.unit if goal else ""
        text, wanted = f"{figure:,.{digits}f}{unit}", str(goal or "")
        progress.out_of_the_way()
        print(f"  {name:<56} {text:>11}  {wanted:<9} {mark:<1}  {note}", flush=True)
        if not self._in_claims:
            self.markdown += ["", "| what | figure | goal | | |", "|---|---:|---|---|---|"]
            self._in_claims = True
        self.markdown.append(f"| {name} | {text} | {wanted} | {mark} | {note} |")

    def grid(self, columns: list[str], rows: list[list[str]]) -> None:
        """The first column names the row."""
        self._in_claims = False
        progress.out_of_the_way()
        widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
        for row in [columns, *rows]:
            cells = [
                f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            print("  " + "  ".join(cells).rstrip(), flush=True)
        self.markdown += ["", f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
        self.markdown += [f"| {' | '.join(row)} |" for row in rows]

    def end(self, path: Path | None) -> None:
        if self.goals:
            self.title(f"{self.met} of {self.goals} goals met")
        if path:
            path.write_text("\n".join(self.markdown) + "\n")
