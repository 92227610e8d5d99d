"""A pipeline's draft by script: changed under its token, published, rolled back, compared."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.pipelines.models import Pipeline, PipelineDraft
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM

PATH = "/api/v1/pipelines/triage/"


@pytest.fixture
def client(alice: User, triage: Pipeline) -> APIClient:
    return with_token(alice)


def change(client: APIClient, token: str = "v1", **fields: Any) -> Any:
    return client.patch(f"{PATH}draft/", {"token": token, **fields}, format="json")


def test_a_draft_is_begun_with_the_current_version(client: APIClient) -> None:
    draft = client.get(f"{PATH}draft/").json()
    assert (draft["token"], draft["based_on"], draft["edited_by"]) == ("v1", 1, None)
    assert (draft["prompt"], draft["destination"]) == ("Classify: {{ text }}", "inbox")
    assert not PipelineDraft.objects.exists()


def test_a_change_keeps_the_rest_and_publishes_nothing(client: APIClient) -> None:
    first = change(client, prompt="Sort: {{ text }}").json()
    second = change(client, first["token"], max_output_tokens=7).json()
    assert (second["prompt"], second["max_output_tokens"]) == ("Sort: {{ text }}", 7)
    assert second["edited_by"] == "alice"
    assert client.get(PATH).json()["version"] == 1
    assert AuditEntry.objects.filter(action="draft.save").count() == 2


def test_an_old_token_changes_nothing(client: APIClient) -> None:
    change(client, prompt="Sort: {{ text }}")
    problem = assert_problem(change(client, prompt="Other: {{ text }}"), 409, "changed the draft")
    assert problem["code"] == "draft_conflict"
    assert client.get(f"{PATH}draft/").json()["prompt"] == "Sort: {{ text }}"


def test_what_cannot_be_used_is_refused(client: APIClient) -> None:
    without = client.patch(f"{PATH}draft/", {"prompt": "x"}, format="json")
    assert "token" in assert_problem(without, 400)["errors"]
    assert (
        "output_schema" in assert_problem(change(client, output_schema={"type": 1}), 400)["errors"]
    )
    assert "surprise" in assert_problem(change(client, surprise=1), 400)["errors"]


def test_a_draft_is_published_under_its_token_with_a_note(client: APIClient) -> None:
    token = change(client, prompt="Sort: {{ text }}").json()["token"]
    asked = {"token": token, "replaces": 1, "note": "Shorter"}
    answer = client.post(f"{PATH}publish/", asked, format="json")
    assert answer.status_code == 201
    version = answer.json()
    assert (version["number"], version["note"], version["created_by"]) == (2, "Shorter", "alice")
    assert client.get(PATH).json()["prompt"] == "Sort: {{ text }}"
    assert_problem(client.post(f"{PATH}publish/", asked, format="json"), 409)
    assert client.get(f"{PATH}versions/").json()["results"][0]["note"] == "Shorter"


def test_what_others_published_meanwhile_is_not_replaced_unseen(client: APIClient) -> None:
    token = change(client, prompt="Sort: {{ text }}").json()["token"]
    client.patch(PATH, {"prompt": "At once: {{ text }}"}, format="json")
    for asked in ({"token": token}, {"token": token, "replaces": 1}):
        answer = client.post(f"{PATH}publish/", asked, format="json")
        assert_problem(answer, 409, "Version 2 was published meanwhile")
    asked = {"token": token, "replaces": 2}
    assert client.post(f"{PATH}publish/", asked, format="json").json()["number"] == 3


def test_a_roll_back_is_a_new_version(client: APIClient) -> None:
    client.patch(PATH, {"prompt": "Worse: {{ text }}"}, format="json")
    answer = client.post(f"{PATH}rollback/", {"version": 1, "note": "Wrong"}, format="json")
    assert answer.status_code == 201
    assert (answer.json()["number"], answer.json()["prompt"]) == (3, "Classify: {{ text }}")
    assert answer.json()["note"] == "Rolled back to v1: Wrong"
    assert (
        AuditEntry.objects.filter(action="pipeline.rollback").get().details["rolled_back_to"] == 1
    )
    asked = {"version": 1, "replaces": 2}
    assert_problem(client.post(f"{PATH}rollback/", asked, format="json"), 409)
    assert_problem(client.post(f"{PATH}rollback/", {"version": 9}, format="json"), 404)


def test_two_versions_or_the_draft_are_compared_line_by_line(client: APIClient) -> None:
    change(client, prompt="Classify: {{ text }}\nIn one word.", max_output_tokens=7)
    found = client.get(f"{PATH}diff/", {"from": "1", "to": "draft"}).json()
    assert [each["field"] for each in found] == ["prompt", "max_output_tokens"]
    assert {"kind": "added", "text": "+In one word."} in found[0]["lines"]
    assert client.get(f"{PATH}diff/", {"from": 1, "to": 1}).json() == []
    assert_problem(client.get(f"{PATH}diff/", {"from": 1, "to": 9}), 404, "no version 9")
    assert "from" in assert_problem(client.get(f"{PATH}diff/", {"to": 1}), 400)["errors"]


def test_a_draft_is_discarded_under_its_token(client: APIClient) -> None:
    token = change(client, prompt="Sort: {{ text }}").json()["token"]
    assert_problem(client.delete(f"{PATH}draft/?token=old"), 409)
    assert client.delete(f"{PATH}draft/?token={token}").status_code == 204
    assert client.get(f"{PATH}draft/").json()["token"] == "v1"


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_asks_once_and_delivers_nothing(
    client: APIClient, helpdesk: Source, fake_llm: FakeLLM
) -> None:
    raw = b'{"text": "hello [[d1: ok]]"}'
    event = make_event(helpdesk, raw, status="delivered", answer={"category": "old"})
    asked = {"token": "v1", "event": event.public_id}
    first = client.post(f"{PATH}dry-run/", asked, format="json").json()
    assert (first["answer"], first["current_answer"]) == ({"category": "x"}, {"category": "old"})
    assert client.post(f"{PATH}dry-run/", asked, format="json").json()["reused"]
    assert fake_llm.calls["d1"] == 1
    assert_problem(client.post(f"{PATH}dry-run/", asked | {"token": "old"}, format="json"), 409)
    assert_problem(client.post(f"{PATH}dry-run/", asked | {"event": "evt_1"}, format="json"), 404)
    event.refresh_from_db()
    assert event.answer == {"category": "old"}


def test_a_viewer_reads_and_a_reading_token_changes_nothing(
    alice: User, vera: User, triage: Pipeline
) -> None:
    assert with_token(vera).get(f"{PATH}draft/").status_code == 200
    for client in (with_token(vera), with_token(alice, "config:read")):
        assert_problem(change(client, prompt="x"), 403)
        for verb in ("publish", "rollback"):
            assert_problem(client.post(f"{PATH}{verb}/", {}, format="json"), 403)
