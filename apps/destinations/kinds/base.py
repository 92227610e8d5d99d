"""What every kind of destination takes, gives and raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.destinations.models import Destination
from apps.events.models import Event
from workers.contracts import Verdict


@dataclass(frozen=True)
class Delivered:
    """`http_status` is the receiver's answer; None for kinds without HTTP."""

    http_status: int | None = None


class DeliveryError(Exception):
    """The receiver did not take it. `str()` is a sentence; it never quotes the receiver."""

    code = "delivery_failed"
    permanent = False

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.http_status = http_status

    @property
    def verdict(self) -> Verdict:
        return Verdict.NEVER if self.permanent else Verdict.FAILED


class DestinationRefused(DeliveryError):
    """Our own rules forbid the address, or it can't be an address."""

    code = "destination_not_allowed"
    permanent = True


class DestinationUnreachable(DeliveryError):
    """No answer: no connection, a broken one, or no time left."""

    code = "destination_unreachable"


class ReceiverFailed(DeliveryError):
    """5xx, 408, 409, 425 or 429: worth another try."""

    code = "receiver_failed"


class ReceiverRefused(DeliveryError):
    """Another 4xx or a redirect: it would be refused again."""

    code = "receiver_refused"
    permanent = True


Kind = Callable[[Event, Destination, object], Delivered]
