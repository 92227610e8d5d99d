"""A web process writes down the repeats that it has answered."""

from __future__ import annotations

import pytest

from apps.llm import duplicate_keeper
from apps.llm.models import DuplicateHour
from apps.sources.models import Source
from tests.ingest.conftest import Hooks
from tests.waiting import wait_until


@pytest.fixture
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicate_keeper, "INTERVAL_S", 0.1)


@pytest.mark.usefixtures("_in_a_hurry")
def test_repeats_are_written_down_while_the_process_runs(hooks: Hooks, helpdesk: Source) -> None:
    for _ in range(4):
        hooks.post(event_id="msg_1")
    hooks.post(event_id="msg_2")
    written = DuplicateHour.objects.filter(source=helpdesk, duplicates=3)
    wait_until(written.all().exists, 10, "three repeats of four posts")
