"""The layout of the Grafana dashboard: where each panel is, and of which kind."""

import json
from html import escape
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "deploy/grafana/sidepulse.json"
COLUMNS = 24
COLUMN, ROW, GAP = 32, 9, 3  # pixels
STYLE = """
  svg { font: 12px system-ui, sans-serif; color-scheme: light dark }
  rect { fill: #f6f8fa; stroke: #d1d9e0 } .title { fill: #1f2328 } .kind { fill: #59636e; font-size: 10px }
  .row { fill: #1f2328; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    rect { fill: #151b23; stroke: #3d444d } .title, .row { fill: #f0f6fc } .kind { fill: #9198a1 }
  }
"""


def layout() -> str:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW
    drawn = "\n".join(map(panel_drawn, panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * COLUMN} {height}" role="img" '
        f'aria-label="The panels of the dashboard">\n<style>{STYLE}</style>\n{drawn}\n</svg>\n'
    )


def panel_drawn(panel: dict) -> str:
    place = panel["gridPos"]
    x, y = place["x"] * COLUMN, place["y"] * ROW
    title = escape(panel["title"])
    if panel["type"] == "row":
        return f'<text class="row" x="{x + GAP}" y="{y + ROW}">{title}</text>'
    width, height = place["w"] * COLUMN - 2 * GAP, place["h"] * ROW - 2 * GAP
    return (
        f'<rect x="{x + GAP}" y="{y + GAP}" width="{width}" height="{height}" rx="4"/>'
        f'<text class="title" x="{x + 10}" y="{y + 18}">{title}</text>'
        f'<text class="kind" x="{x + 10}" y="{y + 31}">{escape(panel["type"])}</text>'
    )


def draw(pictures: Path) -> None:
    (pictures / "dashboard.svg").write_text(layout())
