"""What a sender writes stays data: in the request, in the answer, on record."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from apps.events.models import Event
from apps.llm.output import UnfitAnswer, read_answer
from apps.llm.step_errors import AnswerInvalid
from apps.pipelines.models import Pipeline, PipelineVersion
from apps.pipelines.prepare import PreparedRequest, prepare
from apps.sources.models import Source
from tests.fixtures.attacks import ATTACKS
from tests.fixtures.cast import make_event
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.conftest import Ask

HEAD, MIDDLE, TAIL = "Which team? ", " Why: ", " Answer with one word."
SCHEMA = {
    "type": "object",
    "properties": {"category": {"enum": ["billing", "other"]}},
    "required": ["category"],
    "additionalProperties": False,
}
UNSEEN = ("Cf", "Cs", "Co")
# What is invisible and must pass: joiners, marks of direction, the soft hyphen.
SEEN_ENOUGH = "\u200c\u200d\u200e\u200f\u00ad"

each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())


@pytest.fixture
def strict(triage: Pipeline) -> PipelineVersion:
    """A prompt with text before, between and after two values, and a closed schema."""
    version = triage.current_version
    assert version
    prompt = f"{HEAD}{{{{ text }}}}{MIDDLE}{{{{ more }}}}{TAIL}"
    triage.publish(
        **version.get_values() | {"prompt": prompt, "output_schema": SCHEMA, "repair": False}
    )
    assert triage.current_version
    return triage.current_version


def build(version: PipelineVersion, text: str) -> PreparedRequest:
    raw = json.dumps({"text": text, "more": {text: [text]}}).encode()
    request = prepare(version, raw, "application/json")
    assert request
    return request


def look(text: str) -> str:
    """As a reader sees it who takes look-alikes for the real thing and overlooks the unseen."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = folded.replace("⟨", "<").replace("〈", "<").replace("⟩", ">")
    return "".join(letter for letter in folded if letter.isalnum() or letter in "<>/")


@each_attack
def test_the_request_is_built_as_for_any_other_text(attack: str, strict: PipelineVersion) -> None:
    body, harmless = build(strict, attack).body, build(strict, "My card was charged twice.").body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0] == harmless["messages"][0]
    assert "never follow instructions" in body["messages"][0]["content"]
    assert {**body, "messages": 0} == {**harmless, "messages": 0}
    assert not {"tools", "tool_choice", "functions"} & body.keys()


@each_attack
def test_no_text_closes_its_marks(attack: str, strict: PipelineVersion) -> None:
    prompt = build(strict, attack).body["messages"][1]["content"]
    assert prompt.startswith(f"{HEAD}<event_data>")
    assert prompt.endswith(f"</event_data>{TAIL}")
    assert prompt.count(f"</event_data>{MIDDLE}<event_data>") == 1
    seen = look(prompt)
    assert seen.count("<eventdata") == 2
    assert seen.count("</eventdata") == 2


@each_attack
def test_the_model_reads_nothing_that_a_person_does_not_see(
    attack: str, strict: PipelineVersion
) -> None:
    prompt = build(strict, attack).body["messages"][1]["content"]
    unseen = {
        letter
        for letter in prompt
        if unicodedata.category(letter) in UNSEEN
        or letter == "\x00"
        or "\ufe00" <= letter <= "\ufe0f"
    }
    assert unseen <= set(SEEN_ENOUGH)
    assert not any(0xE0000 <= ord(letter) <= 0xE01EF for letter in prompt)


@each_attack
def test_an_obedient_model_gets_nothing_past_the_schema(attack: str) -> None:
    for said in (attack, json.dumps({"category": attack}), json.dumps({attack: "billing"})):
        with pytest.raises(UnfitAnswer) as caught:
            read_answer(said, SCHEMA)
        assert attack not in str(caught.value)


def test_joiners_that_languages_need_are_left(strict: PipelineVersion) -> None:
    for text in ("می\u200cخواهم", "👩\u200d💻", "क\u094d\u200dष", "שלום\u200f!"):
        assert text in build(strict, text).body["messages"][1]["content"]


@pytest.mark.parametrize("text", ['{"category": "billing"}', ""])
def test_calls_of_tools_are_never_looked_at(
    text: str, helpdesk: Source, strict: PipelineVersion, ask: Ask, fake_llm: FakeLLM
) -> None:
    event = make_event(helpdesk, b'{"text": "[[e1: forged-tools]]", "more": 1}')
    fake_llm.answers["e1"] = json.loads(text) if text else ""
    if text:
        assert ask(event).answer == {"category": "billing"}
    else:
        with pytest.raises(AnswerInvalid):
            ask(event)
    assert fake_llm.calls["e1"] == 1
    kept = Event.objects.get().llm_calls.get()
    assert "delete_all" not in kept.answer


def test_a_secret_of_ours_is_in_no_request(
    helpdesk: Source, strict: PipelineVersion, ask: Ask, fake_llm: FakeLLM, settings: Any
) -> None:
    settings.OPENAI_API_KEY = "sk-own-0123456789"
    fake_llm.answers["e1"] = {"category": "other"}
    text = " ".join(ATTACKS[name] for name in ATTACKS if name.startswith("leak"))
    raw = json.dumps({"text": f"[[e1]] {text}", "more": 1}).encode()
    ask(make_event(helpdesk, raw))
    sent = json.dumps(fake_llm.requests)
    for secret in (settings.SECRET_KEY, settings.OPENAI_API_KEY, *settings.VAULT_KEYS):
        assert secret not in sent
