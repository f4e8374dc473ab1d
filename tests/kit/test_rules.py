"""deploy/prometheus: valid for promtool, every alert tested firing and silent, and every alert says what to
do."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from programs import ROOT, TOKEN, run, tool

PROMETHEUS = ROOT / "deploy/prometheus"
FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RULES = [
    rule for path in FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
CASES = [
    case
    for path in TESTS
    for test in yaml.safe_load(path.read_text())["tests"]
    for case in test.get("alert_rule_test", [])
]
ALWAYS = "SidepulseWatchdog"
# These do not report a failed check.
WITHOUT_REASON = {
    "SidepulseCheckSlow",
    "SidepulseRestartsOften",
    "SidepulseConnectionsRunOut",
    "SidepulseDatabaseWakesOften",
    "SidepulseDrainEndless",
    "SidepulseReplicasFewer",
    "SidepulseScrapeFails",
    "SidepulseAbsent",
    "SidepulseLogLinesDropped",
    "SidepulseOutsideFails",
    "SidepulseOutsideBlind",
    "SidepulseDomainCertificateEnding",
    ALWAYS,
}


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    shutil.copy(PROMETHEUS / "prometheus.yml", tmp_path)
    (tmp_path / "sidepulse_token").write_text(TOKEN)
    (tmp_path / "sidepulse_outside.yml").write_text('- targets: ["https://health.example.com/health"]\n')
    printed = run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert sum(int(count) for count in re.findall(r"(\d+) rules found", printed)) == len(RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_cases_say(path: Path) -> None:
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(alert: str) -> None:
    fires = {bool(case["exp_alerts"]) for case in CASES if case["alertname"] == alert}
    assert fires == ({True} if alert == ALWAYS else {True, False})


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_is_wrong_how_severe_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning") or alert == ALWAYS
    assert set(rule["annotations"]) == {"summary", "action"}
    assert len(rule["annotations"]["action"]) > 40


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_names_the_reason_and_shows_whole_numbers(alert: str) -> None:
    texts = [
        text["exp_annotations"]["summary"]
        for case in CASES
        if case["alertname"] == alert
        for text in case["exp_alerts"]
    ]
    assert [text for text in texts if re.search(r"\d\.\d+ (times|lines|log|replicas|sessions)", text)] == []
    named = [text for text in texts if re.search(r": ([a-z]+: )?[a-z]+(_[a-z]+)*$|: [a-z ,]+$", text)]
    assert named if alert not in WITHOUT_REASON else True


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_no_rule_depends_on_which_replica_it_was(rule: dict) -> None:
    expression = re.sub(r"\bjob(_\w+)?:\w+:\w+", "recorded", rule["expr"])
    of_a_replica = re.search(r"\b(sidepulse_\w+|up\{job=[^}]*sidepulse\"|process_\w+)", expression)
    aggregated = "without (instance, pod" in expression or "absent(" in expression
    assert aggregated or not of_a_replica


def test_a_reason_that_changes_is_not_a_new_alert() -> None:
    for alert, rule in ALERTS.items():
        for label in re.findall(r"group_left \(([\w, ]+)\)", rule["expr"]):
            assert {name: rule["labels"].get(name) for name in label.split(", ")} == {
                name: "" for name in label.split(", ")
            }, alert


def test_alertmanager_accepts_its_configuration_and_sends_each_alert_where_it_belongs() -> None:
    config = PROMETHEUS / "alertmanager.yml"
    assert "SUCCESS" in run(tool("amtool"), "check-config", config)
    known = "|".join(ALERTS)
    for rule in yaml.safe_load(config.read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            pattern = re.search(r'alertname =~? "(.+)"', matcher)
            assert pattern and re.search(rf"(^|\|){pattern[1]}(\||$)", known), matcher
    for alert, severity, receiver in (
        (ALWAYS, "none", "heartbeat"),
        ("SidepulseCheckDown", "critical", "pager"),
        ("SidepulseCheckSlow", "warning", "tickets"),
    ):
        route = ("config", "routes", "test", f"--config.file={config}")
        printed = run(tool("amtool"), *route, f"alertname={alert}", f"severity={severity}")
        assert printed.split()[-1] == receiver
