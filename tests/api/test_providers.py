"""Providers and models made and changed by scripts, and named by pipelines."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.llm.models import Provider, ProviderModel
from apps.pipelines.models import Pipeline
from tests.api.clients import assert_problem, with_token
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.test_providers import KEY, make_provider

pytestmark = pytest.mark.django_db
URL = "/api/v1/providers/"
MODELS = "/api/v1/models/"
TRIAGE = "/api/v1/pipelines/triage/"


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


def test_a_script_adds_a_provider_and_never_reads_its_key(
    client: APIClient, second_llm: FakeLLM
) -> None:
    body = {"slug": "b", "name": "B", "base_url": second_llm.base_url, "api_key": KEY}
    answer = client.post(URL, body, format="json")
    assert answer.status_code == 201, answer.content
    assert answer.json()["has_key"] is True
    assert KEY not in answer.content.decode() + client.get(URL).content.decode()
    assert client.post(f"{URL}b/test/").json() == {"models": ["fake"]}


def test_a_provider_is_tested_before_it_is_saved(client: APIClient, second_llm: FakeLLM) -> None:
    second_llm.wants_key = "another"
    body: dict[str, Any] = {"slug": "b", "name": "B", "base_url": second_llm.base_url}
    answer = client.post(URL, body | {"api_key": KEY}, format="json")
    assert_problem(answer, 400)
    assert "does not take this key" in answer.content.decode()
    assert client.post(URL, body | {"skip_test": True}, format="json").status_code == 201
    assert_problem(client.post(f"{URL}b/test/"), 409, "401")


def test_a_script_is_told_that_a_key_travels_unencrypted(
    client: APIClient, second_llm: FakeLLM
) -> None:
    body = {"slug": "b", "name": "B", "api_key": KEY, "skip_test": True}
    url = {"base_url": "http://models.example.com/v1"}
    answer = client.post(URL, body | url, format="json")
    assert answer.status_code == 201
    (warning,) = answer.json()["warnings"]
    assert "unencrypted" in warning
    assert client.get(f"{URL}b/").json()["warnings"] == [warning]
    for harmless in (
        url | {"api_key": ""},
        {"base_url": "https://models.example.com/v1", "api_key": KEY},
        {"base_url": second_llm.base_url, "api_key": KEY},  # it does not leave this machine
    ):
        answer = client.patch(f"{URL}b/", harmless | {"skip_test": True}, format="json")
        assert (answer.status_code, answer.json()["warnings"]) == (200, [])


def test_a_script_can_not_move_a_key(
    client: APIClient, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    make_provider(second_llm.base_url)
    body: dict[str, Any] = {"base_url": fake_llm.base_url, "skip_test": True}
    assert_problem(client.patch(f"{URL}backup/", body, format="json"), 400)
    assert Provider.objects.get().base_url == second_llm.base_url
    answer = client.patch(f"{URL}backup/", body | {"api_key": "sk-new"}, format="json")
    assert answer.status_code == 200
    assert Provider.objects.get().get_key() == "sk-new"
    assert client.patch(f"{URL}backup/", {"name": "New"}, format="json").status_code == 200
    assert Provider.objects.get().get_key() == "sk-new"
    assert fake_llm.keys == set()


def test_prices_of_a_model_are_both_or_none(client: APIClient, second_llm: FakeLLM) -> None:
    make_provider(second_llm.base_url)
    body = {"provider": "backup", "name": "m", "input_price": "1"}
    assert_problem(client.post(MODELS, body, format="json"), 400)
    answer = client.post(MODELS, body | {"output_price": "2"}, format="json")
    assert answer.status_code == 201, answer.content
    assert answer.json()["prices"] == {"input": "1.000000", "output": "2.000000"}
    assert_problem(client.post(MODELS, body | {"output_price": "2"}, format="json"), 400)
    pk = answer.json()["id"]
    changed = client.patch(f"{MODELS}{pk}/", {"context_tokens": 10}, format="json")
    assert (changed.status_code, changed.json()["context_tokens"]) == (200, 10)
    assert_problem(client.patch(f"{MODELS}{pk}/", {"name": "n"}, format="json"), 400)


def test_a_pipeline_names_models_that_are_listed(
    client: APIClient, second_llm: FakeLLM, triage: Pipeline
) -> None:
    row = make_provider(second_llm.base_url)
    ProviderModel.objects.create(provider=row, name="org/m")
    fallbacks = [{"provider": "backup", "model": "org/m"}]
    answer = client.patch(TRIAGE, {"fallbacks": fallbacks}, format="json")
    assert (answer.status_code, answer.json()["fallbacks"]) == (200, fallbacks)
    answer = client.patch(TRIAGE, {"prompt": "{{ text }}"}, format="json")
    assert answer.json()["fallbacks"] == fallbacks
    assert_problem(client.delete(f"{URL}backup/"), 409, "Triage")
    model = ProviderModel.objects.get()
    assert_problem(client.delete(f"{MODELS}{model.pk}/"), 409, "Triage")


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "nobody"},
        {"provider": "backup"},  # which has no such model
        {"fallbacks": [{"provider": "backup", "model": "other"}]},
        {"fallbacks": [{"provider": "", "model": "test-model"}]},  # the first one itself
        {"fallbacks": [{"provider": "backup", "model": "m"}] * 2},
        {"fallbacks": [{"provider": "backup", "model": "m", "key": "x"}]},
        {"fallbacks": {"provider": "backup"}},
        {"fallbacks": [1]},
        {"fallbacks": [{"model": 3}]},
    ],
)
def test_what_can_not_be_asked_is_refused(
    client: APIClient, second_llm: FakeLLM, triage: Pipeline, change: dict[str, Any]
) -> None:
    row = make_provider(second_llm.base_url)
    ProviderModel.objects.create(provider=row, name="m")
    assert_problem(client.patch(TRIAGE, change, format="json"), 400)
    draft = client.patch(f"{TRIAGE}draft/", change | {"token": "v1"}, format="json")
    assert_problem(draft, 400)
