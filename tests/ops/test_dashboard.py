"""The Grafana dashboard is complete, readable, and draws metrics that exist."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from pipeline_admin.env import BASE_DIR
from tests.ops.compose import SERVICES
from tests.ops.known_metrics import KNOWN, SIX_FIGURES, get_metrics

GRAFANA = BASE_DIR / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "pipeline-admin.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
every_panel = pytest.mark.parametrize("panel", DRAWN, ids=[panel["title"] for panel in DRAWN])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places of the grid share a cell."""
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or apart)


def test_it_begins_with_the_six_figures() -> None:
    first, *figures = PANELS[:7]
    assert first["title"] == "The six figures"
    names = [next(iter(get_metrics(panel["targets"][0]["expr"]))) for panel in figures]
    assert names == SIX_FIGURES


@every_panel
def test_a_panel_draws_metrics_that_exist(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        metrics = get_metrics(target["expr"])
        assert metrics
        assert metrics <= KNOWN


@every_panel
def test_a_panel_has_a_unit_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len(panel["description"]) > 10


@every_panel
def test_a_panel_reads_the_provisioned_data_source(panel: dict[str, Any]) -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert panel["datasource"]["uid"] == sources["datasources"][0]["uid"]


def test_panels_have_ids_of_their_own_and_share_no_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_grafana_finds_it_where_compose_mounts_it() -> None:
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/dashboards.yml").read_text())
    folder = providers["providers"][0]["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]
