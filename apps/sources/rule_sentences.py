"""Rules in words: what a source's page says about them."""

from __future__ import annotations

from typing import Any

from apps.sources.rules import Rules, WrongRules

ANSWER_LABELS = {
    "default": "What the provider wants, else 202 with the event's id",
    "empty": "200 without a body",
    "no_content": "204 (no content)",
    "twiml": "200 with an empty TwiML <Response/>",
    "own": "My own, below",
}
PAUSED_LABELS = {
    503: "503: senders try again later",
    410: "410: gone; most senders stop for good",
    403: "403: refused; most senders give up this event",
}
SHOWN = 3


def describe(stored: Any) -> list[str]:
    """One sentence for each rule that is on; none where nothing is. `stored` is Source.rules."""
    try:
        rules = Rules.parse(stored)
    except WrongRules as error:
        return [f"They can't be read, so nothing is taken in: {error}"]
    return [*_of_senders(rules), *_of_events(rules), *_of_bodies(rules), *_of_answers(rules)]


def _of_senders(rules: Rules) -> list[str]:
    found = []
    if rules.addresses:
        found.append(f"Only from {_join(rules.addresses)}.")
    if rules.rate_per_minute:
        found.append(f"At most {_per_minute(rules.rate_per_minute, rules.rate_burst)}.")
    if rules.address_rate_per_minute:
        rate = _per_minute(rules.address_rate_per_minute, rules.address_rate_burst)
        found.append(f"From each address at most {rate}.")
    return found


def _of_events(rules: Rules) -> list[str]:
    found = []
    if rules.event_types:
        found.append(f"Only the event types {_join(rules.event_types)}; others are ignored.")
    if rules.replay_window_s:
        found.append(f"Signed timestamps may lie {rules.replay_window_s:g} s from now.")
    if rules.ordering_key:
        found.append(f"Events with the same {rules.ordering_key} stay in order.")
    return found


def _of_bodies(rules: Rules) -> list[str]:
    found = []
    if rules.max_depth:
        found.append(f"JSON has at most {rules.max_depth} levels.")
    if rules.max_keys:
        found.append(f"JSON has at most {rules.max_keys:,} names.")
    if rules.unique_keys:
        found.append("No JSON object has a name twice.")
    if rules.schema:
        waits = rules.schema_action == "quarantine"
        fate = "waits for a person" if waits else "is refused"
        found.append(f"A body that does not fit the JSON Schema {fate}.")
    return found


def _of_answers(rules: Rules) -> list[str]:
    found = []
    if rules.answer == "own":
        found.append(f"An accepted event is answered {rules.answer_status} with its own body.")
    elif rules.answer != "default":
        found.append(f"An accepted event is answered {ANSWER_LABELS[rules.answer]}.")
    if rules.paused_status != 503 or rules.paused_text:
        found.append(f"While it is paused, it answers {rules.paused_status}.")
    return found


def _per_minute(rate: float, burst: int | None) -> str:
    at_once = f", {burst:,} at once" if burst else ""
    return f"{rate:,g} requests a minute{at_once}"


def _join(entries: tuple[str, ...]) -> str:
    more = len(entries) - SHOWN
    shown = ", ".join(entries[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
