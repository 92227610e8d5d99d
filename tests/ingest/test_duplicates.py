"""The same event many times is one event."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from apps.sources.models import Secret, Source
from tests.fixtures.cast import WEBHOOK_SECRET
from tests.ingest.conftest import BODY, Hooks, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_fifty_requests_at_once_with_one_id_are_one_event(hooks: Hooks) -> None:
    def post(_: int) -> httpx.Response:
        return httpx.post(
            f"{hooks.base_url}/hooks/helpdesk", content=BODY, headers=sign(BODY, "msg_1")
        )

    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(post, range(50)))
    assert len(hooks.entries()) == 1
    assert sorted(response.status_code for response in responses) == [200] * 49 + [202]
    assert len({response.json()["id"] for response in responses}) == 1


def test_fifty_requests_at_once_with_their_own_ids_are_fifty_events(hooks: Hooks) -> None:
    def post(number: int) -> str:
        headers = sign(BODY, f"msg_{number}")
        url = f"{hooks.base_url}/hooks/helpdesk"
        return str(httpx.post(url, content=BODY, headers=headers).json()["id"])

    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(post, range(50)))
    answered = {f"evt_{entry.event_id}": entry.key for entry in hooks.entries()}
    assert [answered[event_id] for event_id in ids] == [f"msg_{number}" for number in range(50)]


def test_two_sources_may_use_the_same_id(hooks: Hooks, helpdesk: Source) -> None:
    other = Source.objects.create(
        slug="other", name="Other", scheme="standard-webhooks", pipeline=helpdesk.pipeline
    )
    Secret.objects.create(source=other, value=WEBHOOK_SECRET)
    hooks.post()
    wait_until(lambda: hooks.post(path="/hooks/other").status_code == 202, 5, "the other source")
    assert {entry.source_id for entry in hooks.entries()} == {helpdesk.pk, other.pk}


def test_a_long_id_is_a_key_too(hooks: Hooks) -> None:
    first, second = hooks.post(event_id="m" * 255), hooks.post(event_id="m" * 254)
    assert (first.status_code, second.status_code) == (202, 202)
    assert hooks.post(event_id="m" * 255).json() == first.json() | {"duplicate": True}
    assert hooks.entries()[0].key == "m" * 255
