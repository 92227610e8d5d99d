"""The rules of a source, as its senders meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

import pipeline_admin.asgi
from apps.ingest.answers import IGNORED
from apps.ingest.app import Ingest
from apps.ingest.gate import make_gate
from apps.ingest.refusals import RepeatedName
from apps.sources.models import Secret, Source
from apps.sources.rules import Rules
from apps.sources.schemes import Request, Verified
from tests.ingest.conftest import BODY, Hooks, code_of, sign
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Ruled = Callable[..., None]


@pytest.fixture
def ruled(hooks: Hooks, helpdesk: Source) -> Ruled:
    """Gives the helpdesk these rules, and waits until ingest has heard of them."""

    def ruled(**rules: Any) -> None:
        helpdesk.rules = Rules.parse(rules).get_changed()
        helpdesk.save()
        registry = pipeline_admin.asgi.ingest.registry
        wait_until(lambda: registry.sources["helpdesk"].row.rules == helpdesk.rules, 5)

    return ruled


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"source": "helpdesk", **labels}) or 0.0


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "good", "bad", "code"),
    [
        ({"max_depth": 2}, b'{"a": [1, 2]}', b'{"a": [[]]}', "too_deep"),
        ({"max_depth": 50}, b"[" * 50 + b"]" * 50, b"[" * 150 + b"]" * 150, "too_deep"),
        ({"max_keys": 2}, b'[{"a": 1}, {"a": 2}]', b'{"a": {"b": {"c": 1}}}', "too_many_names"),
        ({"unique_keys": True}, b'[{"a": 1}, {"a": 2}]', b'{"a": 1, "a": 1}', "repeated_name"),
        ({"unique_keys": True}, b'{"a": {"a": 1}}', b'{"a": 1, "\\u0061": 1}', "repeated_name"),
        ({"unique_keys": True}, b'["\\ud800"]', b'[{"a": 1, "a": "\\ud800"}]', "repeated_name"),
    ],
)
def test_json_is_taken_within_its_limits(
    hooks: Hooks, ruled: Ruled, rules: dict[str, Any], good: bytes, bad: bytes, code: str
) -> None:
    ruled(**rules)
    assert hooks.post(good, "msg_good").status_code == 202
    assert code_of(hooks.post(bad, "msg_bad")) == (400, f"json_{code}")
    assert [entry.body for entry in hooks.entries()] == [good]


def test_json_inside_a_form_is_looked_at_too() -> None:
    gate = make_gate(Rules.parse({"unique_keys": True}), "1", IGNORED)
    assert gate is not None
    headers = {b"content-type": b"multipart/form-data; boundary=xYz"}

    def check(field: bytes) -> None:
        part = b'content-disposition: form-data; name="json"\r\n\r\n' + field
        body = b"--xYz\r\n" + part + b"\r\n--xYz--\r\n"
        gate.check(Request("POST", "", headers, body, 0.0), Verified(0, None, ""), b"key")

    check(b'{"a": 1, "b": 1}')
    check(b'{"a": "\\ud800"}')
    with pytest.raises(RepeatedName):
        check(b'{"a": 1, "a": 2}')


def test_a_body_off_the_schema_is_refused_and_its_place_is_told(hooks: Hooks, ruled: Ruled) -> None:
    ruled(schema={"required": ["text"], "properties": {"text": {"type": "string"}}})
    assert hooks.post().status_code == 202
    refused = hooks.post(b'{"text": 4711}', "msg_2")
    assert code_of(refused) == (422, "off_schema")
    assert "properties/text/type" in refused.json()["detail"]
    assert "4711" not in refused.text


def test_a_body_off_the_schema_waits_for_a_person_where_the_rule_says_so(
    hooks: Hooks, ruled: Ruled
) -> None:
    ruled(schema={"required": ["amount"]}, schema_action="quarantine")
    hooks.post(b'{"amount": 1}', "msg_1")
    assert hooks.post(b"{}", "msg_2").status_code == 202
    fits, waits = hooks.entries()
    assert fits.quarantine == ""
    assert waits.quarantine == "The body does not fit the source's JSON Schema at required."


def test_a_schema_that_takes_too_long_is_given_up(hooks: Hooks, ruled: Ruled) -> None:
    ruled(schema={"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}})
    body = b'{"a": ' * 60 + b"{}" + b"}" * 60
    assert code_of(hooks.post(body)) == (422, "off_schema")


# --- Event types --------------------------------------------------------------------------------


def test_a_type_that_is_not_wanted_is_answered_and_not_taken_in(hooks: Hooks, ruled: Ruled) -> None:
    ruled(event_types=["invoice.paid", "ticket.*"])
    before = count("pipeline_ingest_ignored_total")
    for number, wanted in enumerate(("invoice.paid", "ticket.created", "ticket.")):
        body = json.dumps({"type": wanted}).encode()
        assert hooks.post(body, f"msg_{number}").status_code == 202
    for number, other in enumerate(("invoice.paid.late", "invoice", "Ticket.created", "")):
        ignored = hooks.post(json.dumps({"type": other}).encode(), f"other_{number}")
        assert (ignored.status_code, ignored.json()) == (200, {"ignored": True})
    assert len(hooks.entries()) == 3
    assert count("pipeline_ingest_ignored_total") == before + 4
    assert count("pipeline_ingest_rejected_total", reason="event_ignored") == 0


def test_a_provider_that_wants_its_own_answer_gets_it_for_an_ignored_event_too(
    hooks: Hooks, ruled: Ruled
) -> None:
    ruled(event_types=["invoice.*"], answer="twiml")
    ignored = hooks.post()
    assert (ignored.status_code, ignored.text) == (200, "<Response/>")
    assert hooks.entries() == []


# --- Senders ------------------------------------------------------------------------------------


def test_a_sender_from_elsewhere_is_refused_before_its_body_is_read(
    hooks: Hooks, ruled: Ruled
) -> None:
    ruled(addresses=["192.0.2.0/24"])
    assert code_of(hooks.post()) == (403, "address_not_allowed")
    assert code_of(hooks.post(b"not even read", content_encoding="gzip"))[0] == 403
    ruled(addresses=["192.0.2.0/24", "127.0.0.0/8"])
    assert hooks.post().status_code == 202


def test_the_senders_address_is_the_one_that_the_proxy_saw(hooks: Hooks, ruled: Ruled) -> None:
    ruled(addresses=["192.0.2.0/24"])  # the test itself is the proxy: 127.0.0.1
    assert hooks.post(x_forwarded_for="192.0.2.7").status_code == 202
    assert hooks.post(x_forwarded_for="192.0.2.7, 203.0.113.9").status_code == 403
    assert hooks.post(x_forwarded_for="unknown").status_code == 403
    refused = hooks.client.post(
        "/hooks/helpdesk",
        content=BODY,
        headers=sign(BODY, "msg_2") | {"x_forwarded_for": "192.0.2.7"},
    )
    assert refused.status_code == 403


def test_who_is_no_proxy_is_not_believed(hooks: Hooks, ruled: Ruled, settings: Any) -> None:
    ruled(addresses=["192.0.2.0/24"])
    settings.FORWARDED_ALLOW_IPS = "10.0.0.1"
    pipeline_admin.asgi.ingest.proxies = Ingest().proxies
    assert hooks.post(x_forwarded_for="192.0.2.7").status_code == 403


# --- Time and order -----------------------------------------------------------------------------


def test_a_replay_window_is_narrower_or_wider_than_the_schemes(hooks: Hooks, ruled: Ruled) -> None:
    assert hooks.post(event_id="msg_1", age_s=100).status_code == 202
    ruled(replay_window_s=60)
    assert code_of(hooks.post(event_id="msg_2", age_s=100)) == (401, "stale_timestamp")
    ruled(replay_window_s=3600)
    assert hooks.post(event_id="msg_3", age_s=1000).status_code == 202


def test_a_window_without_a_timestamp_closes_the_source_instead_of_doing_nothing(
    hooks: Hooks, helpdesk: Source
) -> None:
    source = Source.objects.create(
        slug="shop",
        name="Shop",
        scheme="github",
        rules={"replay_window_s": 60},
        pipeline=helpdesk.pipeline,
    )
    Secret.objects.create(source=source, value="s3cret")
    wait_until(lambda: hooks.post(path="/hooks/shop").status_code == 503, 5)
    assert code_of(hooks.post(path="/hooks/shop")) == (503, "source_broken")


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("customer.id", b"c-7"),
        ("customer.number", b"42"),
        ("join('-', [customer.id, 'x'])", b"c-7-x"),
        ("customer.active", None),
        ("customer", None),
        ("nothing", None),
        ("abs(customer.id)", None),
    ],
)
def test_an_ordering_key_chooses_the_shard(
    hooks: Hooks, ruled: Ruled, monkeypatch: pytest.MonkeyPatch, expression: str, key: bytes | None
) -> None:
    ruled(ordering_key=expression)
    seen: list[bytes] = []
    queue = pipeline_admin.asgi.ingest.queue
    append = queue.append

    def note(slug: bytes, ordering_key: bytes, *rest: Any) -> Any:
        seen.append(ordering_key)
        return append(slug, ordering_key, *rest)

    monkeypatch.setattr(queue, "append", note)
    body = b'{"customer": {"id": "c-7", "number": 42, "active": true}}'
    assert hooks.post(body, "msg_1").status_code == 202
    assert seen == [key or b"msg_1"]


# --- Answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "status", "media_type", "text"),
    [
        ({"answer": "empty"}, 200, None, ""),
        ({"answer": "no_content"}, 204, None, ""),
        ({"answer": "twiml"}, 200, "text/xml", "<Response/>"),
        (
            {
                "answer": "own",
                "answer_status": 202,
                "answer_type": "application/json",
                "answer_body": '{"ok": "ä"}',
            },
            202,
            "application/json",
            '{"ok": "ä"}',
        ),
        ({"answer": "own", "answer_status": 204}, 204, None, ""),
    ],
)
def test_a_source_answers_as_its_provider_wants(
    hooks: Hooks,
    ruled: Ruled,
    rules: dict[str, Any],
    status: int,
    media_type: str | None,
    text: str,
) -> None:
    ruled(**rules)
    for _ in range(2):  # the duplicate too, on the same connection
        answer = hooks.post()
        assert (answer.status_code, answer.text) == (status, text)
        assert answer.headers.get("content-type") == media_type
        assert status != 204 or "content-length" not in answer.headers
    assert len(hooks.entries()) == 1


def test_a_refusal_is_told_as_ever_where_the_answer_is_ones_own(hooks: Hooks, ruled: Ruled) -> None:
    ruled(answer="twiml")
    assert code_of(hooks.post(age_s=301)) == (401, "stale_timestamp")


@pytest.mark.parametrize(
    ("status", "code", "tries_again"),
    [(503, "source_paused", True), (410, "source_gone", False), (403, "source_closed", False)],
)
def test_a_paused_source_answers_as_its_rule_says(
    hooks: Hooks, helpdesk: Source, ruled: Ruled, status: int, code: str, tries_again: bool
) -> None:
    ruled(paused_status=status, paused_text="We have moved.")
    assert hooks.post().status_code == 202
    helpdesk.pause()
    wait_until(lambda: hooks.post().status_code == status, 5)
    answer = hooks.post()
    assert code_of(answer) == (status, code)
    assert answer.json()["detail"] == "We have moved."
    assert ("retry-after" in answer.headers) == tries_again


# --- A stranger ---------------------------------------------------------------------------------


def test_a_stranger_learns_nothing_of_the_rules_and_has_nothing_parsed(
    hooks: Hooks, ruled: Ruled, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled(max_depth=1, event_types=["x"], schema={"type": "object"}, answer="twiml")
    monkeypatch.setattr("apps.ingest.gate.Gate.check", None)
    bad = sign(b"another body", "msg_1")
    for body in (b"[[[]]]", b"{", b'{"type": "y"}'):
        answer = hooks.client.post("/hooks/helpdesk", content=body, headers=bad)
        assert code_of(answer) == (401, "bad_signature")


def test_rules_that_cannot_be_read_close_the_source(hooks: Hooks, helpdesk: Source) -> None:
    Source.objects.filter(pk=helpdesk.pk).update(rules={"colour": "red"})
    wait_until(lambda: hooks.post().status_code == 503, 5)
    assert code_of(hooks.post()) == (503, "source_broken")


def test_a_source_without_rules_has_no_gate(hooks: Hooks, ruled: Ruled) -> None:
    source = pipeline_admin.asgi.ingest.registry.sources["helpdesk"]
    assert source.gate is None
    assert source.is_plain


def test_only_a_rule_about_senders_needs_the_long_way(hooks: Hooks, ruled: Ruled) -> None:
    registry = pipeline_admin.asgi.ingest.registry
    ruled(max_depth=5)
    assert registry.sources["helpdesk"].is_plain
    ruled(rate_per_minute=60)
    assert not registry.sources["helpdesk"].is_plain
