"""Answers that wait for a yes, seen and decided on by a script."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.approvals import deciding
from apps.approvals.models import Approval
from apps.audit.models import AuditEntry
from apps.events.models import Event
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.api.clients import assert_problem, with_token
from tests.fixtures.approvals import ask_for_a_yes, get, make_held, read_event, run_out

APPROVALS = "/api/v1/approvals/"
TERMS = {
    "number": "confidence",
    "below": 0.8,
    "rule": "event.vip && answer.category == 'refund'",
    "timeout_h": 48,
    "on_timeout": "deliver",
}


@pytest.fixture(autouse=True)
def _no_workflows(settings: Any) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"


@pytest.fixture
def client(bob: User) -> APIClient:
    return with_token(bob)


@pytest.fixture
def held(triage: Pipeline, helpdesk: Source) -> Approval:
    ask_for_a_yes(triage, number="confidence", below=0.8)
    return make_held(helpdesk)


def post(client: APIClient, approval: Approval, verb: str, **body: Any) -> Any:
    return client.post(f"{APPROVALS}{approval.public_id}/{verb}/", body, format="json")


def test_what_waits_is_listed_with_the_reason_and_what_comes_at_the_deadline(
    client: APIClient, held: Approval
) -> None:
    row = client.get(APPROVALS, {"state": "waiting", "pipeline": "triage"}).json()["results"][0]
    assert row["id"] == held.public_id
    assert row["event"] == held.event.public_id
    assert row["reason"] == "Its confidence is 0.4, below 0.8."
    assert row["answer"] == {"category": "billing", "confidence": 0.4}
    assert (row["state"], row["on_timeout"], row["decided_by"]) == ("waiting", "dead_letter", "")
    assert client.get(f"{APPROVALS}{held.public_id}/").json() == row


@pytest.mark.parametrize(
    "query", [{"state": "decided"}, {"pipeline": "other"}, {"older_than_h": 1}]
)
def test_the_filter_leaves_out_what_does_not_fit(
    client: APIClient, held: Approval, query: dict[str, Any]
) -> None:
    assert client.get(APPROVALS, query).json()["results"] == []


def test_a_yes_lets_the_event_go_on_in_the_same_run(client: APIClient, held: Approval) -> None:
    answer = post(client, held, "approve", note="fine")
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    assert (answer.json()["decided_by"], answer.json()["note"]) == ("bob", "fine")
    event = read_event(held)
    assert (event.status, event.run, event.error_code) == ("running", 1, "")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.object_id) == ("approval.approve", event.public_id)


def test_an_edited_answer_takes_the_place_of_the_models(client: APIClient, held: Approval) -> None:
    answer = post(client, held, "edit", answer={"category": "refund"})
    assert answer.json()["edited_answer"] == {"category": "refund"}
    assert answer.json()["answer"] == held.answer
    assert read_event(held).answer == {"category": "refund"}


@pytest.mark.parametrize(
    ("wrong", "said"), [({"team": 1}, "does not fit the schema"), ("refund", "does not fit")]
)
def test_an_edited_answer_off_the_schema_is_refused_and_nothing_is_decided(
    client: APIClient, held: Approval, wrong: Any, said: str
) -> None:
    problem = assert_problem(post(client, held, "edit", answer=wrong), 400)
    assert said in problem["errors"]["answer"][0]
    assert read_event(held).status == "held"
    assert Approval.objects.get().is_waiting


def test_without_a_schema_an_answer_is_a_text(
    client: APIClient, triage: Pipeline, helpdesk: Source
) -> None:
    ask_for_a_yes(triage)
    version = triage.current_version
    assert version
    triage.publish(**version.get_values() | {"output_schema": {}})
    held = make_held(helpdesk, "Dear Ada")
    assert_problem(post(client, held, "edit", answer={"a": 1}), 400, "its answer is a text")
    assert post(client, held, "edit", answer="Dear Rosa").status_code == 200
    assert read_event(held).answer == "Dear Rosa"


def test_a_rejected_event_is_discarded_with_the_reason(client: APIClient, held: Approval) -> None:
    assert post(client, held, "reject", note="spam").json()["state"] == "rejected"
    event = read_event(held)
    assert (event.status, event.error) == ("discarded", "Rejected by bob: spam")
    assert event.finished_at


@pytest.mark.parametrize("verb", ["approve", "reject", "edit"])
def test_who_comes_second_is_told_who_was_first(
    client: APIClient, held: Approval, alice: User, verb: str
) -> None:
    deciding.approve(held, alice)
    problem = assert_problem(post(client, held, verb, **get_body(verb)), 409, "by alice")
    assert problem["code"] == "already_decided"
    assert read_event(held).answer == held.answer


@pytest.mark.django_db(transaction=True)
def test_of_eight_who_decide_at_once_one_wins(bob: User, held: Approval) -> None:
    gate = threading.Barrier(8)

    def decide(number: int) -> str | None:
        try:
            mine = get(held)
            gate.wait(10)
            verb = deciding.approve if number % 2 else deciding.reject
            verb(mine, bob)
        except deciding.AlreadyDecided:
            return None
        else:
            return "running" if number % 2 else "discarded"
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        [won] = [each for each in pool.map(decide, range(8)) if each]
    assert read_event(held).status == won
    assert AuditEntry.objects.filter(action__startswith="approval.").count() == 1


@pytest.mark.parametrize("verb", ["approve", "reject", "edit"])
def test_after_the_deadline_nobody_decides(client: APIClient, held: Approval, verb: str) -> None:
    run_out(held)
    assert_problem(post(client, held, verb, **get_body(verb)), 409, "run out")
    assert read_event(held).status == "held"


def get_body(verb: str) -> dict[str, Any]:
    return {"answer": {"category": "x"}} if verb == "edit" else {}


def test_a_viewer_reads_and_does_not_decide(vera: User, held: Approval) -> None:
    client = with_token(vera)
    assert len(client.get(APPROVALS).json()["results"]) == 1
    assert_problem(post(client, held, "approve"), 403, "approvals.decide_approval")


def test_a_token_that_only_reads_does_not_decide(bob: User, held: Approval) -> None:
    client = with_token(bob, "events:read")
    assert_problem(post(client, held, "approve"), 403, "events:write")


@pytest.mark.parametrize("id", ["apr_1", "evt_" + "0" * 32, "apr_" + "0" * 32])
def test_there_is_nothing_under_another_id(client: APIClient, held: Approval, id: str) -> None:
    assert_problem(client.get(f"{APPROVALS}{id}/"), 404)


# --- The other verbs of an event that is held for approval ------------------------------------


def test_it_is_not_retried_because_the_same_answer_would_be_held_again(
    client: APIClient, held: Approval
) -> None:
    path = f"/api/v1/events/{held.event.public_id}"
    assert_problem(client.post(f"{path}/retry/"), 409, "/api/v1/approvals/")
    assert_problem(client.post(f"{path}/fail/"), 409)
    assert read_event(held).status == "held"


def test_to_discard_it_is_to_reject_its_answer(client: APIClient, held: Approval) -> None:
    answer = client.post(f"/api/v1/events/{held.event.public_id}/discard/")
    assert answer.json()["status"] == "discarded"
    assert Approval.objects.get().decision == "rejected"


@pytest.mark.parametrize("verb", ["retry", "discard"])
def test_many_held_events_are_moved_without_it(
    client: APIClient, held: Approval, verb: str
) -> None:
    path = f"/api/v1/dead-letters/{verb}/"
    answer = client.post(path, {"status": "held"}, format="json").json()
    assert answer == {"done": 0, "skipped": 0, "remaining": 0}
    assert Event.objects.get().status == "held"
    found = client.get("/api/v1/dead-letters/", {"status": "held", "error_code": "approval"})
    assert len(found.json()["results"]) == 1


# --- The pipeline ------------------------------------------------------------------------------


def test_a_pipeline_says_which_answers_wait(alice: User, triage: Pipeline) -> None:
    path = "/api/v1/pipelines/triage/"
    answer = with_token(alice).patch(path, {"approval": TERMS}, format="json")
    assert answer.json()["approval"] == TERMS
    assert [each.approval for each in triage.versions.all()] == [TERMS, {}]


def test_what_is_left_out_is_a_day_and_a_dead_letter(alice: User, triage: Pipeline) -> None:
    terms = {"rule": "answer.category == 'x'"}
    answer = with_token(alice).patch(
        "/api/v1/pipelines/triage/", {"approval": terms}, format="json"
    )
    assert answer.json()["approval"] == terms | {"timeout_h": 24, "on_timeout": "dead_letter"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rule": "answer ["}, "not JMESPath"),
        ({"number": "confidence"}, "below which number"),
        ({"below": 0.5}, "which number of the answer"),
        ({"number": "a", "below": "high"}, "must be a number"),
        ({"number": "a", "below": 10**400}, "below must be from"),
        ({"every": True, "timeout_h": 0}, "whole number of hours"),
        ({"every": True, "on_timeout": "approve"}, "must be one of"),
        ({"every": 1}, "true or false"),
        ({"often": True}, "Unknown: often"),
        ([], "JSON object"),
    ],
)
def test_what_is_wrong_in_a_pipeline_is_told(
    alice: User, triage: Pipeline, wrong: Any, said: str
) -> None:
    answer = with_token(alice).patch(
        "/api/v1/pipelines/triage/", {"approval": wrong}, format="json"
    )
    assert_problem(answer, 400)
    assert said in answer.json()["errors"]["approval"][0]
    assert triage.versions.count() == 1
