"""What the model must not see, in a pipeline's form and on an event's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.llm.models import LLMCall
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of
from tests.pages.test_configuration_forms import get_pipeline_form

TYPED = {
    "redact_kinds": ["email", "national_id"],
    "redact_countries": "de, at",
    "redact_paths": "customer.name\r\n\r\ncontacts[*].phone\r\n",
    "redact_patterns": "ORDER = ORD-\\d{6}\r\nKEY=a=b",
    "redact_reversible": "on",
}
SAVED = {
    "kinds": ["email", "national_id"],
    "countries": ["DE", "AT"],
    "paths": ["customer.name", "contacts[*].phone"],
    "patterns": [
        {"name": "ORDER", "pattern": r"ORD-\d{6}"},
        {"name": "KEY", "pattern": "a=b"},
    ],
    "reversible": True,
}


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def save(client: Client, pipeline: Pipeline, **changes: Any) -> str:
    """As the draft, and published."""
    path = f"/pipelines/pipeline/{pipeline.pk}/draft/"
    draft = pipeline.get_draft()
    form = get_pipeline_form(pipeline, token=draft.token, **changes)
    html = text_of(client.post(path, form, follow=True))
    if "errornote" not in html:
        pipeline.publish_draft(None, pipeline.get_draft().token, replaces=get_number(pipeline))
    pipeline.refresh_from_db()
    return html


def get_number(pipeline: Pipeline) -> int:
    assert pipeline.current_version
    return pipeline.current_version.number


def test_what_was_typed_is_what_the_next_version_masks(client: Client, triage: Pipeline) -> None:
    save(client, triage, **TYPED)
    assert triage.current_version
    assert triage.current_version.redaction == SAVED


def test_the_draft_begins_with_what_the_version_masks(client: Client, triage: Pipeline) -> None:
    save(client, triage, **TYPED)
    html = text_of(client.get(f"/pipelines/pipeline/{triage.pk}/draft/"))
    assert "ORDER = ORD-\\d{6}" in html
    assert "DE, AT" in html
    before = triage.get_draft().get_version().redaction
    save(client, triage, **TYPED)
    assert triage.current_version
    assert triage.current_version.redaction == before


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("redact_countries", "Germany", "countries may hold only"),
        ("redact_paths", "customer.", "is not a path"),
        ("redact_patterns", "ORDER = (", "linear time"),
        ("redact_patterns", "no name", "capital letters"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    client: Client, triage: Pipeline, field: str, typed: str, said: str
) -> None:
    html = save(client, triage, **TYPED | {field: typed})
    assert said in html
    assert triage.versions.count() == 1


def test_the_event_tells_how_much_the_model_did_not_see(client: Client, helpdesk: Source) -> None:
    event = make_event(helpdesk)
    LLMCall.objects.create(
        event=event,
        request_hash="0" * 64,
        state="answered",
        model="m",
        request={"messages": []},
        masked={"email": 3, "card": 1},
        intended_at=timezone.now(),
        answered_at=timezone.now(),
    )
    html = text_of(client.get(f"/events/{event.public_id}/"))
    assert "Masked before the model saw it</dt><dd>3 e-mail addresses and 1 card number<" in html
