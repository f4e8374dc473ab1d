"""The promises of deploy/monitors.md, checked with the real program, and with a real blackbox_exporter."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml

from programs import ROOT, TOKEN, Blackbox, Program, Sidecar, run, run_json, tool
from servers import Postgres, free_port

TEXT = (ROOT / "deploy/monitors.md").read_text()
BLACKBOX = ROOT / "deploy/prometheus/blackbox.yml"
PATHS = re.findall(r"^\| `(/\w[\w/]*)` \|", TEXT, re.MULTILINE)


@pytest.fixture
def red(start: Callable[..., Program], postgres: Postgres) -> Sidecar:
    """The database passes, the app is not running."""
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


def test_the_keyword_to_avoid_is_indeed_a_trap(red: Sidecar) -> None:
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


def test_prometheus_accepts_the_targets(tmp_path: Path) -> None:
    (targets,) = re.findall(r"```yaml\n(- targets.*?)```", TEXT, re.DOTALL)
    shipped = ROOT / "deploy/prometheus"
    shutil.copytree(shipped, tmp_path, dirs_exist_ok=True)
    config = yaml.safe_load((shipped / "prometheus.yml").read_text())
    _, outside = config["scrape_configs"]
    (files,) = outside["file_sd_configs"]
    (tmp_path / files["files"][0]).write_text(targets)
    (tmp_path / "sidepulse_token").write_text(TOKEN)
    assert "SUCCESS" in run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
    (module,) = outside["params"]["module"]
    assert f"  {module}:" in BLACKBOX.read_text()


@pytest.fixture
def kuma(node_modules: Path) -> Callable[[int, str], list[str]]:
    """What Uptime Kuma, configured as in the table, makes of a status and a body."""
    section = TEXT[TEXT.index("## Uptime Kuma") :]
    fields = dict(re.findall(r"^\| ([\w ,]+) \| (`.+`) \|$", section, re.MULTILINE))
    expression = fields["Json Query Expression"].strip("`")
    condition, expected = re.findall(r"`([^`]+)`", fields["Condition, Expected Value"])
    codes = ",".join(re.findall(r"`([^`]+)`", fields["Accepted Status Codes"]))

    def beat(status: int, body: str, accepted: str = codes) -> list[str]:
        return run_json(
            tool("node"), ROOT / "tests/kit/kuma.mjs", status, body, expression, condition, expected, accepted
        )

    assert node_modules
    return beat


def test_uptime_kuma_says_why(well: Sidecar, red: Sidecar, kuma: Callable[..., list[str]]) -> None:
    answer = well.get("/health")
    assert kuma(answer.status_code, answer.text) == ["UP", "JSON query passes (comparing up == up)"]
    answer = red.get("/health")
    words = "JSON query does not pass (comparing app: connect_refused == up)"
    assert kuma(answer.status_code, answer.text) == ["DOWN", words]
    without = kuma(answer.status_code, answer.text, "200-299")
    assert without == ["DOWN", "Request failed with status code 503"]
    assert without[1] in TEXT


def test_a_drain_is_red_where_load_balancers_ask_and_nowhere_else(
    start: Callable[..., Program], app: str, postgres: Postgres
) -> None:
    environment = {"DATABASE_URL": postgres.url(), "SIDEPULSE_DRAIN_DELAY": "20s"}
    sidecar = start(Sidecar, SIDEPULSE_APP_URL=f"{app}/", **environment)
    sidecar.wait_until_answers("/health", 200)
    sidecar.process.terminate()
    sidecar.wait_until_answers("/readyz", 503)
    assert {path: sidecar.get(path).status_code for path in PATHS} == {
        "/health": 503,
        "/health/shallow": 200,
        "/health/deep": 200,
        "/readyz": 503,
    }
    sidecar.process.terminate()  # a second one ends it at once
    sidecar.process.wait(20)
