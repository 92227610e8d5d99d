"""Ready pipelines by script."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.pipelines.ready import SLUGS
from tests.api.clients import assert_problem, with_token

PATH = "/api/v1/pipelines/ready/"
ROUTING = {"slug": "routing", "name": "Routing", "destination": "inbox"}


@pytest.fixture
def client(alice: User, inbox: Destination) -> APIClient:
    return with_token(alice)


def test_all_are_listed_with_samples_and_labels(client: APIClient) -> None:
    found = client.get(PATH).json()
    assert [each["slug"] for each in found] == list(SLUGS)
    assert found[0]["samples"][0]["subject"] == "Charged twice"
    assert found[0]["labelled"][0]["expected"] == {"team": "billing"}
    assert "{{ text }}" in found[0]["config"]["prompt"]


def test_one_is_started(client: APIClient) -> None:
    answer = client.post(f"{PATH}ticket-routing/", ROUTING, format="json")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["slug"], made["name"]) == ("routing", "Routing")
    assert (made["version"]["number"], made["version"]["created_by"]) == (1, "alice")
    shown = client.get("/api/v1/pipelines/routing/").json()
    assert "Route this support ticket" in shown["prompt"]
    assert AuditEntry.objects.get(action="pipeline.create").details["ready"] == "ticket-routing"


def test_what_cannot_be_started_is_refused(client: APIClient, triage: Pipeline) -> None:
    for wrong, field in (
        ({"slug": "triage"}, "slug"),
        ({"slug": "ready"}, "slug"),
        ({"destination": "nowhere"}, "destination"),
        ({"surprise": 1}, "surprise"),
    ):
        answer = client.post(f"{PATH}ticket-routing/", ROUTING | wrong, format="json")
        assert field in assert_problem(answer, 400)["errors"]
    assert_problem(client.post(f"{PATH}fortune-telling/", ROUTING, format="json"), 404)
    assert Pipeline.objects.count() == 1


def test_no_pipeline_takes_the_address_of_the_ready_ones(client: APIClient) -> None:
    pipeline = {"slug": "ready", "name": "R", "prompt": "{{ text }}", "destination": "inbox"}
    answer = client.post("/api/v1/pipelines/", pipeline, format="json")
    assert "slug" in assert_problem(answer, 400)["errors"]
