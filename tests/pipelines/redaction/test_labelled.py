"""What the finders find of the labelled texts. `python -m bench.redaction` prints the figures."""

from __future__ import annotations

import pytest

from apps.pipelines.redaction.config import Redaction
from apps.pipelines.redaction.kinds import KINDS, PHONE
from tests.pipelines.redaction.labelled import FILES, Figures, measure, read_labelled

TEXTS = [text for file in FILES for text in read_labelled(file)]
# A little below what was measured, so that a better library version does not break the build.
RECALL = {"email": 0.97, "phone": 0.97, "card": 0.95, "iban": 0.96, "national_id": 0.97}
PRECISION = {"email": 0.95, "phone": 0.97, "card": 0.97, "iban": 0.97, "national_id": 0.96}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    return measure(TEXTS)


def test_there_are_many_texts_with_and_without_something_to_mask() -> None:
    with_labels = sum(bool(text.labels) for text in TEXTS)
    assert len(TEXTS) >= 350
    assert with_labels >= 200
    assert len(TEXTS) - with_labels >= 100


@pytest.mark.parametrize("kind", KINDS)
def test_what_should_be_hidden_is_hidden(figures: dict[str, Figures], kind: str) -> None:
    assert figures[kind].recall >= RECALL[kind], "\n".join(figures[kind].missed)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_should_be(figures: dict[str, Figures], kind: str) -> None:
    assert figures[kind].precision >= PRECISION[kind], "\n".join(figures[kind].wrong)


def test_a_country_that_is_not_asked_for_is_not_looked_at() -> None:
    german = measure(TEXTS, Redaction(kinds=(PHONE,), countries=("DE",)))[PHONE]
    assert 0 < german.recall < measure(TEXTS, Redaction(kinds=(PHONE,)))[PHONE].recall
