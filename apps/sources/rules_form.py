"""The form of a source's rules: plain words in groups, each with its default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.events.payload import pretty_json
from apps.sources.models import Source
from apps.sources.rule_sentences import ANSWER_LABELS, PAUSED_LABELS
from apps.sources.rules import ANSWER_STATUSES, Rules, WrongRules

CODE = {"class": "pa-code-input", "spellcheck": "false"}
LISTS = ("event_types", "addresses")
NUMBERS = ("answer_status", "paused_status")


def _lines(**kwargs: Any) -> forms.CharField:
    widget = UnfoldAdminTextareaWidget({**CODE, "rows": 4})
    return forms.CharField(required=False, widget=widget, **kwargs)


def _whole(**kwargs: Any) -> forms.IntegerField:
    return forms.IntegerField(
        required=False, widget=UnfoldAdminTextInputWidget({"inputmode": "numeric"}), **kwargs
    )


def _number(**kwargs: Any) -> forms.FloatField:
    return forms.FloatField(
        required=False, widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}), **kwargs
    )


def _text(**kwargs: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=UnfoldAdminTextInputWidget(), **kwargs)


def _choice(choices: Any, attrs: dict[str, str] | None = None, **kwargs: Any) -> forms.ChoiceField:
    # Not required: it always has a value, and a star would be no help.
    widget = UnfoldAdminSelectWidget(attrs)
    return forms.ChoiceField(choices=choices, required=False, widget=widget, **kwargs)


class JsonTextField(forms.CharField):
    """JSON as it was typed; an error says where it ends to be JSON."""

    widget = UnfoldAdminTextareaWidget({**CODE, "rows": 12})

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        try:
            return json.loads(text) if text else None
        except json.JSONDecodeError as error:
            raise forms.ValidationError(
                f"It is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
            ) from None
        except (ValueError, RecursionError):
            raise forms.ValidationError("It is not JSON, or nested too deeply.") from None


@dataclass(frozen=True)
class Group:
    """Fields under one heading; `own` are shown only for an answer of one's own."""

    name: str
    title: str
    note: str
    fields: list[forms.BoundField]
    own: list[forms.BoundField]


# (name, heading, what it means, its fields)
GROUPS = (
    (
        "senders",
        "Who may send, and how often",
        "An address and its rate are asked before the body is read, the rate of all senders once "
        "the signature is right. A request beyond a rate is answered 429 and told when to come "
        "again; most senders do.",
        (
            *("addresses", "rate_per_minute", "rate_burst"),
            *("address_rate_per_minute", "address_rate_burst"),
        ),
    ),
    (
        "events",
        "Which events",
        "Asked once the signature is right.",
        ("event_types", "replay_window_s", "ordering_key"),
    ),
    (
        "bodies",
        "What a body may look like",
        "Bodies larger than the source's limit are refused in any case, and so is what is no JSON "
        "where JSON is announced. A request that is refused here is kept under Refused requests.",
        ("max_depth", "max_keys", "unique_keys", "schema", "schema_action"),
    ),
    (
        "answer",
        "What an accepted event is answered",
        "The answer leaves when the event is on disk. A duplicate gets the same.",
        ("answer", "answer_status", "answer_type", "answer_body"),
    ),
    (
        "paused",
        "What a paused source answers",
        "Never as if an event had been taken in.",
        ("paused_status", "paused_text"),
    ),
)
OWN = ("answer_status", "answer_type", "answer_body")


