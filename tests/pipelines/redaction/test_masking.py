"""Masking an event's values, and taking the masks off an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.pipelines.payload import PayloadTooDeep
from apps.pipelines.prompt import clean
from apps.pipelines.redaction.config import OwnPattern, Redaction
from apps.pipelines.redaction.kinds import KINDS
from apps.pipelines.redaction.masking import Masking
from apps.pipelines.redaction.placeholders import UnmaskedTooLarge, unmask

ALL = Redaction(kinds=KINDS)
VALUES = [
    "anna@example.com",
    "+49 30 23125123",
    "4242 4242 4242 4242",
    "DE89 3704 0044 0532 0130 00",
    "536-90-4399",
]

MORE = ["0171 3920012", "(415) 555-0101", "+1 415-555-0132", "5555555555554444", "36 574 261 809"]


def mask(value: Any, redaction: Redaction = ALL, name: str = "") -> tuple[Any, dict[str, str]]:
    masking = Masking(redaction)
    [masked] = masking.mask([(name, masking.mask_fields(value))])
    return masked, masking.values


def test_values_become_numbered_marks() -> None:
    masked, values = mask("From anna@example.com to bob@example.com, card 4242 4242 4242 4242")
    assert masked == "From [EMAIL_1] to [EMAIL_2], card [CARD_1]"
    assert values["[EMAIL_2]"] == "bob@example.com"


def test_the_same_value_has_the_same_mark_everywhere_in_the_event() -> None:
    masked, _ = mask({"from": "anna@example.com", "cc": ["bob@example.com", "anna@example.com"]})
    assert masked == {"from": "[EMAIL_1]", "cc": ["[EMAIL_2]", "[EMAIL_1]"]}


def test_keys_and_numbers_are_masked_too() -> None:
    masked, values = mask({"anna@example.com": {"card": 4242424242424242, "total": 42.5}})
    assert masked == {"[EMAIL_1]": {"card": "[CARD_1]", "total": 42.5}}
    assert values["[CARD_1]"] == "4242424242424242"


@pytest.mark.parametrize(
    "field",
    [
        {"phone": 2125550198},
        {"mobilePhone": "2125550198"},
        {"national_number": "4089673333"},
        {"from": "16505551234"},
        {"wa_id": "4917604069012"},
    ],
)
def test_the_name_of_a_field_tells_that_its_digits_are_a_phone_number(field: Any) -> None:
    assert list(mask(field)[0].values()) == ["[PHONE_1]"]


@pytest.mark.parametrize(
    "field",
    [
        {"order": 2125550198},
        {"text": "rows 4512345678"},
        {"phone_number_id": "106540352242922"},
        {"phone_verified_at": 1732441230},
        {"phoneId": "2125550198"},
        {"from": 1732441230, "to": 1732441290},
    ],
)
def test_the_name_of_a_field_tells_that_its_digits_are_none(field: Any) -> None:
    assert mask(field)[0] == field


def test_a_mark_that_the_payload_wrote_itself_is_never_given_away() -> None:
    masked, values = mask("[EMAIL_1] and [email_2] are mine: anna@example.com")
    assert masked == "[EMAIL_1] and [email_2] are mine: [EMAIL_3]"
    assert unmask(masked, values) == "[EMAIL_1] and [email_2] are mine: anna@example.com"


def test_what_was_found_once_is_masked_where_it_would_not_have_been_found() -> None:
    masked, _ = mask({"card": "4242424242424242", "note": "x4242424242424242y"})
    assert masked == {"card": "[CARD_1]", "note": "x[CARD_1]y"}


def test_overlapping_finds_are_hidden_as_one() -> None:
    domain = Redaction(kinds=("email",), patterns=(OwnPattern("COMPANY", "@example.com and more"),))
    masked, values = mask("anna@example.com and more", domain)
    assert list(values.values()) == ["anna@example.com and more"]
    assert masked in values


def test_a_pattern_of_ones_own() -> None:
    orders = Redaction(patterns=(OwnPattern("ORDER", r"ORD-\d{6}"),))
    assert mask("About ORD-123456 and anna@example.com", orders)[0] == (
        "About [ORDER_1] and anna@example.com"
    )


def test_a_pattern_that_would_hang_python_takes_no_time() -> None:
    evil = Redaction(patterns=(OwnPattern("EVIL", r"(a+)+\$"),))
    assert mask("a" * 200_000, evil)[0] == "a" * 200_000


@pytest.mark.timeout(100)  # in linear time it takes a second or two
@pytest.mark.parametrize(
    "piece",
    ["1", "01 02 03 ", "4 1 1 1 ", "DE89 ", "1-", "a@", "+1 ", "tel: 1234567 ", "123-45-6789 "],
)
def test_no_text_keeps_the_finders_busy_for_long(piece: str) -> None:
    mask(piece * (100_000 // len(piece)))


def test_after_too_many_questions_the_form_of_a_number_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_no_plan = "0000 1111 222"
    assert mask(of_no_plan)[0] == of_no_plan
    monkeypatch.setattr("apps.pipelines.redaction.phones.MAX_QUESTIONS", 0)
    assert mask(of_no_plan)[0] == "[PHONE_1]"


def test_a_path_hides_its_whole_value_and_its_name_in_the_text() -> None:
    redaction = Redaction(paths=("customer.name", "customer.address"))
    address = {"street": "Hauptstr. 1"}
    payload = {
        "customer": {"name": "Rosa Marks", "address": address, "plan": None},
        "text": "Rosa Marks wrote; Rosa Marksen did not",
    }
    masked, values = mask(payload, redaction)
    assert masked["customer"] == {"name": "[FIELD_1]", "address": "[FIELD_2]", "plan": None}
    assert masked["text"] == "[FIELD_1] wrote; Rosa Marksen did not"
    assert json.loads(values["[FIELD_2]"]) == address


def test_paths_that_lead_to_one_place_hide_it_once() -> None:
    redaction = Redaction(paths=("a.name", "a.*", "a.name"))
    masked, values = mask({"a": {"name": "Rosa"}}, redaction)
    assert masked == {"a": {"name": "[FIELD_1]"}}
    assert values == {"[FIELD_1]": "Rosa"}


def test_a_pattern_that_fits_a_mark_leaves_it_whole() -> None:
    redaction = Redaction(paths=("name",), patterns=(OwnPattern("WORD", "FIELD"),))
    masked, values = mask({"name": "Rosa", "text": "a FIELD"}, redaction)
    assert masked == {"name": "[FIELD_1]", "text": "a [WORD_1]"}
    assert unmask(masked, values) == {"name": "Rosa", "text": "a FIELD"}


def test_a_large_field_and_many_values_are_hidden_too() -> None:
    large = {"items": [f"part {number} of it" for number in range(5000)]}
    redaction = Redaction(kinds=("email",), paths=("large", "copy"))
    mails = " ".join(f"user{number}@example.com" for number in range(5000))
    payload = {"large": large, "copy": json.dumps(large), "mails": mails, "x": f"({mails})"}
    masked, values = mask(payload, redaction)
    assert masked["large"] == "[FIELD_1]"
    assert masked["mails"].split() == [f"[EMAIL_{number}]" for number in range(1, 5001)]
    assert unmask(masked["x"], values) == f"({mails})"


def test_a_field_that_is_part_of_another_word_hides_no_value_behind_it() -> None:
    redaction = Redaction(kinds=("card",), paths=("name",))
    payload = {"name": "Rosa4242", "card": "4242424242424242", "text": "Rosa4242424242424242"}
    assert mask(payload, redaction)[0]["text"] == "Rosa[CARD_1]"


@pytest.mark.parametrize("between", [" ", "\n", ", ", " / "])
@pytest.mark.parametrize("first", [*VALUES, *MORE])
def test_two_values_side_by_side_are_both_hidden(first: str, between: str) -> None:
    for second in (*VALUES, *MORE):
        masked, values = mask(first + between + second)
        for mark in values:
            masked = masked.replace(mark, "")
        assert not set(masked) - set(between), f"{first}{between}{second} shows {masked}"


def test_null_and_empty_text_have_nothing_to_hide() -> None:
    payload = {"a": None, "b": ""}
    assert mask(payload, Redaction(paths=("a", "b", "c")))[0] == payload


def test_only_marks_of_the_prompt_are_counted() -> None:
    masking = Masking(Redaction(kinds=KINDS, patterns=(OwnPattern("ORDER", r"ORD-\d+"),)))
    [masked] = masking.mask([("", "a@example.com, b@example.com, ORD-1, a@example.com")])
    assert masking.count(masked) == {"email": 2, "pattern": 1}
    assert masking.count("[EMAIL_1]") == {"email": 1}


def test_an_answer_gets_its_values_back_in_every_text_and_key() -> None:
    values = {"[EMAIL_1]": "anna@example.com", "[CARD_1]": "4242"}
    answer = {"to": "[EMAIL_1]", "[email_1]": ["Card [CARD_1]", 1, None, "[PHONE_1]"]}
    assert unmask(answer, values) == {
        "to": "anna@example.com",
        "anna@example.com": ["Card 4242", 1, None, "[PHONE_1]"],
    }


def test_a_value_that_looks_like_a_mark_is_not_unmasked_twice() -> None:
    assert unmask("[FIELD_1]", {"[FIELD_1]": "[EMAIL_1]", "[EMAIL_1]": "x"}) == "[EMAIL_1]"


def test_an_answer_cannot_grow_without_bounds() -> None:
    with pytest.raises(UnmaskedTooLarge):
        unmask("[FIELD_1]" * 1000, {"[FIELD_1]": "x" * 1000})


def test_a_payload_nested_too_deeply_is_refused() -> None:
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(PayloadTooDeep):
        Masking(ALL).mask([("", deep)])


LOOKALIKES = ["[EMAIL_1]", "[email_1]", "[FIELD_1]", "[CARD_2]", "[PHONE_1", "[[EMAIL_1]]", "[]"]
# A prompt holds neither NUL nor half a character, nor what nobody sees, masked or not.
letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(clean)
texts = st.lists(
    st.sampled_from([*VALUES, *LOOKALIKES, "Rosa", " ", "\n", ", ", "tel: "]) | letters, max_size=8
).map("".join)
documents = st.recursive(
    texts | st.none() | st.booleans() | st.integers(-9, 999),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
mine = Redaction(kinds=KINDS, paths=("name", "list[*]"), patterns=(OwnPattern("WORD", "Rosa|tel"),))


@given(documents)
@example({"name": "[FIELD_1]", "list": ["[FIELD_1]", "anna@example.com"]})
def test_unmasking_gives_back_what_was_masked(document: Any) -> None:
    masked, values = mask(document, Redaction(kinds=KINDS, patterns=mine.patterns))
    assert unmask(masked, values) == document


@given(texts, texts)
def test_fields_too_come_back(name: str, text: str) -> None:
    document = {"name": name, "list": [text, {"deep": text}], "text": f"{text} {name}"}
    masked, values = mask(document, Redaction(kinds=KINDS, paths=("name", "list[0]")))
    assert unmask(masked, values) == document


@given(st.lists(st.sampled_from(VALUES), min_size=1), texts)
def test_nothing_that_was_found_is_left_to_read(found: list[str], around: str) -> None:
    document = [f"{around} {value} " for value in found] + ["".join(found)]
    masked, values = mask(document)
    shown = json.dumps(masked, ensure_ascii=False)
    assert [value for value in values.values() if value in shown] == []
    lines = json.dumps(masked[:-1], ensure_ascii=False)
    assert [value for value in found if value in lines] == []
