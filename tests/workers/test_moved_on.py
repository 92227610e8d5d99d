"""A workflow whose event has moved on stops, and changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.events.models import Event, Status
from apps.sources.models import Source
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from workers.activities import do_ask, do_deliver, note_crash
from workers.contracts import CrashInput, StepInput, StepResult, Verdict

GONE = StepResult(Verdict.GONE)


@pytest.fixture
def _real_transactions(transactional_db: None) -> None:
    """The ledger commits for good, so the test can't roll back."""


@pytest.mark.usefixtures("_real_transactions")
@pytest.mark.parametrize("status", ["delivered", "filtered", "dead", "held", "discarded"])
def test_no_step_touches_an_event_that_is_not_open(
    helpdesk: Source, fake_llm: FakeLLM, status: str
) -> None:
    event = make_event(helpdesk, status=status)
    step = StepInput(event.pk.hex, event.run, 1)
    assert do_ask(step) == GONE
    assert do_deliver(step) == GONE
    assert note_crash(CrashInput(event.pk.hex, event.run, 1, "ask", "crashed")) == GONE
    assert Event.objects.get().status == status
    assert fake_llm.calls.total() == 0
    assert not event.attempts.exists()


@pytest.mark.usefixtures("_real_transactions")
def test_a_step_of_an_earlier_run_does_nothing(helpdesk: Source, fake_llm: FakeLLM) -> None:
    event = make_event(helpdesk, run=2)
    assert do_ask(StepInput(event.pk.hex, 1, 1)) == GONE
    assert fake_llm.calls.total() == 0


@pytest.mark.usefixtures("_real_transactions")
def test_a_step_that_was_overtaken_while_it_worked_writes_nothing(
    helpdesk: Source, fake_llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_event(helpdesk)

    def call_slowly(*_: object) -> object:
        Event.objects.filter(pk=event.pk).update(run=2)
        return original(*_)

    original = pytest.importorskip("workers.activities").call_once
    monkeypatch.setattr("workers.activities.call_once", call_slowly)
    assert do_ask(StepInput(event.pk.hex, 1, 1)) == GONE
    assert Event.objects.get().answer is None


@pytest.mark.usefixtures("_real_transactions")
def test_a_database_that_is_away_uses_no_attempt(
    helpdesk: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = make_event(helpdesk)
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all/db.sqlite3")
    connection.close()
    result = do_ask(StepInput(event.pk.hex, 1, 1))
    monkeypatch.undo()
    connection.close()
    assert (result.verdict, result.code) == (Verdict.WAIT, "database_down")


@pytest.mark.django_db
def test_only_open_events_are_looked_at_again_longest_ago_first(helpdesk: Source) -> None:
    old = timezone.now() - timedelta(minutes=5)
    second = make_event(helpdesk, changed_at=old + timedelta(seconds=1))
    first = make_event(helpdesk, changed_at=old, status=Status.RUNNING)
    make_event(helpdesk, changed_at=old, status=Status.DELIVERED)
    make_event(helpdesk)
    before = timezone.now() - timedelta(minutes=1)
    assert Event.find_stalled(before, 10) == [first, second]
    Event.note_looked_at([first.pk])
    assert Event.find_stalled(before, 10) == [second]
