"""A real Prometheus with our configuration scrapes the real program beside a real app and a real database."""

import json
import re
import shutil
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from unittest.mock import ANY

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from programs import ROOT, TOKEN, Prometheus, Sidecar
from servers import Postgres, wait_until

SHIPPED = ROOT / "deploy/prometheus"
DASHBOARD = json.loads((ROOT / "deploy/grafana/sidepulse.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
# What Grafana inserts, for a scrape every quarter of a second.
GRAFANA = {"$__rate_interval": "30s", "$__range": "2m", "$job": ".+", "$replica": ".*"}
# Nothing to show: in steady mode the app's connections are not counted, there is no warning, and only Neon
# limits the size.
EMPTY = {"The app's connections", "Warnings", "Size and its limit"}
# Read once a minute: after the outage they return with the next reading.
ONCE_A_MINUTE = "sidepulse_database_(sessions|oldest_transaction|lock_waiters)"


def configure(directory: Path, address: str) -> Path:
    """The shipped configuration, except for the target and the intervals."""
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "500ms"}
    del config["alerting"]
    job, outside = config["scrape_configs"]
    assert outside["job_name"] == "sidepulse-outside"
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [address]}]
    shutil.copytree(SHIPPED / "rules", directory / "rules")
    (directory / "sidepulse_token").write_text(f"{TOKEN}\n")
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def prometheus(
    app: str, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has seen the checks pass, the database restart, and everything pass again."""
    sidecar = Sidecar(
        SIDEPULSE_APP_URL=f"{app}/",
        DATABASE_URL=postgres.url(),
        SIDEPULSE_TOKEN=TOKEN,
        SIDEPULSE_SQL_CHECKS="migrations: SELECT true",
        SIDEPULSE_DATABASE_ATTEMPT_TIMEOUT="2s",  # reading the numbers needs half a second at least
        RAILWAY_REPLICA_ID="replica-1",
    )
    prometheus = None
    try:
        sidecar.wait_until_answers("/health", 200)
        assert sidecar.get("/metrics").status_code == 401
        prometheus = Prometheus(configure(tmp_path_factory.mktemp("prometheus"), sidecar.address))
        up = 'sidepulse_check_up{check="database"}'
        wait_until(lambda: values(prometheus, up) == [1], what="the first scrape")
        postgres.stop()
        sidecar.wait_until_answers("/health/deep", 503)
        wait_until(lambda: values(prometheus, up) == [0], what="the scrape of the outage")
        postgres.start()
        sidecar.wait_until_answers("/health", 200)
        wait_until(lambda: values(prometheus, up) == [1], what="the scrape after it")
        yield prometheus
    finally:
        if postgres.process is None:
            postgres.start()
        if prometheus is not None:
            prometheus.stop()
        sidecar.stop()


def values(prometheus: Prometheus, expression: str) -> list[float]:
    return [value for _, value in prometheus.query(expression)]


def test_the_scrape_is_up_and_the_checks_can_be_queried(prometheus: Prometheus) -> None:
    assert values(prometheus, 'up{job="sidepulse"}') == [1]
    checks = prometheus.query("sidepulse_check_up")
    assert {labels["check"]: value for labels, value in checks} == {
        "app": 1,
        "database": 1,
        "sql_migrations": 1,
    }
    assert {labels["railway_replica"] for labels, _ in checks} == {"replica-1"}


def test_the_rules_run_and_aggregate_the_replica_away(prometheus: Prometheus) -> None:
    down = "1 - job_check:sidepulse_available:ratio"
    most = f"max(max_over_time(({down})[1m:500ms]))"
    wait_until(lambda: values(prometheus, most) == [1], what="the outage in the recorded series")
    assert {tuple(sorted(labels)) for labels, _ in prometheus.query(down)} == {("check", "job")}
    rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}


def test_every_metric_that_a_rule_names_exists(prometheus: Prometheus) -> None:
    groups = [yaml.safe_load(path.read_text())["groups"] for path in (SHIPPED / "rules").glob("*.yml")]
    expressions = " ".join(rule["expr"] for file in groups for group in file for rule in group["rules"])
    names = set(re.findall(r"(?<![:\w])sidepulse_\w+", expressions))
    assert "sidepulse_check_state" in names
    missing = [name for name in names if values(prometheus, f"count(last_over_time({name}[5m]))") == []]
    assert missing == []
    reasons = set(re.findall(r'reason=~?"([\w|]+)"', expressions))
    known = {
        labels["reason"]
        for metric in ("sidepulse_check_failures_total", "sidepulse_check_warning")
        for labels, _ in prometheus.query(f"count by (reason) ({metric})")
    }
    assert {reason for group in reasons for reason in group.split("|")} <= known


def test_availability_agrees_with_the_time_down(prometheus: Prometheus) -> None:
    """One replica, always scraped, down once: both count the same seconds, to within a few scrapes."""
    unavailable = 'sum_over_time((1 - job_check:sidepulse_available:ratio{check="database"})[10m:500ms]) * 0.5'
    down = 'max_over_time(sidepulse_check_down_seconds_total{check="database"}[10m])'
    ((_, seconds),) = prometheus.query(down)
    ((_, counted),) = prometheus.query(unavailable)
    assert seconds > 0 and abs(counted - seconds) < 3


def test_a_restart_of_the_database_is_counted(prometheus: Prometheus) -> None:
    wait_until(lambda: values(prometheus, "sidepulse_database_restarts_total") == [1])
    assert values(prometheus, "sidepulse_database_wake_seconds_count") == [1]
    assert values(prometheus, 'sidepulse_transitions_total{check="database",to="down"}') == [1]


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_every_query_of_the_dashboard_has_something_to_show(
    prometheus: Prometheus, title: str, expression: str
) -> None:
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    if re.search(ONCE_A_MINUTE, expression):
        expression = f"max_over_time(({expression})[5m:500ms])"

    def shown() -> list[float]:
        return [value for value in values(prometheus, expression) if not isnan(value)]

    wait_until(lambda: bool(shown()) == (title not in EMPTY), what=expression)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_unit_and_says_what_it_shows(panel: dict) -> None:
    assert len(panel["description"]) > 10
    assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]


def test_the_dashboard_s_variables_and_annotations_are_queries_too(prometheus: Prometheus) -> None:
    _, job, replica = DASHBOARD["templating"]["list"]
    assert job["query"]["query"] == "label_values(sidepulse_build_info, job)"
    assert replica["query"]["query"] == 'label_values(sidepulse_build_info{job=~"$job"}, instance)'
    for label, count in (("job", ["sidepulse"]), ("instance", [ANY])):
        matching = {"match[]": "sidepulse_build_info"}
        names = prometheus.get(f"/api/v1/label/{label}/values", params=matching).json()
        assert names["data"] == count
    database, starts, changes = DASHBOARD["annotations"]["list"]

    def marks(expression: str) -> list[dict[str, str]]:
        for variable, value in (GRAFANA | {"$__rate_interval": "2m"}).items():
            expression = expression.replace(variable, value)
        return [labels for labels, _ in prometheus.query(expression)]

    assert marks(database["expr"]) == [{}]
    assert {"check": "database", "to": "down"} in marks(changes["expr"])
    # The start may be more than a minute ago: the mark was there at its time.
    assert marks(starts["expr"].replace("< 60", "< 600")) == [{"job": "sidepulse"}]


def test_grafana_knows_every_field() -> None:
    """A field that its own types do not know is lost when passed through them."""
    register_default_plugins()
    text = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD))
    assert list(lost(DASHBOARD, json.loads(text))) == []


def lost(before: object, after: object, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}/{key}") if key in after else [f"{path}/{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


def test_panels_do_not_overlap_and_every_one_has_its_own_number() -> None:
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
