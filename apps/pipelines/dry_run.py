"""A dry run: a draft on one event, one paid call, nothing delivered, the event untouched."""

from __future__ import annotations

from dataclasses import dataclass

from apps.events.models import Event, EventBody
from apps.events.payload import pretty_json
from apps.llm.provider import LLMError
from apps.llm.trial import DRY_RUN, Trial, try_once
from apps.pipelines.approval import find_reason, read_approval
from apps.pipelines.models import PipelineVersion
from apps.pipelines.payload import PrepareError, read_payload
from apps.pipelines.prepare import prepare

FILTERED = "The draft's filter leaves this event out: the model is not asked."


@dataclass(frozen=True)
class DryRun:
    """`trial` where there was a call; else `sentence` says why not."""

    trial: Trial | None = None
    sentence: str = ""
    held: str = ""  # why the answer would wait for a person; a dry run itself holds nothing

    @property
    def shown_answer(self) -> str:
        return show_answer(self.trial.answer) if self.trial else ""


def run_dry(event: Event, version: PipelineVersion) -> DryRun:
    """Ask the model for this event, as `version` would. Must not run inside a transaction."""
    body = EventBody.objects.get(event=event)
    try:
        request = prepare(version, bytes(body.raw), body.content_type)
        if request is None:
            return DryRun(sentence=FILTERED)
        trial = try_once(event, version, request, DRY_RUN, again=True)
        return DryRun(trial, held="" if trial.problem else find_hold(version, trial.answer, body))
    except (PrepareError, LLMError) as error:
        return DryRun(sentence=str(error))


def show_answer(answer: object) -> str:
    return answer if isinstance(answer, str) else pretty_json(answer)


def find_hold(version: PipelineVersion, answer: object, body: EventBody) -> str:
    """Why the answer would wait for a person; empty where it would not."""
    approval = read_approval(version.approval)
    return find_reason(approval, answer, lambda: read_payload(bytes(body.raw), body.content_type))
