"""Settings that stop the start."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


def get_ids() -> set[str | None]:
    return {message.id for message in run_checks()}


def test_the_tests_own_settings_are_sound() -> None:
    assert not get_ids() & {"pipeline_admin.E001", "pipeline_admin.E002", "pipeline_admin.E003"}


def test_a_missing_secret_key_is_named(settings: Settings) -> None:
    settings.SECRET_KEY = ""
    assert "pipeline_admin.E001" in get_ids()


@pytest.mark.parametrize("keys", [[], ["not-a-key"]])
def test_missing_or_broken_vault_keys_are_named(settings: Settings, keys: list[str]) -> None:
    settings.VAULT_KEYS = keys
    assert "pipeline_admin.E002" in get_ids()


def test_the_same_queue_server_twice_is_refused(settings: Settings) -> None:
    settings.QUEUE_URLS = ["redis://one/0", "redis://:password@one:6379"]
    assert "pipeline_admin.E003" in get_ids()


def test_a_server_that_takes_events_is_not_drained_at_once(settings: Settings) -> None:
    settings.QUEUE_URLS, settings.QUEUE_DRAIN_URLS = ["redis://one/0"], ["redis://one/0"]
    assert "pipeline_admin.E003" in get_ids()


def test_debug_pages_on_a_public_address_are_warned_of(settings: Settings) -> None:
    settings.DEBUG, settings.HTTPS = True, True
    assert "pipeline_admin.W001" in get_ids()


@pytest.mark.parametrize("proxies", ["proxy.example.com", "127.0.0.1, 10.0.0.0/33", "unix:"])
def test_a_proxy_that_is_no_address_stops_the_start(settings: Settings, proxies: str) -> None:
    assert "pipeline_admin.E005" not in get_ids()
    settings.FORWARDED_ALLOW_IPS = proxies
    assert "pipeline_admin.E005" in get_ids()


def test_believing_every_proxy_is_warned_of(settings: Settings) -> None:
    assert "pipeline_admin.W002" not in get_ids()
    settings.FORWARDED_ALLOW_IPS = "*"
    assert "pipeline_admin.W002" in get_ids()


def test_an_allowed_network_that_is_none_stops_the_start(settings: Settings) -> None:
    settings.EGRESS_ALLOW = ["10.0.0.0/8", "my-server"]
    assert "pipeline_admin.E004" in get_ids()
