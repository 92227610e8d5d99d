"""The labelled texts, and how many of their labels the finders hide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apps.pipelines.redaction.config import Redaction
from apps.pipelines.redaction.finding import Finder, merge
from apps.pipelines.redaction.kinds import KINDS
from apps.pipelines.redaction.spans import Span, Text

FILES = (Path(__file__).with_name("labelled.txt"), Path(__file__).with_name("held_out.txt"))
_TAG = re.compile(r"<(email|phone|card|iban|id)>(.*?)</\1>", re.DOTALL)
_KINDS = {"id": "national_id"}


@dataclass(frozen=True)
class Labelled:
    """`labels` are what must be masked in `text`; none in a text that is to stay as it is."""

    text: str
    labels: tuple[Span, ...]


@dataclass
class Figures:
    """One kind. Labels count as hidden where no character of theirs is left to be read."""

    labels: int = 0
    hidden: int = 0
    found: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.hidden / self.labels if self.labels else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0


def read_labelled(file: Path) -> list[Labelled]:
    """One text a line; empty lines and those that begin with `# ` tell nothing."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [_read(line) for line in lines if line.strip() and not line.startswith("# ")]


def _read(line: str) -> Labelled:
    rest, text, labels = line.replace("\\n", "\n"), "", []
    while match := _TAG.search(rest):
        text += rest[: match.start()]
        kind = _KINDS.get(match[1], match[1])
        labels.append(Span(len(text), len(text) + len(match[2]), kind))
        text += match[2]
        rest = rest[match.end() :]
    return Labelled(text + rest, tuple(labels))


def measure(texts: Sequence[Labelled], redaction: Redaction | None = None) -> dict[str, Figures]:
    """Figures by kind, every text by itself."""
    redaction = redaction or Redaction(kinds=KINDS)
    figures = {kind: Figures() for kind in KINDS}
    for each in texts:
        spans = merge(Finder(redaction).find(Text(each.text)))
        for label in each.labels:
            _count_label(figures[label.name], each, label, spans)
        for span in spans:
            _count_span(figures[span.name], each, span)
    return figures


def _count_label(counts: Figures, each: Labelled, label: Span, spans: list[Span]) -> None:
    covered = {at for span in spans for at in range(span.start, span.end)}
    value = each.text[label.start : label.end]
    open_ = [at for at in range(label.start, label.end) if at not in covered]
    counts.labels += 1
    if any(each.text[at].isalnum() for at in open_):
        counts.missed.append(f"{value!r} in {each.text!r}")
    else:
        counts.hidden += 1


def _count_span(counts: Figures, each: Labelled, span: Span) -> None:
    counts.found += 1
    if any(_is_right(label, span) for label in each.labels):
        counts.right += 1
    else:
        counts.wrong.append(f"{each.text[span.start : span.end]!r} in {each.text!r}")


def _is_right(label: Span, span: Span) -> bool:
    overlaps = label.start < span.end and span.start < label.end
    return overlaps and label.name == span.name
