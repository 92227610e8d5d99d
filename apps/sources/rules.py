"""The rules of one source: what it takes, from whom, how often, and what it answers.

Read once when a source is saved or loaded; the checks themselves are `apps.ingest.gate`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, ClassVar

from apps.pipelines.expressions import WrongExpression, compile_expression
from apps.pipelines.json_schema import WrongSchema, check_schema
from apps.sources.schemes import SCHEMES

SCHEMA_ACTIONS = ("reject", "quarantine")
ANSWERS = ("default", "empty", "no_content", "twiml", "own")
ANSWER_STATUSES = (200, 202, 204)
PAUSED_STATUSES = (503, 410, 403)
MAX_DEPTH = 200
MAX_KEYS = 1_000_000
MAX_ENTRIES = 200
MAX_TYPE_CHARS = 200
MAX_RATE_PER_MINUTE = 10_000_000.0
MAX_REPLAY_WINDOW_S = 7 * 86_400.0
MAX_ANSWER_CHARS = 4_000
MAX_TEXT_CHARS = 300
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.+-]+)*", re.ASCII)

Network = IPv4Network | IPv6Network


class WrongRules(ValueError):
    """A rule that can't be used: `field` is its name, `message` a plain sentence for a form."""

    code: ClassVar[str] = "wrong_rules"
    permanent: ClassVar[bool] = True
    retry_after_s: ClassVar[float | None] = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Rules:
    """Every default is "off". Made by `parse`, which checks each field."""

    max_depth: int | None = None  # levels of objects and lists
    max_keys: int | None = None  # names in all objects together
    unique_keys: bool = False
    schema: dict[str, Any] | None = None  # JSON Schema, Draft 2020-12
    schema_action: str = "reject"
    event_types: tuple[str, ...] = ()  # exact, or with a * at the end; empty takes all
    addresses: tuple[str, ...] = ()  # networks that may send; empty: every address
    rate_per_minute: float | None = None
    rate_burst: int | None = None  # requests at once; None: ten seconds' worth
    address_rate_per_minute: float | None = None
    address_rate_burst: int | None = None
    replay_window_s: float | None = None
    answer: str = "default"
    answer_status: int = 200  # this and the next two: of the answer "own"
    answer_type: str = "text/plain; charset=utf-8"
    answer_body: str = ""
    ordering_key: str = ""  # JMESPath; events with one key stay in one shard
    paused_status: int = 503
    paused_text: str = ""

    @classmethod
    def parse(cls, given: object) -> Rules:
        """Out of JSON as the API takes it and the database keeps it; raises `WrongRules`."""
        if not isinstance(given, Mapping):
            raise WrongRules("", "It must be an object.")
        values = {}
        for name, value in given.items():
            read = _READERS.get(name)
            if read is None:
                raise WrongRules(str(name)[:100], "There is no such rule.")
            try:
                values[name] = read(value)
            except ValueError as error:
                raise WrongRules(name, str(error)) from None
        rules = cls(**values)
        rules._check_together()
        return rules

    def to_json(self) -> dict[str, Any]:
        """All of them, as the API shows them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def get_changed(self) -> dict[str, Any]:
        """What differs from the defaults, as the database keeps it."""
        defaults = _DEFAULTS.to_json()
        return {name: value for name, value in self.to_json().items() if value != defaults[name]}

    def check_scheme(self, scheme: str, options: Mapping[str, object]) -> None:
        """Raises `WrongRules` for a replay window where this scheme has no timestamp to look at."""
        if self.replay_window_s is not None and not _has_timestamp(scheme, options):
            raise WrongRules(
                "replay_window_s", "This source's scheme signs no timestamp: leave it empty."
            )

    def apply_to(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """The scheme's options with the replay window in place of their own."""
        if self.replay_window_s is None:
            return options
        return {**options, "tolerance_s": self.replay_window_s}

    def _check_together(self) -> None:
        for name in ("rate", "address_rate"):
            has_burst = getattr(self, f"{name}_burst") is not None
            if has_burst and getattr(self, f"{name}_per_minute") is None:
                raise WrongRules(f"{name}_burst", "Say how many a minute, too.")
        if self.answer == "own" and self.answer_status == 204 and self.answer_body:
            raise WrongRules("answer_body", "An answer 204 has no body.")


