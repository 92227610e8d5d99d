"""Which label of a list fits a text, asked of a model too small to be asked outright.

Such a model, told to answer in JSON, writes whatever it likes best. So each label is scored
instead: how likely the model finds it after the prompt, less how likely it finds it anyway, where
the event's text is replaced by one that says nothing (contextual calibration, Zhao et al. 2021).
Lines of the prompt that name a label are left out for that: a small model repeats what it read.
"""

from __future__ import annotations

import copy
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

CONTENT_FREE = ("N/A", "", "[MASK]")
MAX_LABELS = 64
MAX_LABEL_CHARS = 100
MAX_CALIBRATIONS = 256
_DATA = re.compile(r"<event_data>.*?</event_data>", re.DOTALL)
_HOLE = "\x00"

Scores = dict[str, float]


class LanguageModel(Protocol):
    """What is asked of the model's server."""

    def tokenize(self, text: str) -> list[int]: ...

    def fill_template(self, messages: list[dict[str, Any]]) -> str: ...

    def get_logprobs(self, prompt: list[int], tokens: Sequence[int]) -> dict[int, float]:
        """The logarithm of each token's probability to come next."""
        ...


@dataclass(frozen=True)
class Question:
    """A request's messages: those before the last, its text with holes, and what fills them."""

    before: list[dict[str, Any]]
    text: str
    data: list[str]

    def leave_out(self, labels: Sequence[str]) -> Question:
        """Without the lines that name one of `labels`; a line with data of the event stays."""
        names = {name for label in labels for name in (label, get_words(label)) if name}
        pattern = re.compile(
            rf"(?<!\w)(?:{'|'.join(re.escape(name) for name in names)})(?!\w)", re.IGNORECASE
        )
        lines = self.text.split("\n")
        kept = [line for line in lines if _HOLE in line or not pattern.search(line)]
        return Question(self.before, "\n".join(kept).strip(), self.data)

    def get_messages(self, content_free: str | None = None) -> list[dict[str, Any]]:
        """To be sent; with `content_free` in place of everything that the event says."""
        parts = self.text.split(_HOLE)
        data = self.data
        if content_free is not None:
            data = [f"<event_data>{content_free}</event_data>"] * len(data)
        filled = parts[0] + "".join(a + b for a, b in zip(data, parts[1:], strict=True))
        return [*self.before, {"role": "user", "content": filled}]


def read_question(messages: Any) -> Question | None:
    """None where the last message is not a person's text with an event's data in it."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    content = last.get("content")
    if not isinstance(content, str):
        return None
    content = content.replace(_HOLE, " ")
    data = _DATA.findall(content)
    return Question(messages[:-1], _DATA.sub(_HOLE, content), data) if data else None


def find_labels(schema: Any) -> dict[str, list[str]]:
    """The labels of each property of the answer that must be one of a list of texts."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    required = schema.get("required") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    found = {name: _read_enum(properties[name]) for name in properties if name in required}
    return {name: labels for name, labels in found.items() if labels}


def _read_enum(field: Any) -> list[str]:
    labels = field.get("enum") if isinstance(field, dict) else None
    if not isinstance(labels, list) or not 2 <= len(labels) <= MAX_LABELS:
        return []
    if not set(field) <= {"enum", "type", "title", "description"}:
        return []  # another rule may forbid a label
    if not all(isinstance(each, str) and 0 < len(each) <= MAX_LABEL_CHARS for each in labels):
        return []
    return labels if len({get_words(each) for each in labels}) == len(labels) else []


def set_labels(schema: dict[str, Any], chosen: dict[str, str]) -> dict[str, Any]:
    """The schema that leaves only the rest of the answer open."""
    fixed = copy.deepcopy(schema)
    for name, label in chosen.items():
        fixed["properties"][name] = {"const": label}
    return fixed


def get_words(name: str) -> str:
    """`card_arrival` as a person would write it."""
    return " ".join(re.split(r"[\s_]+", name)).strip()


class Chooser:
    """Chooses labels. Calibrations are remembered: they are the same for every event."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._known: OrderedDict[tuple[Any, ...], Scores] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, question: Question, name: str, labels: list[str]) -> tuple[str, int]:
        """The label for the property `name`, and how many tokens were looked at."""
        question = question.leave_out(labels)
        scores, looked_at = self._score(question.get_messages(), name, labels)
        usual, more = self._calibrate(question, name, labels)
        return max(labels, key=lambda label: scores[label] - usual[label]), looked_at + more

    def _calibrate(self, question: Question, name: str, labels: list[str]) -> tuple[Scores, int]:
        asked = [question.get_messages(text) for text in CONTENT_FREE]
        key = (name, tuple(labels), repr(asked))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key], 0
        each = [self._score(messages, name, labels) for messages in asked]
        usual = {label: sum(scores[label] for scores, _ in each) / len(each) for label in labels}
        with self._lock:
            self._known[key] = usual
            while len(self._known) > MAX_CALIBRATIONS:
                self._known.popitem(last=False)
        return usual, sum(looked_at for _, looked_at in each)

    def _score(
        self, messages: list[dict[str, Any]], name: str, labels: list[str]
    ) -> tuple[Scores, int]:
        """The logarithm of each label's probability after `Name:`, and the tokens looked at."""
        begun = f"{self._model.fill_template(messages)}{get_words(name).capitalize()}:"
        prompt = self._model.tokenize(begun)
        spelled = {label: self._model.tokenize(f" {get_words(label)}") for label in labels}
        following: dict[tuple[int, ...], set[int]] = {}
        for tokens in spelled.values():
            for place, token in enumerate(tokens):
                following.setdefault(tuple(tokens[:place]), set()).add(token)
        # Sorted, so that the server finds most of each prompt in its cache.
        known = {
            way: self._model.get_logprobs([*prompt, *way], sorted(following[way]))
            for way in sorted(following)
        }
        scores = {
            label: sum(known[tuple(tokens[:at])][token] for at, token in enumerate(tokens))
            for label, tokens in spelled.items()
        }
        return scores, sum(map(len, following.values()))
