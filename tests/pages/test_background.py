"""A call in the background on the event's page: that it is at work, and the id for support."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.events.models import Event, Status
from apps.llm.models import LLMCall, Provider
from apps.sources.models import Source
from tests.api.clients import with_token
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.test_providers import make_provider
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db
ID = "resp_0123456789abcdef"


def make_call(event: Event, state: str, *, is_open: bool) -> LLMCall:
    return LLMCall.objects.create(
        event=event,
        request_hash="1" * 64,
        state=state,
        model="test-model",
        request={"messages": []},
        intended_at=timezone.now(),
        response_id=ID,
        is_response_open=is_open,
    )


def test_vera_sees_that_it_is_at_work_and_as_what(
    sign_in: Browse, vera: User, helpdesk: Source
) -> None:
    event = make_event(helpdesk, status=Status.RUNNING)
    make_call(event, "intent", is_open=True)
    html = text_of(sign_in(vera).get(f"/events/{event.public_id}/"))
    assert "In the background, at work, as" in html
    assert ID in html


def test_the_id_stays_when_it_is_at_work_no_more(
    sign_in: Browse, vera: User, helpdesk: Source
) -> None:
    event = make_event(helpdesk, status=Status.HELD, error_code="llm_response_gone")
    make_call(event, "unknown", is_open=False)
    html = text_of(sign_in(vera).get(f"/events/{event.public_id}/"))
    assert ID in html
    assert "at work, as" not in html


@pytest.mark.parametrize("is_open", [True, False])
def test_bob_may_look_up_what_may_still_come_and_is_told_what_a_retry_does(
    sign_in: Browse, bob: User, helpdesk: Source, settings: Any, is_open: bool
) -> None:
    settings.LLM_STORE_COMPLETIONS = False
    event = make_event(helpdesk, status=Status.HELD, step="llm", error_code="llm_response_late")
    make_call(event, "unknown", is_open=is_open)
    html = text_of(sign_in(bob).get(f"/events/{event.public_id}/"))
    assert ("Look it up at the provider" in html) is is_open
    assert ("is asked for the answer by its id first" in html) is is_open
    assert ("the provider is asked to stop" in html) is is_open


def test_alice_says_in_the_form_that_a_provider_works_in_the_background(
    sign_in: Browse, alice: User, second_llm: FakeLLM
) -> None:
    form = {"name": "B", "slug": "backup", "base_url": second_llm.base_url, "in_background": "on"}
    assert sign_in(alice).post("/llm/provider/add/", form).status_code == 302
    assert Provider.objects.get().in_background
    assert AuditEntry.objects.filter(action="provider.create").exists()


def test_and_in_the_api(alice: User, second_llm: FakeLLM) -> None:
    row = make_provider(second_llm.base_url)
    client = with_token(alice)
    changed = client.patch("/api/v1/providers/backup/", {"in_background": True}, format="json")
    assert changed.json()["in_background"] is True
    row.refresh_from_db()
    assert row.in_background
