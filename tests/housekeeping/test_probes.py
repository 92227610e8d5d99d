"""What probes and scrapers read."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.dashboard.models import StatusSample
from apps.housekeeping import metrics
from tests.fixtures.servers import Server

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _queue(settings: Settings, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]


def test_healthz_answers_without_any_part(client: Client, settings: Settings) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    assert client.get("/healthz").content == b"ok\n"


def test_readyz_names_each_part_and_why(client: Client, settings: Settings) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"
    answer = client.get("/readyz")
    parts = answer.json()["parts"]
    assert answer.status_code == 200  # events are taken in and shown; they wait for Temporal
    assert parts["queue"] == {"ok": True, "why": ""}
    assert "127.0.0.1:9" in parts["temporal"]["why"]
    assert "is one running?" in parts["worker"]["why"]


def test_readyz_fails_where_events_cannot_be_kept(client: Client, settings: Settings) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["queue"]["why"]


def test_readyz_names_shards_that_are_frozen_or_dead_within_two_seconds_and_stays_ready(
    client: Client, settings: Settings, valkey_url: str, own_valkey: Callable[[], Server]
) -> None:
    frozen = own_valkey()
    settings.QUEUE_URLS = [
        f"{frozen.address}#one",
        "unix:///nowhere.sock#two",
        f"{valkey_url}#three",
    ]
    frozen.process.popen.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    answer = client.get("/readyz")
    assert time.monotonic() - began_s < 2
    queue = answer.json()["parts"]["queue"]
    assert queue["ok"] is False
    assert "Shard one: The queue server does not answer" in queue["why"]
    assert "Shard two: The queue server does not answer" in queue["why"]
    assert "three" not in queue["why"]
    # A probe that took this process away would take the third shard's events away too.
    assert answer.status_code == 200


def test_a_shard_that_is_drained_makes_nobody_ready(
    client: Client, settings: Settings, valkey_url: str
) -> None:
    settings.QUEUE_URLS, settings.QUEUE_DRAIN_URLS = ["unix:///nowhere.sock"], [valkey_url]
    assert client.get("/readyz").status_code == 503


def test_metrics_show_the_six_figures_of_the_newest_sample(client: Client) -> None:
    StatusSample.objects.create(
        queue_length=7, consumer_lag=None, llm_latency_s=1.5, error_rate=0.25, dead_letters=3,
        workflow_success_rate=0.75, held=1, parts={"worker": {"ok": False, "why": "gone"}},
        shards=[{"shard": "0", "length": 7, "lag": None, "durable": True}],
    )  # fmt: skip
    text = client.get("/metrics").content.decode()
    assert 'pipeline_queue_length{shard="0"} 7.0' in text
    assert 'pipeline_consumer_lag{shard="0"}' not in text  # unknown is absent
    assert 'pipeline_llm_latency_seconds{quantile="0.5"} 1.5' in text
    assert "pipeline_error_rate 0.25" in text
    assert "pipeline_dead_letters 3.0" in text
    assert "pipeline_workflow_success_rate 0.75" in text
    assert 'pipeline_part_up{part="worker"} 0.0' in text
    assert 'pipeline_queue_durable{shard="0"} 1.0' in text


def test_an_old_sample_is_no_figure(client: Client) -> None:
    sample = StatusSample.objects.create(dead_letters=3)
    StatusSample.objects.filter(pk=sample.pk).update(at=timezone.now() - metrics.STALE_AFTER)
    assert "pipeline_dead_letters 3" not in client.get("/metrics").content.decode()


def test_metrics_ask_for_the_token_where_one_is_set(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "scrape-me"
    assert client.get("/metrics").status_code == 401
    given = client.get("/metrics", headers={"authorization": "Bearer scrape-me"})
    assert given.status_code == 200


def test_several_web_processes_show_the_figures_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    StatusSample.objects.create(dead_letters=3)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert "pipeline_dead_letters 3.0" in client.get("/metrics").content.decode()
