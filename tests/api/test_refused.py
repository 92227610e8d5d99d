"""Refused requests in the API: what is read, verified, accepted and discarded, and by whom."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.ingest import api
from apps.ingest.models import RefusedRequest
from apps.sources.models import Secret, Source
from apps.streams.clients import get_client
from apps.streams.entries import STREAM
from tests.api.clients import assert_problem, with_token
from tests.fixtures.refused import OTHER_SECRET, make_refused

URL = "/api/v1/refused-requests/"


@pytest.fixture
def refused(helpdesk: Source) -> RefusedRequest:
    return make_refused(helpdesk, "one", secret=OTHER_SECRET)


@pytest.fixture
def mended(helpdesk: Source, refused: RefusedRequest) -> RefusedRequest:
    Secret.objects.create(source=helpdesk, value=OTHER_SECRET)
    return refused


@pytest.fixture
def queue(valkey_url: str, settings: Settings) -> Any:
    settings.QUEUE_URLS = [valkey_url]
    client: Any = get_client(valkey_url)
    client.flushall()
    return client


def states() -> list[str]:
    return list(RefusedRequest.objects.order_by("received_at").values_list("state", flat=True))


def test_the_list_is_filtered_and_holds_no_content(
    vera: User, helpdesk: Source, refused: RefusedRequest
) -> None:
    late = make_refused(helpdesk, "late", age_s=3600)

    rows = with_token(vera).get(f"{URL}?code=bad_signature&source=helpdesk").json()["results"]

    assert [row["id"] for row in rows] == [refused.public_id]
    assert rows[0]["reason"] == "The signature does not match the active secret."
    assert (rows[0]["state"], rows[0]["event"], rows[0]["times"]) == ("kept", None, 1)
    assert "content" not in rows[0]
    everything = with_token(vera).get(URL).json()["results"]
    assert [row["id"] for row in everything] == [late.public_id, refused.public_id]
    assert with_token(vera).get(f"{URL}?state=accepted").json()["results"] == []


def test_headers_and_body_are_for_support_that_asks_for_them(
    vera: User, bob: User, refused: RefusedRequest
) -> None:
    address = f"{URL}{refused.public_id}/"
    assert with_token(bob).get(address).json()["content"] is None
    assert with_token(vera).get(address).json()["content"] is None

    content = with_token(bob).get(f"{address}?content=true").json()["content"]

    assert content["line"] == "POST /hooks/helpdesk?token=…"
    assert content["body"] == '{"text": "one"}'
    headers = {row["name"]: row["value"] for row in content["headers"]}
    assert headers["content-type"] == "application/json"
    assert headers["webhook-signature"].endswith("… (47 characters)")
    assert_problem(with_token(vera).get(f"{address}?content=true"), 403, "read_refusedrequest")


def test_verify_says_whether_it_would_pass_and_changes_nothing(
    vera: User, helpdesk: Source, refused: RefusedRequest
) -> None:
    client, address = with_token(vera), f"{URL}{refused.public_id}/verify/"
    verdict = client.post(address).json()
    assert (verdict["passes"], verdict["code"]) == (False, "bad_signature")
    Secret.objects.create(source=helpdesk, value=OTHER_SECRET)

    assert client.post(address).json() == {"passes": True, "code": "", "reason": ""}

    assert states() == ["kept"]


def test_one_is_accepted_once(bob: User, mended: RefusedRequest, queue: Any) -> None:
    address = f"{URL}{mended.public_id}/accept/"

    answer = with_token(bob).post(address)

    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["event"][:4]) == ("accepted", "evt_")
    assert_problem(with_token(bob).post(address), 409, "It is accepted")
    assert queue.xlen(STREAM) == 1
    assert AuditEntry.objects.get().action == "refused.accept"


def test_one_that_does_not_pass_is_a_conflict_with_the_reason(
    bob: User, refused: RefusedRequest, queue: Any
) -> None:
    problem = assert_problem(
        with_token(bob).post(f"{URL}{refused.public_id}/accept/"), 409, "does not match"
    )

    assert problem["code"] == "still_refused"
    assert (states(), queue.exists(STREAM)) == (["kept"], 0)


def test_a_queue_that_is_down_is_a_conflict_and_changes_nothing(
    bob: User, mended: RefusedRequest, settings: Settings
) -> None:
    settings.QUEUE_URLS = ["redis://127.0.0.1:1"]

    problem = assert_problem(with_token(bob).post(f"{URL}{mended.public_id}/accept/"), 409)
    many = with_token(bob).post(f"{URL}accept/", {}).json()

    assert problem["code"] == "queue_down"
    assert many["stopped"]
    assert (many["done"], many["remaining"], many["after"]) == (0, 1, None)
    assert states() == ["kept"]


def test_many_are_accepted_in_bounded_batches(
    bob: User, helpdesk: Source, mended: RefusedRequest, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_refused(helpdesk, "late", age_s=3600)
    make_refused(helpdesk, "older", age_s=7200)
    monkeypatch.setattr(api, "MAX_SETTLED", 2)
    client = with_token(bob)

    first = client.post(f"{URL}accept/", {"source": "helpdesk"}).json()
    second = client.post(f"{URL}accept/", {"source": "helpdesk", "after": first["after"]}).json()

    assert (first["done"], first["still_refused"]) == (1, {"stale_timestamp": 1})
    assert first["remaining"] == 1
    assert (second["done"], second["still_refused"]) == (0, {"stale_timestamp": 1})
    assert (second["remaining"], second["after"]) == (0, None)
    assert states() == ["accepted", "kept", "kept"]
    assert queue.xlen(STREAM) == 1


@pytest.mark.parametrize("verb", ["accept", "discard"])
def test_no_body_is_no_empty_filter(bob: User, mended: RefusedRequest, verb: str) -> None:
    assert_problem(with_token(bob).post(f"{URL}{verb}/"), 400)
    assert states() == ["kept"]


def test_only_named_ones_are_discarded(
    bob: User, helpdesk: Source, refused: RefusedRequest
) -> None:
    make_refused(helpdesk, "two", secret=OTHER_SECRET)

    answer = with_token(bob).post(f"{URL}discard/", {"ids": [refused.public_id]}).json()

    assert (answer["done"], answer["remaining"]) == (1, 0)
    assert states() == ["discarded", "kept"]
    assert_problem(with_token(bob).post(f"{URL}{refused.public_id}/discard/"), 409, "discarded")


@pytest.mark.parametrize(
    ("body", "field"),
    [({"sourc": "x"}, "sourc"), ({"ids": ["evt_1"]}, "ids"), ({"after": "x"}, "after")],
)
def test_a_mistyped_filter_touches_nothing(
    bob: User, refused: RefusedRequest, body: Any, field: str
) -> None:
    problem = assert_problem(with_token(bob).post(f"{URL}discard/", body), 400)

    assert list(problem["errors"]) == [field]
    assert states() == ["kept"]


@pytest.mark.parametrize("verb", ["accept", "discard"])
def test_a_viewer_and_a_reading_token_may_neither_accept_nor_discard(
    vera: User, bob: User, mended: RefusedRequest, verb: str
) -> None:
    for client in (with_token(vera), with_token(bob, "events:read")):
        assert_problem(client.post(f"{URL}{mended.public_id}/{verb}/"), 403)
        assert_problem(client.post(f"{URL}{verb}/", {}), 403)
    assert states() == ["kept"]


@pytest.mark.parametrize("name", ["ref_1", "x", "evt_" + "0" * 32, "ref_" + "0" * 32])
def test_what_is_not_there_is_not_found(bob: User, helpdesk: Source, name: str) -> None:
    assert_problem(with_token(bob).get(f"{URL}{name}/"), 404)
    assert_problem(with_token(bob).post(f"{URL}{name}/accept/"), 404)
