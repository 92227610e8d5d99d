"""Ingest counts everything and tells the log why, but never what."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY

from tests.fixtures.cast import WEBHOOK_SECRET
from tests.ingest.conftest import Hooks

pytestmark = pytest.mark.django_db(transaction=True)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"pipeline_ingest_{name}_total", labels) or 0.0


def test_it_counts_accepted_and_duplicate_events(hooks: Hooks) -> None:
    accepted = count("accepted", source="helpdesk")
    duplicates = count("duplicates", source="helpdesk")
    hooks.post()
    hooks.post()
    assert count("accepted", source="helpdesk") == accepted + 1
    assert count("duplicates", source="helpdesk") == duplicates + 1


def test_it_counts_rejected_requests_by_reason(hooks: Hooks) -> None:
    before = count("rejected", source="helpdesk", reason="stale_timestamp")
    hooks.post(age_s=400)
    assert count("rejected", source="helpdesk", reason="stale_timestamp") == before + 1


def test_strangers_paths_make_no_labels(hooks: Hooks) -> None:
    before = count("rejected", source="unknown", reason="unknown_source")
    hooks.post(path="/hooks/wp-login")
    assert count("rejected", source="wp-login", reason="unknown_source") == 0
    assert count("rejected", source="unknown", reason="unknown_source") == before + 1


def test_a_refusal_is_logged_once_a_minute_without_payload_or_secret(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for number in range(5):
            response = hooks.post(b'{"card": "4111111111111111"', f"msg_{number}")
    assert caplog.text.count("not_json") == 1
    for text in (caplog.text, response.text):
        assert "4111" not in text
        assert WEBHOOK_SECRET.removeprefix("whsec_") not in text
