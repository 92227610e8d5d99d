"""/readyz tells of each provider that pipelines ask, without asking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.events.models import Event
from apps.llm.models import Provider, ProviderModel
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.streams.clients import get_client
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask
from tests.llm.test_providers import KEY, make_provider

pytestmark = pytest.mark.django_db(transaction=True)
SECOND = {"provider": "backup", "model": "second"}


@pytest.fixture(autouse=True)
def _own_queue(settings: Any, valkey_url: str) -> None:
    settings.QUEUE_URLS = [valkey_url]
    settings.LLM_BREAKER_FAILURES = 1
    get_client(valkey_url).flushall()


@pytest.fixture
def chain(triage: Pipeline, fake_llm: FakeLLM, second_llm: FakeLLM) -> Provider:
    """The pipeline asks the provider of the settings, then `backup`; nobody asks `unused`."""
    row = make_provider(second_llm.base_url)
    make_provider("https://api.example.com/v1", slug="unused")
    ProviderModel.objects.create(provider=row, name="second", input_price=0, output_price=0)
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"fallbacks": [SECOND]})
    return row


def get_part(client: Client) -> Any:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert KEY not in answer.content.decode()
    return answer.json()["parts"]["llm"]


def get_providers(client: Client) -> dict[str, Any]:
    return {each["name"]: each for each in get_part(client)["providers"]}


def test_each_provider_in_use_is_named_with_its_last_outcome(
    client: Client,
    chain: Provider,
    fake_llm: FakeLLM,
    second_llm: FakeLLM,
    make_case: Callable[[str], Event],
    ask: Ask,
) -> None:
    found = get_providers(client)
    assert list(found) == ["settings", "backup"]
    assert [each["last_code"] for each in found.values()] == [None, None]
    fake_llm.plan("e1", "500")
    ask(make_case("e1"))
    connections = second_llm.connections
    found = get_providers(client)
    assert (found["settings"]["ok"], found["settings"]["last_code"]) == (
        False,
        "llm_provider_failed",
    )
    assert "left alone" in found["settings"]["why"]
    assert (found["backup"]["ok"], found["backup"]["last_code"]) == (True, "")
    assert found["backup"]["last_at"]
    assert second_llm.connections == connections  # nothing was sent to it


def test_one_that_can_not_be_asked_is_a_fault(client: Client, chain: Provider) -> None:
    assert get_part(client)["ok"]
    Provider.objects.filter(pk=chain.pk).update(base_url="https://elsewhere.example.com/v1")
    part = get_part(client)
    assert not part["ok"]
    assert "Provider backup: Its key was given for another host" in part["why"]
    chain.delete()
    assert "it is gone" in get_part(client)["why"]


def test_that_of_the_settings_does_not_matter_where_nobody_asks_it(
    client: Client, chain: Provider, triage: Pipeline, settings: Any
) -> None:
    settings.OPENAI_BASE_URL = settings.OPENAI_API_KEY = ""
    assert "No LLM is configured" in get_part(client)["why"]
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | SECOND | {"fallbacks": []})
    part = get_part(client)
    assert (part["ok"], [each["name"] for each in part["providers"]]) == (True, ["backup"])


def test_a_queue_that_is_down_hides_only_outcomes(
    client: Client, chain: Provider, settings: Any, helpdesk: Source
) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    part = client.get("/readyz").json()["parts"]["llm"]
    assert [each["ok"] for each in part["providers"]] == [True, True]
