"""Is the model's answer what the pipeline asked for?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from apps.llm.provider import Completion
from apps.pipelines.json_schema import NotCheckable, OffSchema, Schema
from apps.pipelines.prepare import PreparedRequest
from apps.pipelines.redaction.placeholders import UnmaskedTooLarge, unmask

MAX_ANSWER_CHARS = 500_000
PROBLEMS = {
    "answer_empty": "The model gave no answer.",
    "answer_refused": "The model refused to answer.",
    "answer_truncated": "The answer was cut off: the pipeline's token limit is too low for it.",
    "answer_failed": "The provider gave up in the middle of its answer, and counts it.",
    "answer_cancelled": "The answer was cancelled at the provider, which counts what it had done.",
    "answer_too_large": "The answer was too large to be read.",
    "answer_not_json": "The answer is not JSON.",
    "answer_not_text": "The answer holds characters that are no text.",
    "answer_off_schema": "The answer does not fit the schema.",
}
# Paid, and broken off: another call may well be answered.
STOPPED = ("answer_failed", "answer_cancelled")
_FENCE = re.compile(r"\A```[a-zA-Z]*\s*\n(.*?)\n?\s*```\Z", re.DOTALL)


class UnfitAnswer(ValueError):
    """The text is not the answer asked for. `code` says how; `str()` quotes nothing of it.

    `place` is where in the schema, `properties/category/enum`; empty for another problem.
    """

    def __init__(self, code: str, message: str, place: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.place = place


def read_completion(completion: Completion, request: PreparedRequest) -> tuple[object, str, str]:
    """Answer, problem (a machine word, or nothing) and its sentence."""
    if completion.problem:
        return None, completion.problem, PROBLEMS[completion.problem]
    try:
        return read_answer(completion.text, request.output_schema, request.hidden), "", ""
    except UnfitAnswer as error:
        return None, error.code, str(error)


def read_answer(text: str, schema: dict[str, Any], hidden: Mapping[str, str] | None = None) -> Any:
    """The text itself without a schema, else the JSON in it; raises `UnfitAnswer`.

    `hidden` are the values that the answer's marks stand for: what is checked is what will be
    delivered.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise UnfitAnswer("answer_too_large", f"It is longer than {MAX_ANSWER_CHARS:,} characters.")
    if not schema:
        plain: str = _restore(text, hidden or {})
        _check_text(plain)
        return plain
    answer = _restore(_parse(text), hidden or {})
    _check_texts(answer)
    _check_fits(answer, schema)
    return answer


def _restore(answer: Any, hidden: Mapping[str, str]) -> Any:
    try:
        return unmask(answer, hidden)
    except UnmaskedTooLarge as error:
        raise UnfitAnswer("answer_too_large", str(error)) from None
    except RecursionError:
        raise UnfitAnswer("answer_not_json", "The answer is nested too deeply.") from None


def _parse(text: str) -> Any:
    stripped = text.strip()
    if fenced := _FENCE.match(stripped):
        stripped = fenced[1]
    try:
        return json.loads(stripped, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnfitAnswer("answer_not_json", "The answer is not JSON.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _check_texts(answer: Any) -> None:
    pending = [answer]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            _check_text(part)
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            pending += [*part, *part.values()]
        elif isinstance(part, float) and part in (float("inf"), float("-inf")):
            raise UnfitAnswer("answer_not_json", "The answer holds a number beyond all bounds.")


def _check_text(text: str) -> None:
    # Neither can be stored or sent on: UTF-8 has no lone surrogates, PostgreSQL no NUL.
    if "\x00" in text or not _is_utf8(text):
        raise UnfitAnswer("answer_not_text", "The answer holds characters that are no text.")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_fits(answer: Any, schema: dict[str, Any]) -> None:
    try:
        _get_schema(json.dumps(schema, sort_keys=True)).check(answer)
    except OffSchema as error:
        # The place in the schema, not in the answer: only the former was written by the author.
        raise UnfitAnswer(
            "answer_off_schema",
            f"The answer does not fit the schema at {error.place}.",
            error.place,
        ) from None
    except NotCheckable:
        raise UnfitAnswer(
            "answer_not_checked", "The answer can't be checked against the schema."
        ) from None


@lru_cache(maxsize=200)
def _get_schema(schema: str) -> Schema:
    return Schema(json.loads(schema))
