"""A dry run: a draft on one event or sample, one paid call, nothing delivered or changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.events.payload import pretty_json
from apps.llm.models import Subject
from apps.llm.provider import LLMError
from apps.llm.trial import DRY_RUN, Trial, try_once
from apps.pipelines.approval import find_reason, read_approval
from apps.pipelines.labels import meets
from apps.pipelines.models import PipelineVersion, Sample
from apps.pipelines.payload import PrepareError, read_payload
from apps.pipelines.prepare import prepare
from apps.pipelines.samples import read_body

FILTERED = "The draft's filter leaves this {} out: the model is not asked."
BODY_GONE = "Its body is gone: there is nothing to ask."


@dataclass(frozen=True)
class DryRun:
    """`trial` where there was a call; else `sentence` says why not.

    `expected` is what a labelled sample's answer should say.
    """

    trial: Trial | None = None
    sentence: str = ""
    held: str = ""  # why the answer would wait for a person; a dry run itself holds nothing
    expected: Any = None

    @property
    def shown_answer(self) -> str:
        return show_answer(self.trial.answer) if self.trial else ""

    @property
    def is_right(self) -> bool | None:
        """None where nobody knows."""
        if self.expected is None or self.trial is None or self.trial.problem:
            return None
        return meets(self.trial.answer, self.expected)


def run_dry(subject: Subject, version: PipelineVersion) -> DryRun:
    """Ask the model for it, as `version` would. Must not run inside a transaction."""
    body = read_body(subject)
    if body is None:
        return DryRun(sentence=BODY_GONE)
    is_sample = isinstance(subject, Sample)
    try:
        request = prepare(version, *body)
        if request is None:
            return DryRun(sentence=FILTERED.format("sample" if is_sample else "event"))
        trial = try_once(subject, version, request, DRY_RUN, again=True)
    except (PrepareError, LLMError) as error:
        return DryRun(sentence=str(error))
    held = "" if trial.problem else find_hold(version, trial.answer, body)
    expected = subject.expected if isinstance(subject, Sample) else None
    return DryRun(trial, held=held, expected=expected)


def show_answer(answer: object) -> str:
    return answer if isinstance(answer, str) else pretty_json(answer)


def find_hold(version: PipelineVersion, answer: object, body: tuple[bytes, str]) -> str:
    """Why the answer would wait for a person; empty where it would not."""
    approval = read_approval(version.approval)
    return find_reason(approval, answer, lambda: read_payload(*body))
