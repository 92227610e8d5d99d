"""The rules of a source, by script."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from apps.sources.rules import Rules
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import WEBHOOK_SECRET, make_event

URL = "/api/v1/sources/helpdesk/"


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


def test_they_are_read_in_whole_with_their_defaults(client: APIClient, helpdesk: Source) -> None:
    assert client.get(URL).json()["rules"] == Rules().to_json()


def test_they_are_written_in_part_and_what_is_left_out_is_off(
    client: APIClient, helpdesk: Source
) -> None:
    client.patch(URL, {"rules": {"max_depth": 5, "event_types": ["a.*"]}})
    answer = client.patch(URL, {"rules": {"rate_per_minute": 600}})
    assert answer.status_code == 200
    assert answer.json()["rules"] == Rules(rate_per_minute=600).to_json()
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {"rate_per_minute": 600}


def test_a_change_of_something_else_leaves_them(client: APIClient, helpdesk: Source) -> None:
    client.patch(URL, {"rules": {"max_depth": 5}})
    client.patch(URL, {"name": "Desk"})
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {"max_depth": 5}


def test_a_new_source_may_have_some(client: APIClient, triage: Pipeline) -> None:
    body = {
        "slug": "shop",
        "name": "Shop",
        "scheme": "standard-webhooks",
        "secrets": [WEBHOOK_SECRET],
        "pipeline": "triage",
        "rules": {"addresses": ["192.0.2.1"]},
    }
    answer = client.post("/api/v1/sources/", body)
    assert answer.status_code == 201
    assert answer.json()["rules"]["addresses"] == ["192.0.2.1/32"]


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"max_depth": 0}, "rules.max_depth"),
        ({"schema": {"type": "objekt"}}, "rules.schema"),
        ({"addresses": ["example.com"]}, "rules.addresses"),
        ({"colour": "red"}, "rules.colour"),
        ([], "rules"),
    ],
)
def test_a_wrong_rule_is_named(client: APIClient, helpdesk: Source, rules: Any, field: str) -> None:
    problem = assert_problem(client.patch(URL, {"rules": rules}), 400)
    assert list(problem["errors"]) == [field]
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}


def test_a_replay_window_needs_a_timestamp(
    client: APIClient, helpdesk: Source, triage: Pipeline
) -> None:
    Source.objects.create(slug="shop", name="Shop", scheme="github", pipeline=triage)
    rules = {"rules": {"replay_window_s": 60}}
    assert client.patch(URL, rules).status_code == 200
    problem = assert_problem(client.patch("/api/v1/sources/shop/", rules), 400)
    assert list(problem["errors"]) == ["rules.replay_window_s"]


def test_the_audit_says_what_they_were_and_what_they_are(
    client: APIClient, helpdesk: Source
) -> None:
    client.patch(URL, {"rules": {"max_depth": 5, "unique_keys": True}})
    client.patch(URL, {"rules": {"max_depth": 9}})
    client.patch(URL, {"name": "Desk"})
    entries = AuditEntry.objects.filter(action="source.rules").order_by("pk")
    assert [entry.details["changes"] for entry in entries] == [
        {"max_depth": [None, 5], "unique_keys": [None, True]},
        {"max_depth": [5, 9], "unique_keys": [True, None]},
    ]


def test_who_only_views_reads_them_and_changes_none(vera: User, helpdesk: Source) -> None:
    client = with_token(vera)
    assert client.get(URL).json()["rules"]["max_depth"] is None
    assert_problem(client.patch(URL, {"rules": {"max_depth": 5}}), 403)


def test_rules_are_tried_on_past_events_and_not_saved(client: APIClient, helpdesk: Source) -> None:
    make_event(helpdesk, b'{"amount": 1}')
    off = make_event(helpdesk, b'{"amount": "4711"}')
    schema = {"properties": {"amount": {"type": "number"}}}
    answer = client.post(f"{URL}rehearse/", {"rules": {"schema": schema}})
    assert answer.status_code == 200
    assert answer.json() == {
        "looked_at": 2,
        "counts": {"taken": 1, "held": 0, "refused": 1, "ignored": 0, "later": 0},
        "events": [
            {
                "event": off.public_id,
                "what": "refused",
                "why": "The body does not fit the source's JSON Schema at properties/amount/type.",
            }
        ],
    }
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}


def test_a_wrong_rule_is_not_tried(client: APIClient, helpdesk: Source) -> None:
    problem = assert_problem(client.post(f"{URL}rehearse/", {"rules": {"max_depth": 0}}), 400)
    assert list(problem["errors"]) == ["rules.max_depth"]


def test_who_only_views_tries_none(vera: User, helpdesk: Source) -> None:
    assert_problem(with_token(vera).post(f"{URL}rehearse/", {"rules": {}}), 403)
