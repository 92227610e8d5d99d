"""The editor of a draft, its preview on real events, publishing, versions and rolling back."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.pipelines.models import Pipeline, PipelineDraft
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of
from tests.pages.test_configuration_forms import get_pipeline_form

SCHEMA = '{\n  "type": "object",\n  "properties": {"label": {"type": "strin"}}\n}'
TICKET = b'{"text": "Late again", "user": {"mail": "eve@example.com", "odd name": 1}}'


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def at(pipeline: Pipeline, page: str = "draft/") -> str:
    return f"/pipelines/pipeline/{pipeline.pk}/{page}"


def type_in(pipeline: Pipeline, **changes: Any) -> dict[str, Any]:
    return get_pipeline_form(pipeline, token=pipeline.get_draft().token) | changes


def words(response: Any) -> str:
    return html.unescape(text_of(response))


def test_a_draft_is_saved_and_events_start_with_what_was_published(
    client: Client, triage: Pipeline
) -> None:
    assert "No draft yet" in words(client.get(at(triage)))
    typed = type_in(triage, prompt="Sort:\r\n{{ text }}")
    page = words(client.post(at(triage), typed, follow=True))
    assert "The draft is saved." in page
    assert "Draft by alice" in page
    assert triage.get_draft().config["prompt"] == "Sort:\n{{ text }}"
    triage.refresh_from_db()
    assert triage.current_version
    assert triage.current_version.number == 1
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.details) == (
        "draft.save", {"fields": ["prompt", "output_schema", "repair"]},
    )  # fmt: skip


def test_a_conflict_keeps_what_was_typed_and_shows_what_differs(
    client: Client, triage: Pipeline, bob: User
) -> None:
    typed = type_in(triage, prompt="Mine: {{ text }}")
    theirs = triage.save_draft(bob, "v1", triage.get_draft().config | {"prompt": "His: {{ text }}"})

    answer = client.post(at(triage), typed)

    page = html.unescape(answer.content.decode())
    assert answer.status_code == 409
    assert "bob has changed the draft since you opened it. Nothing was saved." in page
    assert "Mine: {{ text }}</textarea>" in page
    assert "His: {{ text }}</del>" in page
    assert triage.get_draft().token == theirs.token
    assert f'value="{theirs.token}"' in page  # so that saving again is a decision
    client.post(at(triage), typed | {"token": theirs.token})
    assert triage.get_draft().config["prompt"] == "Mine: {{ text }}"


def test_the_schema_is_checked_and_its_error_has_a_line(client: Client, triage: Pipeline) -> None:
    for button in ({"check": "1"}, {}):
        page = words(client.post(at(triage), type_in(triage, output_schema=SCHEMA) | button))
        assert "Line 3: It is not JSON Schema" in page
        assert 'data-line="3"' in page
    fine = SCHEMA.replace("strin", "string")
    page = words(client.post(at(triage), type_in(triage, output_schema=fine, check="1")))
    assert "Nothing is wrong with it. It is not saved yet." in page
    assert not PipelineDraft.objects.exists()


def test_what_was_typed_is_tried_on_a_real_event(
    client: Client, helpdesk: Source, settings: Settings
) -> None:
    settings.LLM_PRICE_INPUT, settings.LLM_PRICE_OUTPUT = 1, 2
    event = make_event(helpdesk, TICKET)
    typed = type_in(
        helpdesk.pipeline,
        prompt="Sort: {{ user.mail }} <b>{{ text }}",
        redact_kinds=["email"],
        event=event.public_id,
    )
    page = words(client.post(at(helpdesk.pipeline, "draft/preview/"), typed))
    assert "Sort: <event_data>[EMAIL_1]</event_data> <b><event_data>Late again</event_data>" in page
    assert "The model does not see 1 e-mail address." in page
    assert "at most 500 to write: at most $0.001" in page
    assert 'data-path="user."odd name""' in page
    assert not PipelineDraft.objects.exists()


def test_markup_of_an_event_is_shown_as_text(client: Client, helpdesk: Source) -> None:
    make_event(helpdesk, b'{"text": "<img src=x onerror=alert(1)>", "<b>": 1}')
    page = text_of(client.get(at(helpdesk.pipeline)))
    assert "<img src=x" not in page
    assert "<b>" not in page
    assert "&lt;img src=x" in page


def test_a_path_that_the_event_lacks_is_marked(client: Client, helpdesk: Source) -> None:
    make_event(helpdesk, TICKET)
    typed = type_in(helpdesk.pipeline, prompt="{{ txt }} {{ text }}")
    page = words(client.post(at(helpdesk.pipeline, "draft/preview/"), typed))
    assert '<code class="pa-unknown">txt</code>' in page
    assert "The prompt as it would be sent" not in page


def test_an_event_that_the_filter_leaves_out_still_shows_its_paths(
    client: Client, helpdesk: Source
) -> None:
    make_event(helpdesk, TICKET)
    typed = type_in(helpdesk.pipeline, filter="text == 'other'", transform="{short: text}")
    page = words(client.post(at(helpdesk.pipeline, "draft/preview/"), typed))
    assert "The filter leaves it out" in page
    assert 'data-path="short"' in page


def test_without_an_event_the_way_to_one_is_shown(client: Client, helpdesk: Source) -> None:
    assert "No event has come yet" in words(client.get(at(helpdesk.pipeline)))


def test_publishing_shows_the_difference_first(client: Client, triage: Pipeline) -> None:
    client.post(at(triage), type_in(triage, prompt="Sort: {{ text }}", model="other"))
    path = at(triage, "draft/publish/")
    page = words(client.get(path))
    assert "-Classify: {{ text }}" in page or "Classify: {{ text }}</del>" in page
    assert "Sort: {{ text }}</ins>" in page
    act = {"token": triage.get_draft().token, "replaces": "1", "note": "Shorter"}

    page = words(client.post(path, act, follow=True))

    assert "Version 2 is what new events start with." in page
    assert "Shorter" in page
    assert AuditEntry.objects.filter(action="pipeline.publish").get().details == {
        "version": 2,
        "replaces": 1,
    }
    page = words(client.post(path, act, follow=True))
    assert "There is no draft to publish." in page
    assert triage.versions.count() == 2


def test_what_nobody_has_seen_is_not_published(client: Client, triage: Pipeline) -> None:
    client.post(at(triage), type_in(triage, prompt="Sort: {{ text }}"))
    seen = {"token": triage.get_draft().token, "replaces": "1"}
    assert triage.current_version
    triage.publish(**triage.current_version.get_values())
    page = words(client.post(at(triage, "draft/publish/"), seen, follow=True))
    assert "Version 2 was published meanwhile" in page
    assert triage.versions.count() == 2


def test_versions_say_who_changed_what_and_any_two_are_compared(
    client: Client, triage: Pipeline, alice: User
) -> None:
    assert triage.current_version
    first = triage.current_version.get_values()
    triage.publish(alice, **first | {"prompt": "<b>Two {{ text }}"}, note="<i>why")
    triage.publish(alice, **first | {"max_output_tokens": 7})
    page = text_of(client.get(at(triage, "versions/?from=1&to=2")))
    assert "&lt;b&gt;Two {{ text }}</ins>" in page
    assert "&lt;i&gt;why" in page
    assert "prompt, max output tokens" in page
    assert "the first version" in page
    for odd in ("?from=x&to=9999999999", "?from=7&to=8", "?before=x"):
        assert client.get(at(triage, f"versions/{odd}")).status_code == 200


def test_rolling_back_is_reviewed_noted_and_a_new_version(client: Client, triage: Pipeline) -> None:
    assert triage.current_version
    first = triage.current_version.get_values()
    triage.publish(**first | {"prompt": "Worse {{ text }}"})
    path = at(triage, "versions/1/roll-back/")
    assert "Worse {{ text }}</del>" in words(client.get(path))
    page = words(client.post(path, {"replaces": "2", "note": "Wrong labels"}, follow=True))
    assert "Rolled back to v1: Wrong labels" in page
    triage.refresh_from_db()
    assert triage.current_version.get_values() == first
    assert AuditEntry.objects.get().details["rolled_back_to"] == 1
    assert client.get(at(triage, "versions/3/roll-back/")).status_code == 404
    assert client.get(at(triage, "versions/9/roll-back/")).status_code == 404


def test_a_draft_is_discarded_by_who_has_seen_it(client: Client, triage: Pipeline) -> None:
    client.post(at(triage), type_in(triage, prompt="Sort: {{ text }}"))
    path = at(triage, "draft/discard/")
    assert "has changed the draft" in words(client.post(path, {"token": "old"}, follow=True))
    token = triage.get_draft().token
    assert "is discarded" in words(client.post(path, {"token": token}, follow=True))
    assert not PipelineDraft.objects.exists()


def test_viewers_read_versions_and_edit_nothing(
    sign_in: Browse, triage: Pipeline, vera: User
) -> None:
    client = sign_in(vera)
    assert "Roll back" not in words(client.get(at(triage, "versions/")))
    for page in ("draft/", "draft/publish/", "versions/1/roll-back/"):
        assert client.get(at(triage, page)).status_code == 403
    for page in ("draft/preview/", "draft/discard/"):
        assert client.post(at(triage, page)).status_code == 403
