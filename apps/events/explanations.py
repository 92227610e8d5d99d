"""What a person is told about an event that waits, and about the buttons beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.events.models import QUARANTINED, RETRYABLE, Event, Status
from apps.events.unknown_outcomes import is_unknown
from apps.llm.budgets import CODES
from apps.llm.models import LLMCall

REJECTS = (
    "Its answer is rejected: the event is closed for good and delivered nowhere. "
    "This can't be undone."
)


@dataclass(frozen=True)
class Explanation:
    """Why the event waits, and what each button will do."""

    why: str
    retry: str
    discard: str = "The event is closed for good and delivered nowhere. This can't be undone."


def explain(event: Event, calls: Sequence[LLMCall]) -> Explanation:
    """The sentences for this event, by its state and by what the ledger knows."""
    if event.error_code == QUARANTINED:
        return Explanation(
            why=f"A rule of the source kept it back, before anything ran: {event.error}",
            retry="It is released as it is, and runs as any other event of this source: "
            "the model may be called and paid, and the answer delivered.",
        )
    if event.is_held_for_approval:
        return Explanation(why=event.error, retry="", discard=REJECTS)
    if event.status == Status.HELD and event.error_code in CODES:
        return Explanation(
            why=event.error,
            retry="It is tried now instead of by itself later, and held again while there is no "
            "money for it.",
        )
    if is_unknown(event, calls) and any(call.is_response_open for call in calls):
        return Explanation(
            why=event.error,
            retry="The provider is asked for the answer by its id first. If that has come, it is "
            "used, and nothing is paid again. If not, that call is stopped and another made: both "
            "may be paid.",
            discard="The event is closed for good and delivered nowhere, and the provider is asked "
            "to stop. This can't be undone.",
        )
    if is_unknown(event, calls):
        return Explanation(
            why="A request to the model left, and no answer came back: nobody can know whether "
            "it was paid. The event is held so that it is never paid for twice by itself.",
            retry="The model may be called again. If the lost request was paid, this call is "
            "paid a second time.",
        )
    if any(call.state == LLMCall.State.ANSWERED and not call.problem for call in calls):
        return Explanation(
            why=event.error,
            retry="It goes on with the stored answer: the model is not called and nothing is "
            "paid again, as long as the pipeline version asks the same. This can't be undone.",
        )
    if any(call.state == LLMCall.State.ANSWERED for call in calls):
        return Explanation(
            why=event.error,
            retry="The model is asked again, and paid again: its answer could not be used. "
            "This can't be undone.",
        )
    return Explanation(
        why=event.error,
        retry="The event starts again as a new run of the same pipeline version. "
        "This can't be undone.",
    )


def explain_no_action(event: Event) -> str:
    """Why there is nothing to retry or discard; empty where there is."""
    if event.status in RETRYABLE:
        return ""
    if event.is_parked:
        return "Its call waits in a batch: it goes on by itself."
    if event.status in (Status.QUEUED, Status.RUNNING):
        return "It is on its way: only dead and held events can be retried or discarded."
    return f"It is {Status(event.status).label.lower()}: there is nothing left to do."
