"""An answer that a person must see first: the workflow waits, and the database decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.accounts.models import User
from apps.approvals import deciding, waiting
from apps.approvals.models import Approval
from apps.approvals.watch import Watched, watch
from apps.audit.models import AuditEntry
from apps.destinations.models import InboxItem
from apps.events import workflow_client
from apps.events.models import Event
from apps.pipelines.models import Pipeline
from apps.sources.models import Source
from tests.fixtures.approvals import ask_for_a_yes
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.servers import Server
from tests.waiting import wait_until
from tests.workers.conftest import Rig, wait_for_status
from tests.workers.processes import Start
from tests.workers.test_one_event import get_attempts, read_history

Post = Callable[..., str]
AT_ONCE = timedelta(0)
SURE = b'{"text": "[[sure]]"}'


@pytest.fixture
def held(
    rig: Rig, bob: User, triage: Pipeline, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> Approval:
    """An answer that waits, with a worker and a dispatcher at work."""
    ask_for_a_yes(triage, number="confidence", below=0.8)
    fake_llm.answers["e1"] = {"category": "billing", "confidence": 0.42}
    rig.start_worker()
    rig.start_dispatcher()
    return wait_for_hold(post(helpdesk))


def wait_for_hold(event_id: str) -> Approval:
    """The row, once its workflow has set the timer, and waits."""
    event = wait_for_status(event_id, "held", timeout_s=40)
    wait_until(lambda: "TIMER_STARTED" in read_history(event), what="the timer")
    return Approval.objects.select_related("event__pipeline_version").get(event=event)


def is_open(event: Event) -> bool:
    return workflow_client.find_running([event.workflow_id])[event.workflow_id]


def test_an_answer_below_the_confidence_waits_for_a_yes_and_is_then_delivered(
    held: Approval, bob: User, fake_llm: FakeLLM
) -> None:
    assert (held.event.error_code, held.reason) == (
        "approval",
        "Its confidence is 0.42, below 0.8.",
    )
    assert not InboxItem.objects.exists()
    deciding.approve(held, bob)
    event = wait_for_status(held.event_id, "delivered")
    assert get_attempts(event) == ["llm 1 ok", "deliver 1 ok"]
    assert InboxItem.objects.get().answer == {"category": "billing", "confidence": 0.42}
    assert (event.run, fake_llm.calls["e1"]) == (1, 1)
    wait_until(lambda: not is_open(event), what="the end of the workflow")
    assert Approval.objects.get().noticed_at


def test_an_answer_that_is_sure_enough_waits_for_nobody(
    held: Approval, helpdesk: Source, fake_llm: FakeLLM, post: Post
) -> None:
    fake_llm.answers["sure"] = {"category": "billing", "confidence": 0.8}
    wait_for_status(post(helpdesk, SURE), "delivered")


def test_an_edited_answer_is_delivered_in_place_of_the_models(held: Approval, bob: User) -> None:
    deciding.edit_json(held, {"category": "refund"}, bob)
    event = wait_for_status(held.event_id, "delivered")
    assert InboxItem.objects.get().answer == event.answer == {"category": "refund"}
    assert Approval.objects.get().answer == {"category": "billing", "confidence": 0.42}


def test_a_rejected_answer_is_delivered_to_nobody(held: Approval, bob: User) -> None:
    deciding.reject(held, bob, "wrong customer")
    event = wait_for_status(held.event_id, "discarded")
    assert (event.error_code, event.error) == ("rejected", "Rejected by bob: wrong customer")
    wait_until(lambda: not is_open(event), what="the end of the workflow")
    assert not InboxItem.objects.exists()
    assert AuditEntry.objects.get().action == "approval.reject"


@pytest.mark.parametrize(
    ("on_timeout", "status"),
    [("dead_letter", "dead"), ("discard", "discarded"), ("deliver", "delivered")],
)
def test_a_time_that_runs_out_does_what_the_pipeline_says(
    rig: Rig,
    triage: Pipeline,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
    on_timeout: str,
    status: str,
) -> None:
    monkeypatch.setattr(waiting, "HOUR", timedelta(seconds=1))
    ask_for_a_yes(triage, every=True, timeout_h=2, on_timeout=on_timeout)
    rig.start_worker()
    rig.start_dispatcher()
    event = wait_for_status(post(helpdesk), status)
    assert InboxItem.objects.count() == (status == "delivered")
    approval = Approval.objects.get()
    assert (approval.decision, approval.decided_by) == ("expired", None)
    assert approval.decided_at
    assert approval.decided_at >= approval.deadline
    if status != "delivered":
        assert event.error == "Nobody decided on the answer within 2 hours."


def test_a_worker_that_is_killed_while_an_answer_waits_is_not_missed(
    rig: Rig,
    bob: User,
    triage: Pipeline,
    helpdesk: Source,
    fake_llm: FakeLLM,
    post: Post,
    start_process: Start,
) -> None:
    ask_for_a_yes(triage)
    worker = start_process("manage.py", "worker")
    rig.start_dispatcher()
    event_id = post(helpdesk)
    held = wait_for_hold(event_id)
    worker.kill()
    worker.wait()
    deciding.approve(held, bob)
    assert Event.objects.get().status == "running"
    rig.start_worker()
    wait_for_status(event_id, "delivered", timeout_s=40)
    assert fake_llm.calls["e1"] == 1


def test_a_decision_whose_signal_was_lost_is_told_by_the_reconciler(
    held: Approval, bob: User, settings: Any, temporal_address: str
) -> None:
    lose_the_signal(held, bob, settings, temporal_address)
    assert is_open(held.event)  # it waits for its deadline, a day from now
    assert watch() == Watched()  # too young to be stalled
    assert watch(AT_ONCE) == Watched(told=1)
    wait_for_status(held.event_id, "delivered")
    wait_until(Approval.objects.filter(noticed_at__isnull=False).exists, what="the notice")
    assert watch(AT_ONCE) == Watched()


def test_a_decision_is_carried_out_after_temporal_has_lost_everything(
    held: Approval,
    bob: User,
    rig: Rig,
    settings: Any,
    own_temporal: Callable[[], Server],
    fake_llm: FakeLLM,
) -> None:
    settings.TEMPORAL_ADDRESS = own_temporal().address
    workflow_client.forget_connection()
    rig.start_worker()
    deciding.edit_json(held, {"category": "refund"}, bob)
    wait_for_status(held.event_id, "delivered")
    assert InboxItem.objects.get().answer == {"category": "refund"}
    assert fake_llm.calls["e1"] == 1


def test_a_time_that_runs_out_without_a_workflow_runs_out_all_the_same(
    held: Approval, settings: Any, own_temporal: Callable[[], Server]
) -> None:
    settings.TEMPORAL_ADDRESS = own_temporal().address
    workflow_client.forget_connection()
    Approval.objects.update(deadline=held.held_at)
    assert watch(AT_ONCE).expired == 1
    event = wait_for_status(held.event_id, "dead")
    assert event.error_code == "approval_expired"


def test_a_retry_after_a_yes_asks_nobody_again(
    held: Approval, bob: User, fake_llm: FakeLLM
) -> None:
    deciding.edit_json(held, {"category": "refund"}, bob)
    event = wait_for_status(held.event_id, "delivered")
    Event.objects.filter(pk=event.pk).update(status="dead")  # as if nobody had taken it
    assert Event.objects.get().retry()
    event = wait_for_status(held.event_id, "delivered")
    assert (event.run, event.answer) == (2, {"category": "refund"})
    assert (Approval.objects.count(), fake_llm.calls["e1"]) == (1, 1)


def test_a_retry_after_the_time_ran_out_holds_the_answer_again_and_pays_nothing(
    held: Approval, fake_llm: FakeLLM
) -> None:
    Approval.objects.update(deadline=held.held_at)
    assert watch(AT_ONCE).expired == 1
    assert Event.objects.get().retry()
    assert wait_for_status(held.event_id, "held").run == 2
    waiting = Approval.objects.filter(decision="waiting")
    assert [(row.run, row.answer) for row in waiting] == [(2, held.answer)]
    assert fake_llm.calls["e1"] == 1


def test_a_history_holds_neither_the_answer_nor_why_it_waits(held: Approval, bob: User) -> None:
    deciding.edit_json(held, {"category": "confidential"}, bob, "a note")
    event = wait_for_status(held.event_id, "delivered")
    wait_until(lambda: not is_open(event), what="the end of the workflow")
    history = read_history(event)
    assert "decided" in history
    for text in ("confidential", "billing", "0.42", "a note", "bob"):
        assert text not in history


def lose_the_signal(held: Approval, actor: User, settings: Any, temporal_address: str) -> None:
    """Decide while Temporal does not answer this process."""
    settings.TEMPORAL_ADDRESS = "127.0.0.1:9"
    workflow_client.forget_connection()
    deciding.approve(held, actor)
    assert workflow_client.start_now([]) == []  # what was submitted before has ended
    settings.TEMPORAL_ADDRESS = temporal_address
    workflow_client.forget_connection()
