"""The rules of one source, made ready to be asked for every request.

The sender's address and its rate are asked before the body is read, because they cost us little
and a flood much. All else is asked once the signature is right: a stranger learns nothing of it,
has nothing parsed, and can't use up the rate of the source. A source without rules has no gate.
"""

from __future__ import annotations

import json
from ipaddress import ip_network
from math import ceil
from typing import Any

import jiter

from apps.ingest.answers import Answer
from apps.ingest.peer import Sender, get_rate_key
from apps.ingest.refusals import (
    AddressNotAllowed,
    EventIgnored,
    OffSchema,
    RepeatedName,
    TooDeep,
    TooManyNames,
    TooManyRequests,
)
from apps.pipelines.expressions import evaluate
from apps.pipelines.json_schema import NotCheckable, Schema
from apps.pipelines.json_schema import OffSchema as DoesNotFit
from apps.pipelines.payload import PrepareError
from apps.sources.rules import Rules
from apps.sources.schemes import Request, Verified, get_json_text, is_json, read_body
from apps.streams.limits import Ask, Limits, Rate

ORDERING_KEY_MAX_CHARS = 255
BURST_S = 10
"""A burst that nobody has set is what the rate allows in so many seconds."""


class Gate:
    """`ignored` is the answer to an event of a type that the source does not take."""

    __slots__ = (
        *("_address_rate", "_addresses", "_exact_types", "_ignored", "_limits_json"),
        *("_rules", "_schema", "_source_key", "_type_beginnings", "needs_sender", "rate_ask"),
    )

    def __init__(self, rules: Rules, source_id: str, ignored: Answer) -> None:
        self._rules = rules
        self._ignored = ignored
        self._source_key = f"source:{source_id}"
        self._addresses = [ip_network(entry) for entry in rules.addresses]
        rate = _make_rate(rules.rate_per_minute, rules.rate_burst)
        self.rate_ask = Ask(self._source_key, rate) if rate else None
        self._address_rate = _make_rate(rules.address_rate_per_minute, rules.address_rate_burst)
        # Whether `check_sender` must be awaited before the body is read.
        self.needs_sender = bool(self._addresses or self._address_rate)
        types = rules.event_types
        self._exact_types = frozenset(each for each in types if not each.endswith("*"))
        self._type_beginnings = tuple(each[:-1] for each in types if each.endswith("*"))
        self._limits_json = bool(rules.max_depth or rules.max_keys or rules.unique_keys)
        self._schema = Schema(rules.schema) if rules.schema else None

    @property
    def needs_wait(self) -> bool:
        """Whether a request must wait for an answer about its sender or a rate."""
        return self.needs_sender or self.rate_ask is not None

    async def check_sender(self, sender: Sender | None, limits: Limits) -> None:
        """Raises AddressNotAllowed or TooManyRequests."""
        if self._addresses:
            self.check_address(sender)
        if self._address_rate:
            key = f"{self._source_key}:{get_rate_key(sender)}"
            if wait_s := await limits.take(Ask(key, self._address_rate)):
                raise TooManyRequests(wait_s)

    async def check_rate(self, limits: Limits) -> None:
        """Of a verified request: raises TooManyRequests."""
        if self.rate_ask and (wait_s := await limits.take(self.rate_ask)):
            raise TooManyRequests(wait_s)

    def check_address(self, sender: Sender | None) -> None:
        """Raises AddressNotAllowed; a sender whose address nobody knows is not allowed."""
        if sender is None or not any(sender in network for network in self._addresses):
            name = sender or "an unknown address"
            raise AddressNotAllowed(f"This source takes nothing from {name}. Ask who runs it.")

    def check(self, request: Request, verified: Verified, key: bytes) -> tuple[bytes, bytes]:
        """Of a verified request: why it must wait for a person (b"": it need not), and the
        ordering key, `key` unless a rule gives another. Raises a Refusal.
        """
        if self._exact_types or self._type_beginnings:
            self._check_type(verified.event_type)
        if self._limits_json and is_json(request):
            self._check_json(request)
        why = self._check_schema(self._schema, request) if self._schema else ""
        if self._rules.ordering_key:
            key = self._find_ordering_key(request) or key
        return why.encode(), key

    def _check_type(self, event_type: str) -> None:
        if event_type in self._exact_types or event_type.startswith(self._type_beginnings):
            return
        raise EventIgnored("The source does not take events of this type.", self._ignored)

    def _check_json(self, request: Request) -> None:
        rules = self._rules
        if rules.max_depth or rules.max_keys:
            _measure(read_body(request), rules.max_depth, rules.max_keys)
        if rules.unique_keys and _repeats_a_name(get_json_text(request) or b""):
            raise RepeatedName("An object in the body has the same name twice: send it once.")

    def _check_schema(self, schema: Schema, request: Request) -> str:
        try:
            schema.check(read_body(request))
        except DoesNotFit as error:
            sentence = f"The body does not fit the source's JSON Schema at {error.place}."
        except NotCheckable:
            sentence = "The body has too many parts to be checked by the source's JSON Schema."
        else:
            return ""
        if self._rules.schema_action == "reject":
            raise OffSchema(sentence)
        return sentence

    def _find_ordering_key(self, request: Request) -> bytes:
        """b"" where the expression finds no text and no number in this body."""
        try:
            found = evaluate(self._rules.ordering_key, read_body(request))
        except PrepareError:
            return b""
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return b""
        return str(found)[:ORDERING_KEY_MAX_CHARS].encode("utf-8", "replace")


def make_gate(rules: Rules, source_id: str, ignored: Answer) -> Gate | None:
    """None where no rule has to be asked for a request."""
    asked = (
        *(rules.max_depth, rules.max_keys, rules.unique_keys, rules.schema, rules.event_types),
        *(rules.addresses, rules.rate_per_minute, rules.address_rate_per_minute),
        rules.ordering_key,
    )
    return Gate(rules, source_id, ignored) if any(asked) else None


def _make_rate(per_minute: float | None, burst: int | None) -> Rate | None:
    if per_minute is None:
        return None
    return Rate(per_minute, burst or max(1, ceil(per_minute * BURST_S / 60)))


def _measure(document: Any, max_depth: int | None, max_names: int | None) -> None:
    """Raises TooDeep or TooManyNames; level by level, so that no depth is too much for us."""
    level, depth, names = [document], 0, 0
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        if max_depth and depth > max_depth:
            raise TooDeep(f"The body has more than {max_depth} levels of objects and lists.")
        names += sum(len(part) for part in level if isinstance(part, dict))
        if max_names and names > max_names:
            raise TooManyNames(f"The objects in the body have more than {max_names:,} names.")
        inner: list[Any] = []
        for part in level:
            inner += part.values() if isinstance(part, dict) else part
        level = inner


def _repeats_a_name(body: bytes) -> bool:
    """Whether JSON has an object with a name twice, of which each reader takes another one."""
    try:
        jiter.from_json(body, allow_inf_nan=False, cache_mode="none", catch_duplicate_keys=True)
    except ValueError:
        # Or it is only unusual, see apps.sources.schemes.body.
        return _repeats_a_name_slowly(body)
    return False


def _repeats_a_name_slowly(body: bytes) -> bool:
    repeats = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeats
        repeats = repeats or len({name for name, _ in pairs}) < len(pairs)

    json.loads(body, object_pairs_hook=look)
    return repeats
