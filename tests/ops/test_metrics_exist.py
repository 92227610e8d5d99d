"""The metrics that dashboard and alerts name are those that the processes show."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from apps.dashboard.models import StatusSample
from apps.llm.models import Budget
from apps.streams.spool.folders import Folder
from apps.streams.spool.status import write_status
from tests.ops.known_metrics import KNOWN

MODULES = (
    "apps.events.recording",
    "apps.housekeeping.metrics",
    "apps.ingest.metrics",
    "apps.llm.metrics",
    "workers.dispatcher",
)
SUFFIXES = {"counter": "_total", "histogram": "_bucket", "gauge": ""}


@pytest.fixture
def _sample(db: None) -> None:
    """A sample in which every figure is known."""
    StatusSample.objects.create(
        **dict.fromkeys(("queue_length", "consumer_lag", "dead_letters", "held"), 1),
        **dict.fromkeys(("llm_latency_s", "llm_latency_p95_s", "error_rate"), 0.1),
        workflow_success_rate=0.9,
        parts={"database": {"ok": True, "why": ""}},
        breakers=[{"provider": "api.example.com", "model": "m"}],
        shards=[{"shard": "0", "length": 1, "lag": 1, "buried": 0, "durable": True}],
    )


@pytest.fixture
def _spool(spool_dir: Path) -> None:
    write_status(Folder.create(spool_dir).path, 1, "")


@pytest.fixture
def _budget(db: None) -> None:
    Budget.objects.create(limit_usd=1)


@pytest.mark.usefixtures("_sample", "_spool", "_budget")
def test_every_metric_that_is_drawn_or_watched_is_shown_by_a_process() -> None:
    for module in MODULES:
        import_module(module)  # registers its metrics
    shown = {family.name + SUFFIXES.get(family.type, "") for family in REGISTRY.collect()}
    assert {name for name in KNOWN if name.startswith("pipeline_")} <= shown
