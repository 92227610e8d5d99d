"""The live page says what is known, what is not, and what to do next."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from apps.accounts.models import User
from apps.dashboard.models import StatusSample
from apps.sources.models import Source
from tests.fixtures.cast import WEBHOOK_SECRET, make_event
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db


def add_sample(age_s: float = 0, **fields: object) -> StatusSample:
    sample = StatusSample.objects.create(**fields)
    StatusSample.objects.filter(pk=sample.pk).update(at=timezone.now() - timedelta(seconds=age_s))
    return sample


def get_value(html: str, field: str) -> str:
    """The value of one figure's card."""
    card = html.split(f'data-figure="{field}"')[1].split("</article>")[0]
    return card.split('class="pa-card__value">')[1].split("<")[0]


def test_an_unknown_figure_reads_unknown_and_never_0(sign_in: Browse, vera: User) -> None:
    add_sample(queue_length=0, consumer_lag=None)

    html = text_of(sign_in(vera).get("/live/figures/"))

    assert get_value(html, "queue_length") == "0"
    assert get_value(html, "consumer_lag") == "unknown"


def test_it_shows_the_six_figures_with_their_units(sign_in: Browse, vera: User) -> None:
    add_sample(
        queue_length=12_345,
        consumer_lag=1,
        llm_latency_s=0.25,
        error_rate=0.034,
        dead_letters=2,
        workflow_success_rate=0.9999,
    )

    html = text_of(sign_in(vera).get("/"))

    assert get_value(html, "queue_length") == "12,345"
    assert get_value(html, "consumer_lag") == "1"
    assert get_value(html, "llm_latency_s") == "250"
    assert get_value(html, "error_rate") == "3.4"
    assert get_value(html, "dead_letters") == "2"
    assert get_value(html, "workflow_success_rate") == "99.9"


def test_old_figures_ask_whether_celery_beat_is_running(sign_in: Browse, vera: User) -> None:
    add_sample(age_s=61, parts={"queue": {"ok": True, "why": ""}})

    html = text_of(sign_in(vera).get("/"))

    assert "figures are 61 s old: is Celery beat running?" in html
    assert "All 1 work" not in html


def test_a_failing_part_says_why(sign_in: Browse, vera: User) -> None:
    add_sample(parts={"queue": {"ok": False, "why": "appendfsync is everysec."}})

    html = text_of(sign_in(vera).get("/live/parts/"))

    assert "1 of 1 failing" in html
    assert "appendfsync is everysec." in html


def test_without_a_fresh_sample_the_parts_are_asked(
    sign_in: Browse, vera: User, settings: Settings
) -> None:
    settings.QUEUE_URLS = ["unix:///nowhere.sock#one", "unix:///nowhere-else.sock#two"]
    add_sample(age_s=61, parts={"queue": {"ok": True, "why": ""}})

    html = text_of(sign_in(vera).get("/live/parts/"))

    assert "Shard one: The queue server does not answer" in html


def test_shards_are_shown_where_there_are_several(sign_in: Browse, vera: User) -> None:
    known = {"lag": 0, "buried": 0, "durable": True, "draining": False}
    full = known | {"shard": "queue-1:6379", "length": 1200}
    dead = {"shard": "queue-2:6379", "length": None, "lag": None, "buried": None, "durable": False}
    going = known | {"shard": "queue-3:6379", "length": 7, "buried": 2, "draining": True}
    gone = known | {"shard": "queue-4:6379", "length": 0, "draining": True}
    add_sample(parts={"queue": {"ok": True, "why": ""}}, shards=[full, dead, going, gone])

    html = text_of(sign_in(vera).get("/live/parts/"))

    rows = [
        tuple(re.findall(r"<(?:span|p)[^>]*>([^<]+)<", row))
        for row in html.split("shards-title")[-1].split("<li")[1:]
    ]
    assert rows == [
        ("queue-1:6379", "takes events", "1,200 waiting"),
        ("queue-2:6379", "does not answer", "Nobody knows how much waits."),
        ("queue-3:6379", "draining", "7 waiting, 2 moved aside"),
        ("queue-4:6379", "empty", "Nothing is left: its server may go, see the runbook."),
    ]


def test_a_lonely_shard_is_the_queue(sign_in: Browse, vera: User) -> None:
    add_sample(shards=[{"shard": "queue-1:6379", "length": 1, "durable": True}])

    assert "queue-1:6379" not in text_of(sign_in(vera).get("/live/parts/"))


def test_an_administrator_gets_a_signed_command_for_the_first_event(
    sign_in: Browse, alice: User, helpdesk: Source
) -> None:
    html = text_of(sign_in(alice).get("/"))

    assert "No event yet" in html
    assert "webhook-signature: v1," in html
    assert WEBHOOK_SECRET not in html


def test_without_a_source_the_next_step_depends_on_the_role(
    sign_in: Browse, alice: User, vera: User
) -> None:
    assert "Create a source" in text_of(sign_in(alice).get("/"))
    assert "ask an administrator" in text_of(sign_in(vera).get("/"))


def test_the_newest_ten_events_are_shown(sign_in: Browse, vera: User, helpdesk: Source) -> None:
    events = [make_event(helpdesk) for _ in range(11)]

    html = text_of(sign_in(vera).get("/live/events/"))

    assert [event.public_id in html for event in events] == [False] + [True] * 10


def test_it_says_that_the_local_model_is_for_trying_only_while_it_is_in_use(
    sign_in: Browse, vera: User, settings: Settings
) -> None:
    add_sample()
    settings.OPENAI_MODEL = "smollm2-135m-instruct"
    assert "OPENAI_BASE_URL" in text_of(sign_in(vera).get("/"))

    settings.OPENAI_MODEL = "gpt-4o-mini"
    assert "OPENAI_BASE_URL" not in text_of(sign_in(vera).get("/"))
