"""The status page in a real browser: every state on a phone and on a desk, light and dark, by keyboard and
for a screen reader.

SCREENSHOTS=directory keeps the pictures."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from browser import DESKTOP, PHONE, Browser
from programs import SOON, TOKEN, Program, Sidecar, Web
from servers import Postgres, wait_until

RED = "cf222e"
TAB = "\ue004"
QUERIES = "migrations: SELECT 1 = 1\nbacklog: SELECT count(*) < 0 FROM pg_class"


class Files(Web):
    """An app that starts and stops quickly."""

    LISTENS = r"\(http://([0-9.:]+)/\)"


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    browser.open("about:blank")  # Chromium's own first page makes many requests
    yield browser
    browser.stop()


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """It must have sent requests only to the page's own server, and logged no error."""
    one_browser.console(), one_browser.requests()
    yield one_browser
    assert one_browser.console() == []
    one_browser.open("about:blank")


@pytest.fixture
def inspect(browser: Browser, node_modules: Path, tmp_path: Path) -> Callable[[str], None]:
    """Checks the open page in every layout, and with axe."""
    axe = (node_modules / "axe-core/axe.min.js").read_text()
    pictures = Path(os.environ.get("SCREENSHOTS", tmp_path))

    def inspect_state(name: str) -> None:
        browser.run(axe)
        for size, scheme in [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")]:
            browser.look(size, scheme)
            browser.screenshot(pictures / f"{name}-{scheme}-{size[0]}.png")
            assert browser.run("return document.documentElement.scrollWidth") <= size[0]
            if size == DESKTOP:
                continue  # the same document, but wider
            found = browser.run("return axe.run({rules: {'target-size': {enabled: true}}})")
            assert [(rule["id"], rule["nodes"]) for rule in found["violations"]] == []
            assert len(found["passes"]) > 10
        origin = browser.run("return location.host")
        urls = [httpx.URL(url) for url in browser.requests() if not url.startswith("data:")]
        assert {(url.netloc.decode(), url.path) for url in urls} == {(origin, "/")}, urls

    return inspect_state


def shown(browser: Browser) -> str:
    return browser.run("return document.querySelector('main').innerText")


def test_all_is_well(browser: Browser, inspect: Callable[[str], None], well: Sidecar) -> None:
    wait_until(lambda: well.get("/").text.count('class="ok"') > 10, SOON)
    browser.open(f"http://{well.address}/")
    text = shown(browser)
    assert "ready all checks pass" in text.replace("\n", " ") and "server version 1" in text
    inspect("healthy")


def test_something_fails(
    browser: Browser,
    inspect: Callable[[str], None],
    start: Callable[..., Program],
    app: str,
    postgres: Postgres,
) -> None:
    database = {"DATABASE_URL": postgres.url(query="?sslmode=require"), "SIDEPULSE_SQL_CHECKS": QUERIES}
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=f"{app}/", **database)
    failing = "failing: sql_backlog (unexpected_result)"
    wait_until(lambda: failing in sidecar.get("/").text, SOON)
    browser.open(f"http://{sidecar.address}/")
    text = shown(browser)
    assert failing in text and "newest failures (UTC):" in text
    inspect("failing")


def test_it_drains(
    browser: Browser,
    inspect: Callable[[str], None],
    start: Callable[..., Program],
    app: str,
    postgres: Postgres,
) -> None:
    urls = {"SIDEPULSE_APP_URL": f"{app}/", "DATABASE_URL": postgres.url()}
    sidecar = start(Sidecar, **urls, SIDEPULSE_DRAIN_DELAY="5m")
    sidecar.wait_until_answers("/health", 200)
    sidecar.process.terminate()
    sidecar.wait_until_answers("/readyz", 503)
    browser.open(f"http://{sidecar.address}/")
    assert "draining stopping: no new traffic" in shown(browser).replace("\n", " ")
    inspect("draining")


def test_it_lets_the_database_sleep(
    browser: Browser,
    inspect: Callable[[str], None],
    start: Callable[..., Program],
    postgres: Postgres,
    tmp_path: Path,
) -> None:
    app = start(Files, sys.executable, "-um", "http.server", "--bind", "127.0.0.1", "0", cwd=tmp_path)
    urls = {"SIDEPULSE_APP_URL": f"http://{app.address}/", "DATABASE_URL": postgres.url()}
    sidecar = start(Sidecar, **urls, SIDEPULSE_DATABASE_MODE="economy")
    wait_until(lambda: "the app does not use the database" in sidecar.get("/").text, SOON)
    browser.open(f"http://{sidecar.address}/")
    text = shown(browser).replace("\n", " ")
    assert "ready all checks pass" in text and "database idle" in text and "idle for" in text
    inspect("idle")


def test_it_follows_with_and_without_javascript(
    browser: Browser,
    inspect: Callable[[str], None],
    start: Callable[..., Program],
    postgres: Postgres,
    tmp_path: Path,
) -> None:
    app = start(Files, sys.executable, "-um", "http.server", "--bind", "127.0.0.1", "0", cwd=tmp_path)
    urls = {"SIDEPULSE_APP_URL": f"http://{app.address}/", "DATABASE_URL": postgres.url()}
    sidecar = start(Sidecar, **urls, SIDEPULSE_TOKEN=TOKEN)
    sidecar.wait_until_answers("/health", 200)
    # Opened as from a bookmark with the token in it.
    url = f"http://any:{TOKEN}@{sidecar.address}/"
    window = browser.window
    browser.open(url)
    plain = browser.new_window()
    browser.allow_scripts(False)
    browser.open(url)
    assert "all checks pass" in browser.words()
    browser.switch_to(window)
    browser.press(TAB)
    browser.press(TAB)
    assert browser.run("return document.activeElement.textContent") == "metrics"
    browser.run(
        "document.activeElement.kept = document.querySelector('[role=status]').kept = true;"
        "getSelection().selectAllChildren(document.querySelector('h1'))"
    )
    # A pinned tab is hidden: only its title and its icon are visible.
    browser.run("Object.defineProperty(document, 'hidden', {get: () => true})")
    app.stop()

    wait_until(lambda: "failing: app (connect_refused)" in shown(browser), SOON)
    kept = "document.activeElement.kept, document.querySelector('[role=status]').kept, String(getSelection())"
    assert browser.run(f"return [{kept}]") == [True, True, "sidepulse"]
    assert browser.run("return document.title") == "unready · sidepulse"
    assert RED in browser.run("return document.querySelector('link[rel=icon]').href")
    inspect("unready")

    browser.switch_to(plain)
    wait_until(lambda: "failing: app (connect_refused)" in browser.words(), SOON)
    browser.ask("DELETE", "/window")
    browser.switch_to(window)

    # Neither an icon nor anything else that does not exist was requested.
    metrics = sidecar.get("/metrics", auth=("any", TOKEN)).text
    assert re.findall(r'http_requests_total{code="(\d+)",path="other"} [1-9]', metrics) == []
    assert re.findall(r'http_requests_total{code="(\d+)",path="/"} [1-9]', metrics) == ["200", "401"]

    sidecar.stop()
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")  # as when the user returns to it
    wait_until(lambda: "no answer from sidepulse" in shown(browser).replace("\n", " "), SOON)
    assert browser.run("return document.title") == "no answer · sidepulse"
    assert RED in browser.run("return document.querySelector('link[rel=icon]').href")
    inspect("gone")
    # It reports the failed requests; there must be nothing else.
    browser.open("about:blank")
    assert all("ERR_CONNECTION_REFUSED" in line for line in browser.console())
