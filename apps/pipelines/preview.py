"""What a draft would make of a real event: each stage, and the prompt as it would be sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.events.payload import pretty_json
from apps.llm.pricing import get_cost_usd, has_price
from apps.pipelines.filter import is_wanted
from apps.pipelines.models import PipelineVersion
from apps.pipelines.payload import PrepareError, read_payload
from apps.pipelines.prepare import PreparedRequest, prepare
from apps.pipelines.prompt import (
    Path,
    PromptValueMissing,
    WrongPrompt,
    clean,
    compile_prompt,
    parse_path,
)
from apps.pipelines.redaction.config import read_redaction
from apps.pipelines.redaction.kinds import describe_counts
from apps.pipelines.redaction.masking import Masking
from apps.pipelines.transform import transform

MAX_PATHS = 200
MAX_LEVELS = 8
SAMPLE_CHARS = 60
SHOWN_CHARS = 20_000
CHARS_PER_TOKEN = 4  # of English text; other languages and code take more tokens


@dataclass(frozen=True)
class SamplePath:
    """A path that this event has, and the beginning of what stands there."""

    text: str
    sample: str


@dataclass
class Preview:
    """What each stage gave, as far as it came; `problem` is the sentence where it ended.

    `is_wanted` is None where the filter could not be asked. `transformed` is what the prompt's
    paths lead into, fields masked. `unknown` are paths of the prompt that this event lacks.
    """

    is_wanted: bool | None = None
    transformed: str = ""
    paths: list[SamplePath] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    request: PreparedRequest | None = None
    problem: str = ""

    @property
    def prompt(self) -> str:
        return str(self.request.body["messages"][-1]["content"]) if self.request else ""

    @property
    def shown_prompt(self) -> str:
        return _cut(self.prompt, SHOWN_CHARS)

    @property
    def max_output_tokens(self) -> int:
        body = self.request.body if self.request else {}
        return int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)

    @property
    def has_price(self) -> bool:
        return self.request is not None and has_price(self.request.model, self.request.provider)

    @property
    def most_usd(self) -> Decimal:
        """What it costs if the answer is as long as it may be. An estimate, as the tokens are."""
        if self.request is None:
            return Decimal(0)
        return get_cost_usd(
            self.request.model,
            self.input_tokens,
            self.max_output_tokens,
            self.request.provider,
        )

    @property
    def masked_in_words(self) -> str:
        return describe_counts(self.request.masked) if self.request else ""

    @property
    def input_tokens(self) -> int:
        """An estimate: only the provider counts them."""
        if self.request is None:
            return 0
        chars = sum(len(each["content"]) for each in self.request.body["messages"])
        return chars // CHARS_PER_TOKEN + 1


def preview(version: PipelineVersion, raw: bytes, content_type: str) -> Preview:
    """`version` need not be saved. Pays nothing, sends nothing."""
    shown = Preview()
    try:
        _show_stages(shown, version, read_payload(raw, content_type))
        if shown.is_wanted:
            shown.request = prepare(version, raw, content_type)
    except PrepareError as error:
        shown.problem = str(error)
    return shown


def _show_stages(shown: Preview, version: PipelineVersion, payload: Any) -> None:
    """The paths are shown for an event that the filter leaves out, too: it may be the wrong one."""
    shown.is_wanted = not version.filter or is_wanted(version.filter, payload)
    redaction = read_redaction(version.redaction)
    if redaction:
        payload = Masking(redaction).mask_fields(payload)
    if version.transform:
        payload = transform(version.transform, payload)
    shown.transformed = _cut(show_json(payload), SHOWN_CHARS)
    shown.paths = list_paths(payload)
    shown.unknown = find_unknown(version.prompt, payload)


def show_json(value: Any) -> str:
    # A text that happens to be JSON is shown as the text that it is.
    return clean(f'"{value}"' if isinstance(value, str) else pretty_json(value))


def find_unknown(template: str, payload: Any) -> list[str]:
    """Paths in the prompt that lead nowhere in this payload, each once."""
    unknown: dict[str, None] = {}
    try:
        parts = compile_prompt(template)
    except WrongPrompt:
        return []
    for part in parts:
        if isinstance(part, Path):
            try:
                part.get(payload)
            except PromptValueMissing:
                unknown[part.text] = None
    return list(unknown)


def list_paths(payload: Any) -> list[SamplePath]:
    """The paths that a prompt may name, nearest first; of a list, its first item stands for all."""
    paths = [SamplePath("@", "the whole payload")]
    level = [("", payload)]
    for _ in range(MAX_LEVELS):
        level = [below for text, value in level for below in _step_into(text, value)]
        paths += [SamplePath(text, _get_sample(value)) for text, value in level]
        if not level or len(paths) >= MAX_PATHS:
            break
    return paths[:MAX_PATHS]


def _step_into(text: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value:
        yield f"{text}[0]", value[0]
    if not isinstance(value, dict):
        return
    for name in list(value)[:MAX_PATHS]:
        dot = f"{text}." if text else ""
        for written in (f"{dot}{name}", f'{dot}"{name}"'):
            if _leads_to(written, name):
                yield written, value[name]
                break


def _leads_to(written: str, name: str) -> bool:
    """Some names can't be written in a prompt at all."""
    if "{{" in written or "}}" in written or written != written.strip():
        return False
    try:
        return parse_path(written).steps[-1:] == (name,)
    except WrongPrompt:
        return False


def _get_sample(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = value if isinstance(value, str) else pretty_json(value)
    return _cut(clean(text[: SAMPLE_CHARS + 1]), SAMPLE_CHARS)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}…"
