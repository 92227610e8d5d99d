"""Destinations, pipelines and sources made and changed by scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.destinations.models import Destination
from apps.pipelines.models import Pipeline
from apps.sources.models import PAUSE_HEARD, Source
from apps.streams.clients import get_client
from apps.streams.entries import DEAD_STREAM, STREAM
from apps.streams.spool.folders import Folder
from apps.streams.spool.status import write_status
from tests.api.clients import assert_problem, with_token
from tests.fixtures.cast import WEBHOOK_SECRET, make_event

V1 = "/api/v1/"


@pytest.fixture
def client(alice: User) -> APIClient:
    return with_token(alice)


def test_a_script_sets_up_the_whole_way_of_an_event(client: APIClient) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "destinations": {
            "slug": "crm",
            "name": "CRM",
            "kind": "http",
            "url": "https://crm.example.com/in",
            "secret": WEBHOOK_SECRET,
        },
        "pipelines": {
            "slug": "sort",
            "name": "Sort",
            "filter": "type == 'ticket'",
            "transform": "{text: text}",
            "prompt": "Sort: {{ text }}",
            "model": "m",
            "output_schema": {"type": "object"},
            "destination": "crm",
        },
        "sources": {
            "slug": "desk",
            "name": "Desk",
            "scheme": "standard-webhooks",
            "options": {},
            "secrets": [WEBHOOK_SECRET],
            "pipeline": "sort",
        },
    }
    for noun, body in bodies.items():
        answer = client.post(f"{V1}{noun}/", body)
        assert answer.status_code == 201, answer.content
        shown = client.get(f"{V1}{noun}/{body['slug']}/").json()
        hidden = {"secret", "secrets"}
        assert {name: shown[name] for name in body if name not in hidden} == {
            name: value for name, value in body.items() if name not in hidden
        }
    source = Source.objects.get(slug="desk")
    assert [secret.value for secret in source.get_active_secrets()] == [WEBHOOK_SECRET]
    assert source.pipeline.current_version is not None
    assert source.pipeline.current_version.destination.secret == WEBHOOK_SECRET


def test_an_inbox_needs_no_address(client: APIClient) -> None:
    body = {"slug": "box", "name": "Box", "kind": "inbox", "url": None, "secret": None}
    assert client.post(f"{V1}destinations/", body).status_code == 201


@pytest.mark.parametrize(
    ("noun", "body", "field"),
    [
        ("destinations", {"slug": "a b", "name": "X", "kind": "inbox"}, "slug"),
        ("destinations", {"slug": "inbox", "name": "X", "kind": "inbox"}, "slug"),
        ("destinations", {"slug": "x", "name": "X", "kind": "fax"}, "kind"),
        ("destinations", {"slug": "x", "name": "X", "kind": "http"}, "url"),
        ("destinations", {"slug": "x", "name": "X", "kind": "http", "url": "ftp://x"}, "url"),
        ("destinations", {"slug": "x", "name": "X", "kind": "inbox", "uri": "x"}, "uri"),
        ("pipelines", {"filter": "type =="}, "filter"),
        ("pipelines", {"transform": "{"}, "transform"),
        ("pipelines", {"prompt": ""}, "prompt"),
        ("pipelines", {"output_schema": {"type": "objekt"}}, "output_schema"),
        ("pipelines", {"output_schema": [1]}, "output_schema"),
        ("pipelines", {"max_output_tokens": 0}, "max_output_tokens"),
        ("pipelines", {"on_unknown": "guess"}, "on_unknown"),
        ("pipelines", {"destination": "nowhere"}, "destination"),
        ("pipelines", {"slug": "triage"}, "slug"),
        ("sources", {"scheme": "carrier-pigeon"}, "scheme"),
        ("sources", {"options": []}, "options"),
        ("sources", {"secrets": "s"}, "secrets"),
        ("sources", {"secrets": ["not base64 at all!"]}, "secrets"),
        ("sources", {"pipeline": "nowhere"}, "pipeline"),
        ("sources", {"slug": "helpdesk"}, "slug"),
        ("sources", {"max_body_bytes": 0}, "max_body_bytes"),
    ],
)
def test_a_wrong_field_is_named(
    client: APIClient, helpdesk: Source, noun: str, body: dict[str, Any], field: str
) -> None:
    complete = {
        "destinations": {},
        "pipelines": {"slug": "p", "name": "P", "prompt": "{{ a }}", "destination": "inbox"},
        "sources": {
            "slug": "s",
            "name": "S",
            "scheme": "standard-webhooks",
            "pipeline": "triage",
        },
    }[noun]
    problem = assert_problem(client.post(f"{V1}{noun}/", complete | body), 400)
    assert list(problem["errors"]) == [field]


def test_a_change_of_a_pipeline_publishes_a_version(client: APIClient, triage: Pipeline) -> None:
    answer = client.patch(f"{V1}pipelines/triage/", {"prompt": "Sort: {{ text }}"})
    assert answer.json()["version"] == 2
    assert answer.json()["model"] == "test-model"  # what was not named is kept
    versions = client.get(f"{V1}pipelines/triage/versions/").json()["results"]
    assert [row["number"] for row in versions] == [2, 1]
    assert [row["prompt"] for row in versions] == ["Sort: {{ text }}", "Classify: {{ text }}"]
    assert [row["created_by"] for row in versions] == ["alice", None]


def test_a_new_name_publishes_no_version(client: APIClient, triage: Pipeline) -> None:
    answer = client.patch(f"{V1}pipelines/triage/", {"name": "Sorting"})
    assert (answer.json()["name"], answer.json()["version"]) == ("Sorting", 1)


@pytest.mark.parametrize("noun", ["destinations/inbox", "pipelines/triage", "sources/helpdesk"])
def test_a_slug_never_changes_but_may_be_sent_back(
    client: APIClient, helpdesk: Source, noun: str
) -> None:
    slug = noun.split("/")[1]
    assert client.patch(f"{V1}{noun}/", {"slug": slug, "name": "New"}).status_code == 200
    problem = assert_problem(client.patch(f"{V1}{noun}/", {"slug": "other"}), 400)
    assert list(problem["errors"]) == ["slug"]


@pytest.mark.parametrize("noun", ["destinations/inbox", "pipelines/triage", "sources/helpdesk"])
def test_what_was_read_may_be_sent_back_unchanged(
    client: APIClient, helpdesk: Source, noun: str
) -> None:
    shown = client.get(f"{V1}{noun}/").json()
    answer = client.patch(f"{V1}{noun}/", shown)
    assert answer.status_code == 200, answer.content


def test_what_others_refer_to_is_not_deleted(client: APIClient, helpdesk: Source) -> None:
    make_event(helpdesk)
    for noun in ("sources/helpdesk", "pipelines/triage", "destinations/inbox"):
        assert_problem(client.delete(f"{V1}{noun}/"), 409, "still refer to it")


def pause_long_ago(source: Source) -> None:
    source.pause()
    Source.objects.update(paused_at=timezone.now() - PAUSE_HEARD)


@pytest.fixture
def queue(settings: Settings, valkey_url: str) -> Any:
    """An empty queue."""
    settings.QUEUE_URLS = [valkey_url]
    server = get_client(valkey_url)
    server.flushall()
    return server


def test_a_source_is_not_deleted_before_every_process_has_heard_of_its_pause(
    client: APIClient, helpdesk: Source, queue: Any
) -> None:
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409, "Pause the source first")
    helpdesk.pause()
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409, "Pause the source first")


@pytest.mark.parametrize("stream", [STREAM, DEAD_STREAM])
def test_a_source_is_not_deleted_under_its_accepted_events(
    client: APIClient, helpdesk: Source, queue: Any, stream: str
) -> None:
    pause_long_ago(helpdesk)
    queue.xadd(stream, {"s": helpdesk.pk})
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409, "not known to be empty")
    assert Source.objects.filter(pk=helpdesk.pk).exists()


def test_a_source_is_not_deleted_while_the_queue_is_down(
    client: APIClient, helpdesk: Source, settings: Settings
) -> None:
    pause_long_ago(helpdesk)
    settings.QUEUE_URLS = ["unix:///nowhere.sock"]
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409, "not known to be empty")


def test_a_source_is_not_deleted_while_events_wait_in_the_spool(
    client: APIClient, helpdesk: Source, queue: Any, spool_dir: Path
) -> None:
    pause_long_ago(helpdesk)
    write_status(Folder.create(spool_dir).path, 1, "")
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409, "not known to be empty")


def test_what_nothing_refers_to_is_deleted(client: APIClient, helpdesk: Source, queue: Any) -> None:
    pause_long_ago(helpdesk)
    for noun in ("sources/helpdesk", "pipelines/triage", "destinations/inbox"):
        answer = client.delete(f"{V1}{noun}/")
        assert answer.status_code == 204, answer.content
    assert not Destination.objects.exists()


def test_a_source_is_paused_and_resumed_once_each(client: APIClient, helpdesk: Source) -> None:
    path = f"{V1}sources/helpdesk/"
    assert client.post(f"{path}pause/").json()["paused_at"] is not None
    assert_problem(client.post(f"{path}pause/"), 409)
    assert client.post(f"{path}resume/").json()["paused_at"] is None
    assert_problem(client.post(f"{path}resume/"), 409)


def test_options_are_checked_against_the_scheme_and_its_secrets(
    client: APIClient, helpdesk: Source
) -> None:
    answer = client.patch(f"{V1}sources/helpdesk/", {"scheme": "carrier-pigeon"})
    assert list(assert_problem(answer, 400)["errors"]) == ["scheme"]


def test_each_act_is_audited_by_name(client: APIClient, helpdesk: Source, queue: Any) -> None:
    client.patch(f"{V1}destinations/inbox/", {"name": "Box"})
    client.post(f"{V1}sources/helpdesk/pause/")
    Source.objects.update(paused_at=timezone.now() - PAUSE_HEARD)
    client.delete(f"{V1}sources/helpdesk/")
    acts = AuditEntry.objects.order_by("id").values_list("actor_name", "action", "object_id")
    assert list(acts) == [
        ("alice", "destination.update", "inbox"),
        ("alice", "source.pause", "helpdesk"),
        ("alice", "source.delete", "helpdesk"),
    ]


def test_what_was_refused_is_not_audited(client: APIClient, helpdesk: Source) -> None:
    make_event(helpdesk)
    assert_problem(client.delete(f"{V1}sources/helpdesk/"), 409)
    assert not AuditEntry.objects.exists()
