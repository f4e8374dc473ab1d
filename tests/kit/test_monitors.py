"""deploy/monitors.md: what it promises, asked of the real program, by a real blackbox_exporter too."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from programs import ROOT, TOKEN, Blackbox, Program, Sidecar, run, tool
from servers import Postgres, free_port

TEXT = (ROOT / "deploy/monitors.md").read_text()
BLACKBOX = ROOT / "deploy/prometheus/blackbox.yml"
PATHS = re.findall(r"^\| `(/\w[\w/]*)` \|", TEXT, re.MULTILINE)


@pytest.fixture
def red(start: Callable[..., Program], postgres: Postgres) -> Sidecar:
    """The database is well, the app is not there."""
    nobody = f"http://127.0.0.1:{free_port()}/"
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=nobody, DATABASE_URL=postgres.url())
    sidecar.wait_until_answers("/health/deep", 200)
    return sidecar


@pytest.fixture
def blackbox(start: Callable[..., Program]) -> Callable[[str, str], dict[str, float]]:
    exporter = start(Blackbox, BLACKBOX)

    def probe(module: str, url: str) -> dict[str, float]:
        """The probe's metrics without labels."""
        text = exporter.get("/probe", params={"module": module, "target": url}).text
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

    return probe


def test_head_says_what_get_says(well: Sidecar, red: Sidecar) -> None:
    assert PATHS == ["/health", "/health/shallow", "/health/deep", "/readyz"]
    for path in PATHS:
        assert httpx.head(f"http://{well.address}{path}").status_code == 200
    statuses = [httpx.head(f"http://{red.address}{path}").status_code for path in PATHS]
    assert statuses == [503, 503, 200, 503]


def test_the_keyword_is_in_no_failing_answer(well: Sidecar, red: Sidecar) -> None:
    assert "ok" in well.get("/readyz").text
    assert "ok" not in red.get("/readyz").text
    reasons = set(re.findall(r'reason="(\w+)"', red.get("/metrics").text))
    assert len(reasons) > 30
    assert [reason for reason in reasons if "ok" in reason] == []


def test_the_keyword_to_avoid_is_a_trap_indeed(red: Sidecar) -> None:
    body = red.get("/health")
    assert body.status_code == 503 and '"status":"pass"' in body.text
    assert body.json()["status"] == "fail"


def test_a_token_hides_the_details_and_nothing_else(
    start: Callable[..., Program], app: str, postgres: Postgres
) -> None:
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=f"{app}/", DATABASE_URL=postgres.url(), SIDEPULSE_TOKEN=TOKEN)
    body = sidecar.wait_until_answers("/health", 200).json()
    assert body["status"] == "pass" and "checks" not in body


@pytest.mark.parametrize("module", ["sidepulse_health", "sidepulse_head"])
def test_blackbox_is_green_when_all_is_well(
    well: Sidecar, blackbox: Callable[..., dict[str, float]], module: str
) -> None:
    probe = blackbox(module, f"http://{well.address}/health")
    assert (probe["probe_success"], probe["probe_http_status_code"]) == (1, 200)


@pytest.mark.parametrize("module", ["sidepulse_health", "sidepulse_head"])
def test_blackbox_is_red_when_the_app_is_not_there(
    red: Sidecar, blackbox: Callable[..., dict[str, float]], module: str
) -> None:
    probe = blackbox(module, f"http://{red.address}/health")
    assert (probe["probe_success"], probe["probe_http_status_code"]) == (0, 503)


def test_blackbox_tells_the_sidecar_s_health_from_the_app_s_own(
    app: str, blackbox: Callable[..., dict[str, float]]
) -> None:
    probe = blackbox("sidepulse_health", f"{app}/health")
    assert (probe["probe_success"], probe["probe_http_status_code"]) == (0, 200)


def test_prometheus_takes_the_job(tmp_path: Path) -> None:
    (job,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(job)
    assert "SUCCESS" in run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
    (module,) = re.findall(r"module: \[(\w+)\]", job)
    assert f"  {module}:" in BLACKBOX.read_text()
