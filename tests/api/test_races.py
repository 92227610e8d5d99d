"""Two people at once: the database lets exactly one of them be first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Status
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.api.clients import with_token
from tests.fixtures.cast import make_event

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 6


def all_at_once(client: APIClient, ask: Callable[[APIClient, int], int]) -> Counter[int]:
    """The statuses of AT_ONCE requests that leave together, each over its own connection."""
    barrier = Barrier(AT_ONCE)
    header = client._credentials["HTTP_AUTHORIZATION"]  # type: ignore[attr-defined]

    def run(number: int) -> int:
        own = APIClient()
        own.credentials(HTTP_AUTHORIZATION=header)
        try:
            barrier.wait(timeout=10)
            return ask(own, number)
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(run, range(AT_ONCE)))


def test_of_many_retries_exactly_one_wins(bob: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.DEAD)
    path = f"/api/v1/events/{event.public_id}/retry/"
    answers = all_at_once(with_token(bob), lambda client, _: client.post(path).status_code)
    event.refresh_from_db()
    assert answers == {202: 1, 409: AT_ONCE - 1}
    assert (event.status, event.run) == ("queued", 2)
    assert AuditEntry.objects.count() == 1


def test_of_retry_and_discard_exactly_one_wins(bob: User, helpdesk: Source) -> None:
    event = make_event(helpdesk, status=Status.HELD)

    def ask(client: APIClient, number: int) -> int:
        verb = "retry" if number % 2 else "discard"
        return client.post(f"/api/v1/events/{event.public_id}/{verb}/").status_code

    answers = all_at_once(with_token(bob), ask)
    assert answers[409] == AT_ONCE - 1
    assert AuditEntry.objects.count() == 1


def test_changes_of_one_pipeline_at_once_are_all_kept(alice: User, triage: Pipeline) -> None:
    fields = ("filter", "transform", "model", "max_output_tokens", "on_unknown", "prompt")
    values = ("a == `1`", "{b: b}", "m2", 77, "call_again", "Say {{ text }}")

    def ask(client: APIClient, number: int) -> int:
        body = {fields[number]: values[number]}
        return client.patch("/api/v1/pipelines/triage/", body, format="json").status_code

    assert all_at_once(with_token(alice), ask) == {200: AT_ONCE}
    triage.refresh_from_db()
    version = triage.current_version
    assert version is not None
    assert version.number == 1 + AT_ONCE
    assert tuple(getattr(version, field) for field in fields) == values


def test_of_many_with_the_same_slug_one_is_made(alice: User) -> None:
    body = {"slug": "box", "name": "Box", "kind": "inbox"}

    def ask(client: APIClient, number: int) -> int:
        return client.post("/api/v1/destinations/", body, format="json").status_code

    answers = all_at_once(with_token(alice), ask)
    assert answers[201] == 1
    assert set(answers) <= {201, 400, 409}


def test_a_secret_is_retired_once(alice: User, helpdesk: Source) -> None:
    path = f"/api/v1/secrets/{helpdesk.secrets.get().pk}/retire/"
    answers = all_at_once(with_token(alice), lambda client, _: client.post(path).status_code)
    assert answers == {200: 1, 409: AT_ONCE - 1}
