"""May this call leave now? Asked after the ledger was read, and before the intent is written.

    with admit(event, version, request, lane) as seat:
        ...                                         # claim the row, send
        seat.settle(completion, cost_usd)           # or seat.settle(error)

Each guard is asked in turn, and may refuse with an `LLMError`: WAIT uses no attempt and says when
to come back, HELD waits for a person or for money. What an earlier guard gave is given back then,
and so it is where the block ends without a settlement: nothing has been asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from apps.events.models import Event
from apps.llm import breaker, limits
from apps.llm.lanes import Lane
from apps.llm.provider import Completion, LLMError
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest

Outcome = Completion | LLMError


@dataclass(frozen=True)
class Call:
    """The call that asks to be admitted."""

    event: Event
    version: PipelineVersion
    request: PreparedRequest
    lane: Lane


class Grant(Protocol):
    """What a guard gave. One of the two is called, once."""

    def settle(self, outcome: Outcome, cost_usd: Decimal) -> None:
        """The call was made: this came of it, and was paid."""

    def give_back(self) -> None:
        """No call was made."""


def pass_breaker(call: Call) -> Grant:
    return breaker.ask(call.lane)


def take_place(call: Call) -> Grant:
    return limits.take(call.lane, call.event, call.request)


# Each takes the call and gives its grant, or raises an LLMError.
GUARDS: tuple[Callable[[Call], Grant], ...] = (pass_breaker, take_place)


@dataclass
class Seat:
    """The leave to make one call."""

    grants: list[Grant] = field(default_factory=list)

    def settle(self, outcome: Outcome, cost_usd: Decimal = Decimal(0)) -> None:
        """What came of the call: an answer, whatever it is worth, or the error as it was raised."""
        grants, self.grants = self.grants, []
        for grant in reversed(grants):
            grant.settle(outcome, cost_usd)

    def give_back(self) -> None:
        """No call was made; does nothing after `settle`."""
        grants, self.grants = self.grants, []
        for grant in reversed(grants):
            grant.give_back()


@contextmanager
def admit(
    event: Event, version: PipelineVersion, request: PreparedRequest, lane: Lane
) -> Iterator[Seat]:
    """Ask the breaker, then the limits. Raises the `LLMError` of the one that refuses.

    Budgets are asked afterwards: what a call may cost is reserved together with its intent, in one
    transaction (see `ledger.open_call`). Must not run inside a transaction.
    """
    seat = Seat()
    call = Call(event, version, request, lane)
    try:
        for guard in GUARDS:
            seat.grants.append(guard(call))
        yield seat
    finally:
        seat.give_back()
