"""The six figures and the audit as scripts read them."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.dashboard.models import StatusSample
from apps.destinations.models import Destination
from tests.api.clients import with_token

SIX = {
    "queue_length": 12,
    "consumer_lag": 3,
    "llm_latency_s": 0.8,
    "error_rate": 0.25,
    "dead_letters": 2,
    "workflow_success_rate": 0.75,
}


def test_the_six_figures_are_those_of_the_newest_sample(vera: User) -> None:
    StatusSample.objects.create(queue_length=99)
    StatusSample.objects.create(**SIX)
    assert SIX.items() <= with_token(vera).get("/api/v1/stats/").json().items()


def test_an_unknown_figure_is_null_and_not_0(vera: User) -> None:
    StatusSample.objects.create(**SIX | {"consumer_lag": None})
    assert with_token(vera).get("/api/v1/stats/").json()["consumer_lag"] is None


def test_before_the_first_sample_and_after_an_old_one_nothing_is_known(vera: User) -> None:
    client = with_token(vera)
    unknown = dict.fromkeys(SIX) | {"at": None}
    assert unknown.items() <= client.get("/api/v1/stats/").json().items()
    sample = StatusSample.objects.create(**SIX)
    StatusSample.objects.filter(pk=sample.pk).update(at=timezone.now() - timedelta(minutes=5))
    assert unknown.items() <= client.get("/api/v1/stats/").json().items()


def test_the_audit_says_who_did_what_newest_first(alice: User, inbox: Destination) -> None:
    AuditEntry.record(alice, "destination.update", inbox, fields=["name"])
    AuditEntry.record(None, "event.hold", inbox)
    client = with_token(alice)
    rows = client.get("/api/v1/audit/").json()["results"]
    assert [(row["actor"], row["action"], row["object_id"]) for row in rows] == [
        ("system", "event.hold", "inbox"),
        ("alice", "destination.update", "inbox"),
    ]
    assert rows[1]["details"] == {"fields": ["name"]}


def test_the_audit_is_searched_by_actor_and_action(alice: User, inbox: Destination) -> None:
    AuditEntry.record(alice, "destination.update", inbox)
    AuditEntry.record(None, "event.hold", inbox)
    client = with_token(alice)
    for query in ({"actor": "alice"}, {"action": "destination.update"}):
        rows = client.get("/api/v1/audit/", query).json()["results"]
        assert [row["actor"] for row in rows] == ["alice"]


def test_the_audit_names_the_token_that_acted(alice: User, inbox: Destination) -> None:
    client = with_token(alice)
    client.patch("/api/v1/destinations/inbox/", {"name": "Box"})
    assert AuditEntry.objects.get().details["token"] == alice.api_tokens.get().prefix