class RulesForm(forms.Form):
    """Fields have the names of `Rules`; `rules` are what was typed, once it `is_valid`."""

    rules = Rules()

    addresses = _lines(
        label="Addresses that may send",
        help_text="One a line: 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32. Empty: everybody. "
        "Behind a proxy, name it in FORWARDED_ALLOW_IPS, or every sender has its address.",
    )
    rate_per_minute = _number(
        label="Requests a minute",
        help_text="Of all senders together, whose signature is right. Empty: no limit.",
    )
    rate_burst = _whole(
        label="At once", help_text="So many may come in one moment. Empty: ten seconds' worth."
    )
    address_rate_per_minute = _number(
        label="Requests a minute from each address",
        help_text="So that one sender can't use up the limit of all. Empty: no limit.",
    )
    address_rate_burst = _whole(
        label="At once from each address", help_text="Empty: ten seconds' worth."
    )
    event_types = _lines(
        label="Event types",
        help_text="One a line, with a * at the end or without: invoice.paid, invoice.*. Others are "
        "answered 200 and ignored, so that their sender does not repeat them. Empty: all.",
    )
    replay_window_s = _number(
        label="Replay window in seconds",
        help_text="How far a signed timestamp may lie from now. Empty: as the scheme says.",
    )
    ordering_key = _text(
        label="Ordering key",
        help_text="JMESPath over the body, for example customer.id: events with the same value go "
        "through one shard of the queue, in order. Empty: each event for itself.",
    )
    max_depth = _whole(
        label="Levels of objects and lists",
        help_text="From 1 to 200. Empty: as many as can be read.",
    )
    max_keys = _whole(label="Names in all objects", help_text="Empty: as many as the body holds.")
    unique_keys = forms.BooleanField(
        label="Refuse an object that has a name twice",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Two readers of such a body may see different events. Default: it is taken.",
    )
    schema = JsonTextField(
        label="JSON Schema",
        required=False,
        help_text="Draft 2020-12. A $ref stays inside; patterns are RE2's. Empty: any body.",
    )
    schema_action = _choice(
        [
            ("reject", "Refuse it (422)"),
            ("quarantine", "Take it in (202) and hold it until a person looks"),
        ],
        label="A body that does not fit",
    )
    answer = _choice(
        list(ANSWER_LABELS.items()),
        {"x-model": "answer"},
        label="Answer",
        help_text="Twilio, for example, reads every answer as TwiML.",
    )
    answer_status = _choice([(status, status) for status in ANSWER_STATUSES], label="Status")
    answer_type = _text(label="Content-Type")
    answer_body = forms.CharField(
        label="Body",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget({**CODE, "rows": 3}),
    )
    paused_status = _choice(
        list(PAUSED_LABELS.items()),
        label="Answer while paused",
        help_text="After a 410, some providers delete the webhook on their side.",
    )
    paused_text = _text(
        label="With this text", help_text="One line for whoever reads the sender's log."
    )

    def __init__(self, source: Source, data: Any = None, *, may_change: bool = True) -> None:
        self._source = source
        super().__init__(data, initial=_get_initial(source))
        for field in self.fields.values():
            field.disabled = not may_change

    def get_groups(self) -> Iterator[Group]:
        """As the page shows them."""
        for name, title, note, names in GROUPS:
            fields = [self[each] for each in names if each not in OWN]
            own = [self[each] for each in names if each in OWN]
            yield Group(name, title, note, fields, own)

    def get_wrong(self) -> list[forms.BoundField]:
        """The fields with an error, for links to them."""
        return [field for field in self if field.errors]

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = {name: value for name, value in self._get_given() if name not in self.errors}
        for name, value in given.items():
            try:
                Rules.parse({name: value})
            except WrongRules as error:
                # What is only wrong beside another field is told below.
                if error.field == name and not name.endswith("_burst"):
                    self.add_error(name, error.message)
        if not self.errors:
            self._check_together(given)
        return self.cleaned_data

    def _check_together(self, given: dict[str, Any]) -> None:
        try:
            self.rules = Rules.parse(given)
            self.rules.check_scheme(self._source.scheme, self._source.options)
        except WrongRules as error:
            self.add_error(error.field or None, error.message)

    def _get_given(self) -> Iterator[tuple[str, Any]]:
        """The fields as `Rules.parse` wants them; what is empty is left out."""
        for name, value in self.cleaned_data.items():
            if name in LISTS:
                value = [line.strip() for line in value.splitlines() if line.strip()]
            elif name in NUMBERS:
                value = int(value) if value else None
            elif name == "answer_body":
                value = value.replace("\r\n", "\n")
            if value not in (None, ""):
                yield name, value


def _get_initial(source: Source) -> dict[str, Any]:
    try:
        initial = Rules.parse(source.rules).to_json()
    except WrongRules:
        initial = Rules().to_json()  # the source's page says so; saving mends it
    for name in LISTS:
        initial[name] = "\n".join(initial[name])
    for name, value in initial.items():
        if isinstance(value, float) and value.is_integer():
            initial[name] = int(value)
    initial["schema"] = pretty_json(initial["schema"]) if initial["schema"] else ""
    return initial
