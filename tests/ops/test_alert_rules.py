"""The alert rules are valid, tested, explained, and watch metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from pipeline_admin.env import BASE_DIR
from tests.ops.known_metrics import KNOWN, get_metrics

FOLDER = BASE_DIR / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))[
    "groups"
][0]["rules"]
UNIT_TESTS: list[dict[str, Any]] = yaml.safe_load(
    (FOLDER / "alerts_test.yml").read_text(encoding="utf-8")
)["tests"]
every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def promtool(*arguments: str) -> None:
    """Run promtool, or skip where it isn't installed; its words are the failure's text."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    run = subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.promtool
def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", "alerts.yml")


@pytest.mark.promtool
def test_promtool_accepts_the_configuration() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")


@pytest.mark.promtool
def test_every_alert_fires_and_keeps_silent_when_it_should() -> None:
    promtool("test", "rules", "alerts_test.yml")


@every_rule
def test_an_alert_has_a_test_of_firing_and_one_of_silence(rule: dict[str, Any]) -> None:
    samples = [
        bool(expected["exp_samples"])
        for test in UNIT_TESTS
        for expected in test.get("promql_expr_test", [])
        if f'"{rule["alert"]}"' in expected["expr"]
    ]
    assert set(samples) == {True, False}


@every_rule
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert len(rule["annotations"]["description"]) > 100


@every_rule
def test_an_alert_leads_to_a_chapter_of_the_runbook(rule: dict[str, Any]) -> None:
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (BASE_DIR / path).read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}
    assert anchor in anchors


@every_rule
def test_an_alert_watches_metrics_that_exist(rule: dict[str, Any]) -> None:
    metrics = get_metrics(rule["expr"])
    assert metrics
    assert metrics <= KNOWN
