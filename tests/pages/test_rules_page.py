"""A source's rules in the browser: shown, tried on past events, saved."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.sources.models import Source
from apps.sources.rules import Rules
from apps.sources.rules_form import RulesForm
from tests.fixtures.cast import make_event
from tests.pages.conftest import Browse, text_of

FORM: dict[str, Any] = {
    "schema_action": "reject",
    "answer": "default",
    "answer_status": "200",
    "answer_type": "text/plain; charset=utf-8",
    "paused_status": "503",
}


@pytest.fixture
def client(sign_in: Browse, alice: User) -> Client:
    return sign_in(alice)


def get_path(source: Source) -> str:
    return f"/sources/source/{source.pk}/rules/"


def words(response: Any) -> str:
    return html.unescape(text_of(response))


def test_every_rule_has_a_field_with_a_label_and_most_have_help(helpdesk: Source) -> None:
    form = RulesForm(helpdesk)
    assert set(form.fields) == set(Rules().to_json())
    shown = [field.name for group in form.get_groups() for field in (*group.fields, *group.own)]
    assert sorted(shown) == sorted(form.fields)
    without = {name for name, field in form.fields.items() if not field.help_text}
    assert without <= {"schema_action", "answer_status", "answer_type", "answer_body"}


def test_the_empty_form_turns_nothing_on(client: Client, helpdesk: Source) -> None:
    answer = client.post(get_path(helpdesk), FORM, follow=True)
    assert "Nothing was changed." in words(answer)
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}
    assert not AuditEntry.objects.exists()


def test_rules_are_saved_shown_and_audited_with_both_sides(
    client: Client, helpdesk: Source
) -> None:
    typed = FORM | {
        "addresses": "192.0.2.7\r\n 2001:db8::/32 \r\n",
        "event_types": "invoice.*\r\ninvoice.paid",
        "rate_per_minute": "600",
        "rate_burst": "50",
        "unique_keys": "on",
        "schema": '{"type": "object"}',
        "schema_action": "quarantine",
        "answer": "own",
        "answer_status": "202",
        "answer_body": "a\r\nb ",
        "paused_status": "410",
    }
    page = words(client.post(get_path(helpdesk), typed, follow=True))

    helpdesk.refresh_from_db()
    expected = {
        "addresses": ["192.0.2.7/32", "2001:db8::/32"],
        "event_types": ["invoice.*", "invoice.paid"],
        "rate_per_minute": 600.0,
        "rate_burst": 50,
        "unique_keys": True,
        "schema": {"type": "object"},
        "schema_action": "quarantine",
        "answer": "own",
        "answer_status": 202,
        "answer_body": "a\nb ",
        "paused_status": 410,
    }
    assert helpdesk.rules == expected
    assert "The rules are saved" in page
    assert "192.0.2.7/32\n2001:db8::/32" in page
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.object_id) == ("source.rules", "helpdesk")
    assert entry.details["changes"]["rate_per_minute"] == [None, 600.0]

    client.post(get_path(helpdesk), FORM)
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}
    newest = AuditEntry.objects.latest("pk")
    assert newest.details["changes"]["rate_per_minute"] == [600.0, None]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("addresses", "192.0.2.7\nexample.com", "“example.com” is no IP address"),
        ("event_types", "a*b", "a * can only stand at the end"),
        ("rate_per_minute", "fast", "Enter a number"),
        ("rate_per_minute", "0", "number from 0.1"),
        ("rate_burst", "5", "how many a minute"),
        ("max_depth", "1000", "from 1 to 200"),
        ("schema", '{\n"type": }', "It is not JSON: Expecting value, line 2, column 9."),
        ("schema", '{"properties": {"a": {"type": "nmber"}}}', "(at properties/a/type)"),
        ("schema", '{"$ref": "https://example.com/"}', "must stay inside"),
        ("schema", '{"pattern": "(?=a)"}', "linear time"),
        ("schema", "[]", "JSON object"),
        ("schema", '{"a": NaN}', "It is not JSON"),
        ("ordering_key", "a[", "It is not JMESPath"),
        ("answer", "xml", "Select a valid choice"),
        ("answer_type", "text", "media type"),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_nothing_is_saved(
    client: Client, helpdesk: Source, field: str, value: str, told: str
) -> None:
    page = words(client.post(get_path(helpdesk), FORM | {"max_keys": "7", field: value}))
    assert told in page
    assert "Nothing is saved" in page
    assert f'href="#id_{field}"' in page
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}


def test_a_replay_window_is_refused_where_nothing_signs_the_time(
    client: Client, helpdesk: Source
) -> None:
    helpdesk.scheme = "github"
    helpdesk.save()
    page = words(client.post(get_path(helpdesk), FORM | {"replay_window_s": "60"}))
    assert "signs no timestamp" in page


def test_options_that_end_the_timestamp_are_refused_while_a_rule_needs_it(
    client: Client, helpdesk: Source
) -> None:
    helpdesk.scheme = "hmac"
    helpdesk.options = {"timestamp_path": "sent_at"}
    helpdesk.rules = {"replay_window_s": 60.0}
    helpdesk.save()
    path = f"/sources/source/{helpdesk.pk}/change/"
    form = {"name": "Desk", "slug": "helpdesk", "pipeline": helpdesk.pipeline_id}
    defaults = {
        "option_header": "X-Signature",
        "option_signed": "{body}",
        "option_algorithm": "hmac-sha256",
        "option_encoding": "hex",
        "option_key_form": "text",
        "option_timestamp_unit": "seconds",
    }
    page = words(client.post(path, form | defaults))
    assert "Its rules do not go with these options" in page
    helpdesk.refresh_from_db()
    assert helpdesk.options == {"timestamp_path": "sent_at"}


def test_past_events_show_what_the_rules_would_have_done(client: Client, helpdesk: Source) -> None:
    make_event(helpdesk, b'{"amount": 1}', event_type="invoice.paid")
    off = make_event(helpdesk, b'{"amount": "4711"}', event_type="invoice.paid")
    other = make_event(helpdesk, b"{}", event_type="ticket.created")
    deep = make_event(helpdesk, b'{"amount": 1, "a": [[[]]]}', event_type="invoice.paid")
    typed = FORM | {
        "try": "1",
        "event_types": "invoice.*",
        "max_depth": "3",
        "schema": '{"properties": {"amount": {"type": "number"}}}',
        "schema_action": "quarantine",
    }

    page = words(client.post(get_path(helpdesk), typed))

    plain = " ".join(page.split())
    assert "Of the newest 4 events: <strong>1 taken in</strong>, 1 held for a person" in plain
    assert "1 refused, 1 ignored, 0 told to come later" in plain
    for event in (off, other, deep):
        assert f"/events/{event.public_id}/" in page
    assert "properties/amount/type" in page
    assert "more than 3 levels" in page
    assert "4711" not in page
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}


def test_the_rate_is_tried_with_the_times_at_which_events_came(
    client: Client, helpdesk: Source
) -> None:
    for _ in range(5):
        make_event(helpdesk)
    typed = FORM | {"try": "1", "rate_per_minute": "1", "rate_burst": "2"}
    assert "3 told to come later" in words(client.post(get_path(helpdesk), typed))


def test_the_types_of_past_events_are_shown_to_choose_from(
    client: Client, helpdesk: Source
) -> None:
    assert "Types of its newest events" not in words(client.get(get_path(helpdesk)))
    for event_type in ("ticket.created", "", "<b>ticket</b>", "ticket.created"):
        make_event(helpdesk, event_type=event_type)
    page = text_of(client.get(get_path(helpdesk)))
    assert page.count(">ticket.created</code>") == 1
    assert "&lt;b&gt;ticket&lt;/b&gt;" in page


def test_without_events_there_is_nothing_to_try(client: Client, helpdesk: Source) -> None:
    assert "no events yet" in words(client.post(get_path(helpdesk), FORM | {"try": "1"}))


def test_the_page_of_the_source_says_which_rules_are_on(client: Client, helpdesk: Source) -> None:
    path = f"/sources/source/{helpdesk.pk}/change/"
    page = words(client.get(path))
    assert "Every signed event is taken in" in page
    assert get_path(helpdesk) in page
    helpdesk.change_rules(Rules.parse({"addresses": ["192.0.2.1"], "max_depth": 5}).get_changed())
    page = words(client.get(path))
    assert "Only from 192.0.2.1/32." in page
    assert "at most 5 levels" in page


def test_rules_that_cannot_be_read_are_told_and_do_not_break_the_page(
    client: Client, helpdesk: Source
) -> None:
    Source.objects.filter(pk=helpdesk.pk).update(rules={"colour": "red"})
    assert "can't be read" in words(client.get(f"/sources/source/{helpdesk.pk}/change/"))
    assert client.get(get_path(helpdesk)).status_code == 200


def test_support_and_viewers_read_the_rules_and_strangers_do_not(
    sign_in: Browse, helpdesk: Source, bob: User, vera: User, charlie: User
) -> None:
    for user in (bob, vera):
        page = words(sign_in(user).get(get_path(helpdesk)))
        assert "Only an administrator changes rules." in page
        assert ">Save<" not in page
        assert sign_in(user).post(get_path(helpdesk), FORM | {"max_depth": "5"}).status_code == 403
    assert sign_in(charlie).get(get_path(helpdesk)).status_code in (302, 403)
    helpdesk.refresh_from_db()
    assert helpdesk.rules == {}


def test_a_source_that_is_gone_is_not_found(client: Client) -> None:
    assert client.get("/sources/source/4711/rules/").status_code == 404
