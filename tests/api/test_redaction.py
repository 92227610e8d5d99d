"""What a pipeline masks, set by a script."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.pipelines.models import Pipeline
from tests.api.clients import assert_problem, with_token

REDACTION = {
    "kinds": ["email", "card"],
    "countries": ["DE"],
    "paths": ["customer.name"],
    "patterns": [{"name": "ORDER", "pattern": r"ORD-\d{6}"}],
    "reversible": True,
}


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


def test_it_is_set_and_read_and_a_version_of_its_own(client: APIClient, triage: Pipeline) -> None:
    path = f"/api/v1/pipelines/{triage.slug}/"
    answer = client.patch(path, {"redaction": REDACTION}, format="json")
    assert answer.status_code == 200
    assert answer.json()["redaction"] == REDACTION
    versions = client.get(f"{path}versions/").json()["results"]
    assert [each["redaction"] for each in versions] == [REDACTION, {}]


def test_what_is_empty_is_left_out(client: APIClient, triage: Pipeline) -> None:
    path = f"/api/v1/pipelines/{triage.slug}/"
    empty = {"kinds": [], "paths": [], "reversible": False}
    assert client.patch(path, {"redaction": empty}, format="json").json()["redaction"] == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kinds": ["names"]}, "kinds may hold only"),
        ({"patterns": [{"name": "A", "pattern": "(a"}]}, "linear time"),
        ({"paths": ["length(a)"]}, "not a path"),
        ({"everything": True}, "Unknown: everything"),
        ([], "JSON object"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    client: APIClient, triage: Pipeline, wrong: Any, said: str
) -> None:
    answer = client.patch(f"/api/v1/pipelines/{triage.slug}/", {"redaction": wrong}, format="json")
    assert_problem(answer, 400)
    assert said in answer.json()["errors"]["redaction"][0]
    assert triage.versions.count() == 1
