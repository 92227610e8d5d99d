"""The rules of a source in the API: one object, checked as a whole."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.sources import rules
from apps.sources.rules import Rules, WrongRules


def _maybe(kind: str, description: str, **bounds: Any) -> dict[str, Any]:
    return {"type": [kind, "null"], "default": None, "description": description, **bounds}


def _texts(description: str) -> dict[str, Any]:
    items = {"type": "string"}
    return {"type": "array", "items": items, "default": [], "description": description}


def _choice(description: str, allowed: tuple[Any, ...]) -> dict[str, Any]:
    return {"enum": list(allowed), "default": allowed[0], "description": description}


def _text(description: str, default: str = "") -> dict[str, Any]:
    return {"type": "string", "default": default, "description": description}


_RATE = {"exclusiveMinimum": 0, "maximum": rules.MAX_RATE_PER_MINUTE}
DOCUMENT = {
    "type": "object",
    "description": "What the source takes, from whom, how often, and what it answers. A PATCH "
    "gives all of them: what is left out goes back to its default, which is off.",
    "properties": {
        "max_depth": _maybe(
            "integer", "Levels of objects and lists.", minimum=1, maximum=rules.MAX_DEPTH
        ),
        "max_keys": _maybe(
            "integer", "Names in all objects together.", minimum=1, maximum=rules.MAX_KEYS
        ),
        "unique_keys": {
            "type": "boolean",
            "default": False,
            "description": "Refuse an object that has a name twice.",
        },
        "schema": _maybe("object", "JSON Schema (draft 2020-12) that a body must fit."),
        "schema_action": _choice("What becomes of a body that does not fit.", rules.SCHEMA_ACTIONS),
        "event_types": _texts(
            "Types that are taken, with a * at the end or without. [] takes all."
        ),
        "addresses": _texts("Networks that may send, 192.0.2.0/24. [] lets every address."),
        "rate_per_minute": _maybe("number", "Requests of all senders together.", **_RATE),
        "rate_burst": _maybe("integer", "So many at once. null: ten seconds' worth.", minimum=1),
        "address_rate_per_minute": _maybe("number", "Requests of each address.", **_RATE),
        "address_rate_burst": _maybe("integer", "So many of them at once.", minimum=1),
        "replay_window_s": _maybe(
            "number",
            "Seconds that a signed timestamp may lie from now, instead of the scheme's own.",
            minimum=1,
            maximum=rules.MAX_REPLAY_WINDOW_S,
        ),
        "answer": _choice("What an accepted event is answered.", rules.ANSWERS),
        "answer_status": _choice("Of the answer own.", rules.ANSWER_STATUSES),
        "answer_type": _text("Content-Type of the answer own.", Rules().answer_type),
        "answer_body": _text("Body of the answer own."),
        "ordering_key": _text("JMESPath; events with the same value stay in one shard, in order."),
        "paused_status": _choice("What a paused source answers.", rules.PAUSED_STATUSES),
        "paused_text": _text("One line that goes with it."),
    },
}


@extend_schema_field(DOCUMENT)
class RulesField(serializers.Field[Any, Any, Any, Any]):
    """Written in part or in whole, read in whole; an error names `rules.<field>`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        try:
            return Rules.parse(data).get_changed()
        except WrongRules as error:
            detail = {error.field: error.message} if error.field else error.message
            raise serializers.ValidationError(detail) from None

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return {**Rules().to_json(), **value}


def check_rules(stored: Any, scheme: str, options: Any) -> None:
    """Raises ValidationError where this scheme can't do what the rules ask."""
    try:
        Rules.parse(stored).check_scheme(scheme, options)
    except WrongRules as error:
        raise serializers.ValidationError({f"rules.{error.field}": error.message}) from None