def _has_timestamp(scheme: str, options: Mapping[str, object]) -> bool:
    info = SCHEMES.get(scheme)
    if info is None or "tolerance_s" not in info.default_options:
        return False
    complete = {**info.default_options, **options}
    if "signed" not in complete:
        return True  # fixed by the provider, whose rows with a window all have a timestamp
    return "{timestamp}" in str(complete["signed"]) or bool(complete.get("timestamp_path"))


# --- One reader a kind of field: the value, or ValueError with a sentence ----------------------


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"It must be a whole number from {low:,} to {high:,}.")
        return value

    return read


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise ValueError(f"It must be a number from {low:g} to {high:,.0f}.")
        return float(value)

    return read


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("It must be true or false.")
    return value


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or value not in allowed:
            raise ValueError(f"It must be one of: {', '.join(map(str, allowed))}.")
        return value

    return read


def _text(limit: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("It must be text.")
        if len(value) > limit:
            raise ValueError(f"It is longer than {limit:,} characters.")
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("It holds characters that are no text.")
        return value

    return read


def _line(value: Any) -> str:
    text = _text(MAX_TEXT_CHARS)(value).strip()
    if not text.isprintable():
        raise ValueError("It must be one line of text.")
    return text


def _entries(read: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def read_all(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ValueError("It must be a list of texts.")
        if len(value) > MAX_ENTRIES:
            raise ValueError(f"It has more than {MAX_ENTRIES} entries.")
        return tuple(dict.fromkeys(read(one.strip()) for one in value))

    return read_all


def _event_type(entry: str) -> str:
    if not entry or len(entry) > MAX_TYPE_CHARS or not entry.isprintable():
        raise ValueError(f"An event type is a line of 1 to {MAX_TYPE_CHARS} characters.")
    if "*" in entry[:-1]:
        raise ValueError(f"“{entry}”: a * can only stand at the end.")
    return entry


def _network(entry: str) -> str:
    try:
        return str(ip_network(entry, strict=False))
    except ValueError:
        raise ValueError(
            f"“{entry[:60]}” is no IP address and no network like 192.0.2.0/24 or 2001:db8::/32."
        ) from None


def _schema(value: Any) -> dict[str, Any] | None:
    try:
        check_schema(value)
    except WrongSchema as error:
        raise ValueError(str(error)) from None
    return dict(value) or None


def _expression(value: Any) -> str:
    text = _text(1_000)(value).strip()
    try:
        if text:
            compile_expression(text)
    except WrongExpression as error:
        raise ValueError(str(error)) from None
    return text


def _media_type(value: Any) -> str:
    text = _text(100)(value).strip()
    if not _MEDIA_TYPE.fullmatch(text):
        raise ValueError("It must be a media type like text/xml or application/json.")
    return text


_RATE = _or_none(_number(0.1, MAX_RATE_PER_MINUTE))
_BURST = _or_none(_whole(1, 1_000_000))
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "max_depth": _or_none(_whole(1, MAX_DEPTH)),
    "max_keys": _or_none(_whole(1, MAX_KEYS)),
    "unique_keys": _yes_or_no,
    "schema": _or_none(_schema),
    "schema_action": _one_of(*SCHEMA_ACTIONS),
    "event_types": _entries(_event_type),
    "addresses": _entries(_network),
    "rate_per_minute": _RATE,
    "rate_burst": _BURST,
    "address_rate_per_minute": _RATE,
    "address_rate_burst": _BURST,
    "replay_window_s": _or_none(_number(1, MAX_REPLAY_WINDOW_S)),
    "answer": _one_of(*ANSWERS),
    "answer_status": _one_of(*ANSWER_STATUSES),
    "answer_type": _media_type,
    "answer_body": _text(MAX_ANSWER_CHARS),
    "ordering_key": _expression,
    "paused_status": _one_of(*PAUSED_STATUSES),
    "paused_text": _line,
}
_DEFAULTS = Rules()
RULE_NAMES = tuple(field.name for field in fields(Rules))


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, after]} of the rules that differ, for the audit; None: as by default."""
    names = sorted(before.keys() | after.keys())
    pairs = {name: [before.get(name), after.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
