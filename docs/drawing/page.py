"""The status page in a real browser: healthy and failing, light and dark."""

import base64
import tempfile
from pathlib import Path

from browser import Browser
from programs import Sidecar
from servers import App, Postgres, wait_until

WIDTH = 760
MARGIN = 12
# Enough results for the charts to show something, with a check every 200 ms.
RESULTS = 25
PATIENCE = 60


def draw(pictures: Path) -> None:
    postgres = Postgres()
    try:
        postgres.start()
        app = App({"DATABASE_URL": postgres.url(), "ENVIRONMENT": "test"})
        try:
            both_states(f"{app.wait_until_running()}/", postgres, pictures)
        finally:
            app.kill()
    finally:
        postgres.stop()
        postgres.remove()


def both_states(app: str, postgres: Postgres, pictures: Path) -> None:
    url = postgres.url(query="?sslmode=require")
    sidecar = Sidecar(SIDEPULSE_APP_URL=app, DATABASE_URL=url)
    try:
        with tempfile.TemporaryDirectory(prefix="pictures-") as directory:
            browser = Browser(Path(directory))
            try:
                sidecar.wait_until_answers("/health", 200)
                wait_until(lambda: sidecar.get("/").text.count('class="ok"') >= 2 * RESULTS, PATIENCE)
                both_schemes(browser, sidecar, pictures, "healthy")
                postgres.freeze()
                sidecar.wait_until_answers("/health", 503)
                both_schemes(browser, sidecar, pictures, "failing")
            finally:
                browser.stop()
    finally:
        sidecar.stop()


def both_schemes(browser: Browser, sidecar: Sidecar, pictures: Path, name: str) -> None:
    browser.open(f"http://{sidecar.address}/")
    for scheme in ("light", "dark"):
        browser.look((WIDTH, 800), scheme)
        height = browser.run("return document.getElementById('page').getBoundingClientRect().bottom")
        shot = browser.devtools(
            "Page.captureScreenshot",
            format="webp",
            quality=60,
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": WIDTH, "height": height + MARGIN, "scale": 1},
        )
        (pictures / f"page-{name}-{scheme}.webp").write_bytes(base64.b64decode(shot["data"]))
