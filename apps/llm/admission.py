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
from typing import Any, Protocol

from apps.llm import breaker, limits
from apps.llm.lanes import Lane, get_lane
from apps.llm.limit_headers import SeenLimits
from apps.llm.models import LLMCall, Subject
from apps.llm.provider import Completion, LLMError
from apps.pipelines.models import PipelineVersion
from apps.pipelines.prepare import PreparedRequest

Outcome = Completion | LLMError


@dataclass(frozen=True)
class Call:
    """The call that asks to be admitted."""

    event: Subject
    version: PipelineVersion
    request: PreparedRequest
    lane: Lane
    has_stand_in: bool = False


class Grant(Protocol):
    """What a guard gave. One of `settle`, `give_back` and `hand_over` is called, once."""

    def settle(self, outcome: Outcome, cost_usd: Decimal) -> None:
        """The call was made: this came of it, and was paid."""

    def give_back(self) -> None:
        """No call was made."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, by which another process can settle it; no two guards use one name."""

    def hand_over(self, seen: SeenLimits) -> None:
        """The provider took the call and works on: whoever reads the answer will settle it."""

    def hold_on(self) -> None:
        """The call is still at work."""


def pass_breaker(call: Call) -> Grant:
    return breaker.ask(call.lane, books=not call.has_stand_in)


def take_place(call: Call) -> Grant:
    return limits.take(call.lane, call.event, call.request)


# Each takes the call and gives its grant, or raises an LLMError.
GUARDS: tuple[Callable[[Call], Grant], ...] = (pass_breaker, take_place)


@dataclass
class Seat:
    """The leave to make one call."""

    grants: list[Grant] = field(default_factory=list)
    passed_over: list[dict[str, str]] = field(default_factory=list)  # models asked before it

    def settle(self, outcome: Outcome, cost_usd: Decimal = Decimal(0)) -> None:
        """What came of the call: an answer, whatever it is worth, or the error as it was raised."""
        grants, self.grants = self.grants, []
        for grant in reversed(grants):
            grant.settle(outcome, cost_usd)

    def as_json(self) -> dict[str, Any]:
        """What `take_up` needs, and what the attempt will say in the end."""
        kept = {name: value for grant in self.grants for name, value in grant.as_json().items()}
        return kept | ({"passed_over": self.passed_over} if self.passed_over else {})

    def hand_over(self, seen: SeenLimits) -> None:
        """The call goes on without this process, and its row keeps what `as_json` said."""
        grants, self.grants = self.grants, []
        for grant in grants:
            grant.hand_over(seen)

    def hold_on(self) -> None:
        """The call is still at work."""
        for grant in self.grants:
            grant.hold_on()

    def give_back(self) -> None:
        """No call was made; does nothing after `settle`."""
        grants, self.grants = self.grants, []
        for grant in reversed(grants):
            grant.give_back()


def take_up(call: LLMCall) -> Seat:
    """The seat of a call that was handed over, to be settled by this process."""
    kept = call.kept_seat or {}
    lane = get_lane(call.model, call.provider)
    grants: list[Grant] = [breaker.Passage(lane, str(kept.get("probe", "")))]
    if kept.get("taken_at"):
        began_s = call.intended_at.timestamp()
        grants.append(limits.Place.take_up(lane, call.subject, kept, began_s))
    return Seat(grants)


@contextmanager
def admit(
    event: Subject,
    version: PipelineVersion,
    request: PreparedRequest,
    lane: Lane,
    *,
    has_stand_in: bool = False,
) -> Iterator[Seat]:
    """Ask the breaker, then the limits. Raises the `LLMError` of the one that refuses.

    Budgets are asked afterwards: what a call may cost is reserved together with its intent, in one
    transaction (see `ledger.open_call`). Must not run inside a transaction.
    """
    seat = Seat()
    call = Call(event, version, request, lane, has_stand_in)
    try:
        for guard in GUARDS:
            seat.grants.append(guard(call))
        yield seat
    finally:
        seat.give_back()
