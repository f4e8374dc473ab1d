"""Draws the pictures of the documents; called by docs/draw."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests/kit"), str(ROOT / "deploy/backend/tests")]  # a browser, and the programs that it shows

import dashboard  # noqa: E402
import page  # noqa: E402
import terminal  # noqa: E402

PICTURES = ROOT / "docs/pictures"
PICTURES.mkdir(exist_ok=True)
DRAWN = {"dashboard": dashboard.draw, "page": page.draw, "demo": terminal.draw}

chosen = sys.argv[1:] or DRAWN
for name in chosen:
    print(f"drawing: {name}", flush=True)
    DRAWN[name](PICTURES)
