"""What may be a rule, and what is told where it may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sources.rules import RULE_NAMES, Rules, WrongRules

RULES: dict[str, Any] = {
    "max_depth": 10,
    "max_keys": 1000,
    "unique_keys": True,
    "schema": {"type": "object"},
    "schema_action": "quarantine",
    "event_types": ["invoice.paid", "order.*"],
    "addresses": ["192.0.2.0/24", "2001:db8::/32"],
    "rate_per_minute": 600.0,
    "rate_burst": 50,
    "address_rate_per_minute": 60.0,
    "address_rate_burst": 5,
    "replay_window_s": 60.0,
    "answer": "own",
    "answer_status": 202,
    "answer_type": "application/json",
    "answer_body": '{"ok": true}',
    "ordering_key": "customer.id || id",
    "paused_status": 410,
    "paused_text": "This address is closed.",
}


def test_the_default_is_everything_off() -> None:
    assert Rules.parse({}) == Rules()
    assert Rules().get_changed() == {}


def test_all_rules_are_read_as_they_were_written() -> None:
    assert set(RULES) == set(RULE_NAMES)
    rules = Rules.parse(RULES)
    assert rules.to_json() == rules.get_changed() == RULES
    assert Rules.parse(rules.get_changed()) == rules


def test_addresses_are_kept_as_networks() -> None:
    rules = Rules.parse({"addresses": [" 192.0.2.7 ", "192.0.2.9/24", "2001:DB8::1", "192.0.2.7"]})
    assert rules.addresses == ("192.0.2.7/32", "192.0.2.0/24", "2001:db8::1/128")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_depth", 0, "from 1 to 200"),
        ("max_depth", True, "whole number"),
        ("max_depth", 2.5, "whole number"),
        ("max_keys", "10", "whole number"),
        ("unique_keys", 1, "true or false"),
        ("schema", "{}", "JSON object"),
        ("schema", {"type": "objekt"}, "draft 2020-12"),
        ("schema", {"$ref": "https://example.com/"}, "inside the schema"),
        ("schema", {"pattern": "(?=a)"}, "linear time"),
        ("schema_action", "drop", "reject, quarantine"),
        ("event_types", "invoice.paid", "list of texts"),
        ("event_types", ["a*b"], "at the end"),
        ("event_types", [""], "1 to 200"),
        ("event_types", ["x"] * 201, "200 entries"),
        ("addresses", ["example.com"], "no IP address"),
        ("addresses", ["192.0.2.0/33"], "no IP address"),
        ("addresses", [7], "list of texts"),
        ("rate_per_minute", 0, "number from 0.1"),
        ("rate_per_minute", float("nan"), "number from 0.1"),
        ("rate_per_minute", True, "number from 0.1"),
        ("rate_burst", 10, "how many a minute"),
        ("address_rate_burst", 10, "how many a minute"),
        ("replay_window_s", 0, "number from 1"),
        ("replay_window_s", 10**400, "number from 1"),
        ("answer", "xml", "default, empty"),
        ("answer_status", 201, "200, 202, 204"),
        ("answer_status", True, "200, 202, 204"),
        ("answer_type", "text/xml\r\nset-cookie: a=b", "media type"),
        ("answer_body", "x" * 4001, "4,000"),
        ("answer_body", "\ud800", "no text"),
        ("ordering_key", "a[", "JMESPath"),
        ("paused_status", 200, "503, 410, 403"),
        ("paused_text", "a\nb", "one line"),
        ("colour", "red", "no such rule"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(field: str, value: Any, words: str) -> None:
    with pytest.raises(WrongRules) as caught:
        Rules.parse({field: value})
    assert caught.value.field == field
    assert words in caught.value.message


def test_an_answer_204_has_no_body() -> None:
    with pytest.raises(WrongRules, match="answer_body"):
        Rules.parse({"answer": "own", "answer_status": 204, "answer_body": "x"})


@pytest.mark.parametrize("given", [None, [], "rules", 7])
def test_anything_but_an_object_is_refused(given: Any) -> None:
    with pytest.raises(WrongRules):
        Rules.parse(given)


@pytest.mark.parametrize(
    ("scheme", "options", "has_one"),
    [
        ("stripe", {}, True),
        ("slack", {}, True),
        ("github", {}, False),
        ("hmac", {}, False),
        ("hmac", {"signed": "{timestamp}.{body}", "timestamp_header": "X-Time"}, True),
        ("hmac", {"timestamp_path": "sent_at"}, True),
        ("no-such-scheme", {}, False),
    ],
)
def test_a_replay_window_needs_a_signed_timestamp(
    scheme: str, options: dict[str, Any], has_one: bool
) -> None:
    rules = Rules.parse({"replay_window_s": 60})
    if has_one:
        rules.check_scheme(scheme, options)
        assert rules.apply_to(options)["tolerance_s"] == 60
    else:
        with pytest.raises(WrongRules, match="signs no timestamp"):
            rules.check_scheme(scheme, options)


@given(
    st.dictionaries(
        st.sampled_from(RULE_NAMES),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_whatever_is_written_is_read_or_refused(given: dict[str, Any]) -> None:
    try:
        rules = Rules.parse(given)
    except WrongRules:
        return
    assert Rules.parse(rules.to_json()) == rules
