"""Prompts: plain `{{ path }}` substitution, in linear time, with no language behind it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from apps.pipelines.expressions import to_json
from apps.pipelines.payload import PrepareError

if TYPE_CHECKING:
    from apps.pipelines.redaction.masking import Masking

MAX_TEMPLATE_CHARS = 50_000
MAX_PROMPT_CHARS = 500_000
MAX_PATH_CHARS = 200
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)|\[(-?\d{1,6})\]|\"([^\"\n]+)\"")
# What looks like the beginning of a tag, and up to where its name begins.
_BRACKET = re.compile("[<＜﹤‹〈⟨〈]")
_OPENING = re.compile(_BRACKET.pattern + r"[\W_]{0,12}(?=(\w))")
_MARKER_NAME, _DISGUISE_CHARS = "eventdata", 80
# Nobody sees them, models read them: tag letters, variation selectors, invisible operators, marks
# that turn the direction of text, zero-width spaces. Joiners stay: Persian, Hindi, emoji need them.
_UNSEEN = re.compile(
    "[\u200b\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)

Step = str | int


class WrongPrompt(ValueError):
    """Not a prompt; `str()` is a sentence for a form."""

    code = "wrong_prompt"
    permanent = True
    retry_after_s: float | None = None


class PromptValueMissing(PrepareError):
    code = "prompt_value_missing"


class PromptTooLong(PrepareError):
    code = "prompt_too_long"


@dataclass(frozen=True)
class Path:
    """`user.emails[0]`, `"odd name".x` or `@` (the whole payload)."""

    text: str
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The last name on the way, `emails` of `user.emails[0]`; empty for none."""
        return next((step for step in reversed(self.steps) if isinstance(step, str)), "")

    def get(self, payload: Any) -> Any:
        """The value it leads to; raises `PromptValueMissing`. A null that is there is a value."""
        value = payload
        try:
            for step in self.steps:
                value = _follow(value, step)
        except (KeyError, IndexError, TypeError):
            raise PromptValueMissing(
                f"The prompt asks for {self.text}, which the payload does not have."
            ) from None
        return value


def _follow(value: Any, step: Step) -> Any:
    if isinstance(step, str) and isinstance(value, dict):
        return value[step]
    if isinstance(step, int) and isinstance(value, list):
        return value[step]
    raise TypeError


def parse_path(text: str) -> Path:
    """Raises `WrongPrompt`."""
    if text == "@":
        return Path(text, ())
    steps: list[Step] = []
    position = 0
    while position < len(text):
        if steps and text[position] == ".":
            position += 1
            match = _STEP.match(text, position) if text[position : position + 1] != "[" else None
        else:
            match = _STEP.match(text, position)
            if match and steps and match[2] is None:
                match = None  # two names need a dot between them
        if match is None:
            raise WrongPrompt(f"“{text[:MAX_PATH_CHARS]}” is not a path such as user.emails[0].")
        steps.append(int(match[2]) if match[2] is not None else match[1] or match[3])
        position = match.end()
    if not steps:
        raise WrongPrompt("{{ }} is empty: put a path such as user.name between the braces.")
    return Path(text, tuple(steps))


@lru_cache(maxsize=500)
def compile_prompt(template: str) -> tuple[str | Path, ...]:
    """The template as texts and paths; raises `WrongPrompt`."""
    if len(template) > MAX_TEMPLATE_CHARS:
        raise WrongPrompt(f"It is longer than {MAX_TEMPLATE_CHARS:,} characters.")
    if not template.strip():
        raise WrongPrompt("It is empty.")
    first, *rest = template.split("{{")
    parts: list[str | Path] = [first]
    for piece in rest:
        path, closed, text = piece.partition("}}")
        if not closed:
            raise WrongPrompt("A {{ has no }} after it.")
        parts += [parse_path(path.strip()), text]
    return tuple(parts)


def render(template: str, payload: Any, masking: Masking | None = None) -> str:
    """The prompt for this payload, each value marked as data; raises `PrepareError`.

    Text is put in as it is but for what nobody sees, null as nothing, everything else as JSON, each
    masked if so asked.
    Values are never read as templates again.
    """
    parts = compile_prompt(template)
    paths = list(dict.fromkeys(part for part in parts if isinstance(part, Path)))
    values = [path.get(payload) for path in paths]
    if masking:
        values = masking.mask(
            [(path.name, value) for path, value in zip(paths, values, strict=True)]
        )
    texts = {path: _mark(value) for path, value in zip(paths, values, strict=True)}
    out: list[str] = []
    size = 0
    for part in parts:
        text = part if isinstance(part, str) else texts[part]
        size += len(text)
        if size > MAX_PROMPT_CHARS:
            raise PromptTooLong(f"The prompt has more than {MAX_PROMPT_CHARS:,} characters.")
        out.append(text)
    return "".join(out)


def _mark(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else to_json(value)
    # A payload that writes the marker itself must not end its own quotation.
    return f"<event_data>{_OPENING.sub(_disarm, clean(text))}</event_data>"


def _disarm(opening: re.Match[str]) -> str:
    """With `[` for `<`, if a marker begins there, also one in disguise: `＜/ＥVENT - data`."""
    if not _fold(opening[1]).startswith("e"):
        return opening[0]
    start = opening.start()
    name = _fold(opening.string[start : start + _DISGUISE_CHARS])
    return _BRACKET.sub("[", opening[0]) if name.startswith(_MARKER_NAME) else opening[0]


def _fold(text: str) -> str:
    """Letters and digits alone, in the form that they look alike in."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded))


def clean(text: str) -> str:
    """Text that UTF-8 and every database can hold, and that a person would see as the model does:
    no lone surrogate, no NUL, nothing invisible."""
    if text.isascii():
        return text.replace("\x00", "\ufffd")
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _UNSEEN.sub("", paired).replace("\x00", "\ufffd")
