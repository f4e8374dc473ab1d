"""deploy/prometheus: valid for promtool, every alert tried both ways, and every alert says what to do."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from programs import ROOT, TOKEN, run, tool

PROMETHEUS = ROOT / "deploy/prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
CASES = [
    case
    for test in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    for case in test["promql_expr_test"]
]


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    (tmp_path / "sidepulse_token").write_text(TOKEN)
    printed = run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert f"{len(RULES)} rules found" in printed


def test_the_rules_do_what_their_cases_say() -> None:
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", PROMETHEUS / "rules_test.yml")


def cases_of(alert: str) -> list[bool]:
    """Whether each case that asks for this alert expects it to fire."""
    named = [(re.search(r'alertname=~?"([^"]+)"', case["expr"]), case["exp_samples"]) for case in CASES]
    return [bool(samples) for match, samples in named if match and alert in match[1].split("|")]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(alert: str) -> None:
    assert set(cases_of(alert)) == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_is_wrong_how_bad_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "action"}
    assert len(rule["annotations"]["action"]) > 40


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_no_rule_depends_on_which_replica_it_was(rule: dict) -> None:
    expression = rule["expr"]
    of_a_replica = re.search(
        r"\b(sidepulse_\w+|up)\{?", expression.replace("job_check:sidepulse", "recorded")
    )
    aggregated = "without (instance, pod" in expression or "absent(" in expression
    assert aggregated or not of_a_replica
