"""People decide on answers: a list, oldest first, and one answer beside its event."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.approvals import deciding
from apps.approvals.models import Approval
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.approvals import ask_for_a_yes, get, make_held, read_event, run_out
from tests.pages.conftest import Browse, text_of

EVIL = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _no_workflows(settings: Any) -> None:
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"


@pytest.fixture
def held(triage: Pipeline, helpdesk: Source) -> Approval:
    ask_for_a_yes(triage, number="confidence", below=0.8)
    return make_held(helpdesk)


@pytest.fixture
def client(sign_in: Browse, bob: User) -> Client:
    return sign_in(bob)


def test_an_empty_list_says_where_to_begin(client: Client) -> None:
    assert "No pipeline holds answers yet" in text_of(client.get("/approvals/"))


def test_what_waits_is_listed_oldest_first_and_counted_in_the_navigation(
    client: Client, held: Approval, helpdesk: Source
) -> None:
    older = make_held(helpdesk, {"category": "old"}, held_h_ago=3)
    html = text_of(client.get("/approvals/"))
    assert html.index(older.public_id) < html.index(held.public_id)
    assert "Its confidence is 0.4, below 0.8." in html
    assert '<span class="pa-nav-badge' in html
    only = text_of(client.get("/approvals/?older_than_h=1"))
    assert older.public_id in only
    assert held.public_id not in only


def test_an_answer_is_shown_as_text_beside_the_events_data(
    client: Client, held: Approval, helpdesk: Source
) -> None:
    evil = make_held(helpdesk, {"category": EVIL}, raw=f'{{"text": "{EVIL}"}}'.encode())
    for path in ("/approvals/", f"/approvals/{evil.public_id}/"):
        html = text_of(client.get(path))
        assert EVIL not in html
        assert "&lt;script&gt;" in html
    assert "it becomes a dead letter, and nothing is delivered" in html


def approve(client: Client, approval: Approval, answer: str, **fields: str) -> Any:
    path = f"/approvals/{approval.public_id}/approve/"
    return client.post(path, {"answer": answer, **fields}, follow=True)


def test_a_yes_goes_on_to_the_next_answer(client: Client, held: Approval, helpdesk: Source) -> None:
    other = make_held(helpdesk)
    answer = approve(client, held, '{"confidence": 0.4,\r\n "category": "billing"}', note="ok")
    assert answer.redirect_chain[-1][0] == f"/approvals/{other.public_id}/"
    assert "goes on with the answer as it was" in text_of(answer)
    assert (get(held).decision, get(held).note) == ("approved", "ok")
    last = approve(client, other, '{"category": "refund"}')
    assert "That was the last one" in text_of(last)
    assert get(other).edited_answer == read_event(other).answer == {"category": "refund"}


def test_an_edit_off_the_schema_is_told_and_nothing_typed_is_lost(
    client: Client, held: Approval
) -> None:
    answer = approve(client, held, '{"team": "x"}', note="why")
    assert answer.status_code == 400
    html = answer.content.decode()
    assert "does not fit the schema" in html
    assert "{&quot;team&quot;: &quot;x&quot;}" in html
    assert 'value="why"' in html
    assert get(held).is_waiting


def test_a_rejected_answer_is_gone(client: Client, held: Approval) -> None:
    path = f"/approvals/{held.public_id}/reject/"
    text_of(client.post(path, {"note": "spam"}, follow=True))
    assert read_event(held).status == "discarded"


def test_who_comes_second_is_told_who_was_first(
    client: Client, held: Approval, alice: User
) -> None:
    deciding.reject(held, alice)
    html = text_of(approve(client, held, '{"category": "x"}'))
    assert "Already rejected by alice. Nothing was changed." in html


def test_after_the_deadline_there_is_no_button(client: Client, held: Approval) -> None:
    run_out(held)
    html = text_of(client.get(f"/approvals/{held.public_id}/"))
    assert "The time to decide has run out" in html
    assert 'id="approve"' not in html


def test_a_viewer_reads_and_gets_no_button(sign_in: Browse, vera: User, held: Approval) -> None:
    client = sign_in(vera)
    html = text_of(client.get(f"/approvals/{held.public_id}/"))
    assert 'id="approve"' not in html
    assert "data-select" not in text_of(client.get("/approvals/")).replace("data-selection", "")
    path = f"/approvals/{held.public_id}"
    assert client.post(f"{path}/approve/", {"answer": "{}"}).status_code == 403
    assert client.post(f"{path}/reject/").status_code == 403
    assert client.post("/approvals/reject/", {"approval": held.public_id}).status_code == 403
    assert get(held).is_waiting


def test_a_stranger_sees_nothing(sign_in: Browse, charlie: User, held: Approval) -> None:
    assert sign_in(charlie).get("/approvals/").status_code != 200


@pytest.mark.parametrize(("verb", "status"), [("approve", "running"), ("reject", "discarded")])
def test_many_are_decided_after_a_question(
    client: Client, held: Approval, helpdesk: Source, verb: str, status: str
) -> None:
    other = make_held(helpdesk)
    ids = [held.public_id, other.public_id]
    asked = text_of(client.post(f"/approvals/{verb}/", {"approval": ids}))
    assert f"{verb.capitalize()} these 2 answers?" in asked
    assert get(held).is_waiting
    done = client.post(f"/approvals/{verb}/", {"approval": ids, "confirmed": "1"}, follow=True)
    assert "2 " in text_of(done)
    assert [read_event(each).status for each in (held, other)] == [status, status]


def test_the_events_page_leads_to_the_decision_and_then_tells_it(
    client: Client, held: Approval, bob: User
) -> None:
    path = f"/events/{held.event.public_id}/"
    html = text_of(client.get(path))
    assert f'href="/approvals/{held.public_id}/"' in html
    assert "Held: waits for approval" in html
    assert "Retry…" not in html
    deciding.approve(held, bob, "seen")
    html = text_of(client.get(path))
    assert "Held for approval" in html
    assert "Approved by bob" in html


def test_there_is_nothing_under_another_id(client: Client, held: Approval) -> None:
    assert client.get("/approvals/apr_1/").status_code == 404
