"""One draft, versions that never change, and two editors who can't overwrite each other."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from apps.accounts.models import User
from apps.destinations.models import Destination
from apps.pipelines.models import (
    DraftConflict,
    DraftUnusable,
    Pipeline,
    PipelineDraft,
    PipelineVersion,
)


def change(pipeline: Pipeline, **changes: Any) -> dict[str, Any]:
    return {**pipeline.get_draft().config, **changes}


def test_a_pipeline_without_a_draft_begins_one_with_its_current_version(triage: Pipeline) -> None:
    draft = triage.get_draft()
    assert not draft.is_saved
    assert draft.token == "v1"
    assert triage.current_version
    assert draft.get_version().get_values() == triage.current_version.get_values()
    assert not PipelineDraft.objects.exists()


def test_a_draft_is_saved_again_and_again_and_is_no_version(triage: Pipeline, alice: User) -> None:
    first = triage.save_draft(alice, "v1", change(triage, prompt="Sort: {{ text }}"))
    second = triage.save_draft(alice, first.token, change(triage, max_output_tokens=7))
    assert second.token != first.token
    assert second.edited_by == alice
    version = triage.get_draft().get_version()
    assert (version.prompt, version.max_output_tokens) == ("Sort: {{ text }}", 7)
    assert triage.versions.count() == 1


def test_the_second_of_two_editors_is_told_and_changes_nothing(
    triage: Pipeline, alice: User
) -> None:
    begun = triage.save_draft(alice, "v1", change(triage, prompt="Alice: {{ text }}"))
    for stale in ("v1", "somebody's"):
        with pytest.raises(DraftConflict, match="alice has changed the draft"):
            triage.save_draft(None, stale, change(triage, prompt="Other: {{ text }}"))
    assert triage.get_draft().config["prompt"] == "Alice: {{ text }}"
    assert triage.get_draft().token == begun.token


def test_a_draft_that_was_published_meanwhile_is_not_begun_again(triage: Pipeline) -> None:
    mine = triage.save_draft(None, "v1", change(triage, prompt="One: {{ text }}"))
    triage.publish_draft(None, mine.token, replaces=1)
    for stale in (mine.token, "v1"):
        with pytest.raises(DraftConflict, match="triage v2 is published"):
            triage.save_draft(None, stale, change(triage, prompt="Late: {{ text }}"))


def test_a_discarded_draft_and_a_new_one_are_two(triage: Pipeline) -> None:
    first = triage.save_draft(None, "v1", change(triage))
    triage.discard_draft(first.token)
    second = triage.save_draft(None, "v1", change(triage))
    with pytest.raises(DraftConflict):
        triage.save_draft(None, first.token, change(triage, prompt="x"))
    with pytest.raises(DraftConflict):
        triage.discard_draft(first.token)
    assert triage.get_draft().token == second.token


def test_publishing_makes_the_draft_the_next_version(triage: Pipeline, alice: User) -> None:
    draft = triage.save_draft(alice, "v1", change(triage, prompt="Sort: {{ text }}"))
    version = triage.publish_draft(alice, draft.token, replaces=1, note="Shorter")
    triage.refresh_from_db()
    assert triage.current_version == version
    assert (version.number, version.prompt) == (2, "Sort: {{ text }}")
    assert (version.created_by, version.note) == (alice, "Shorter")
    assert not triage.get_draft().is_saved


def test_what_is_published_replaces_the_version_that_was_seen(triage: Pipeline) -> None:
    draft = triage.save_draft(None, "v1", change(triage, prompt="Mine: {{ text }}"))
    assert triage.current_version
    triage.publish(**triage.current_version.get_values() | {"prompt": "API: {{ text }}"})
    with pytest.raises(DraftConflict, match="Version 2 was published meanwhile"):
        triage.publish_draft(None, draft.token, replaces=1)
    assert triage.publish_draft(None, draft.token, replaces=2).number == 3


def test_a_draft_that_changed_is_not_published_as_what_it_was(triage: Pipeline) -> None:
    seen = triage.save_draft(None, "v1", change(triage, prompt="Seen: {{ text }}"))
    triage.save_draft(None, seen.token, change(triage, prompt="Unseen: {{ text }}"))
    with pytest.raises(DraftConflict):
        triage.publish_draft(None, seen.token, replaces=1)
    assert triage.versions.count() == 1


def test_rolling_back_publishes_the_older_content_as_a_new_version(
    triage: Pipeline, alice: User
) -> None:
    assert triage.current_version
    first = triage.current_version.get_values()
    triage.publish(**first | {"prompt": "Worse: {{ text }}"})
    version = triage.roll_back(alice, 1, replaces=2, note="Too many wrong labels")
    assert version.number == 3
    assert version.get_values() == first
    assert version.note == "Rolled back to v1: Too many wrong labels"
    with pytest.raises(DraftConflict):
        triage.roll_back(alice, 1, replaces=2)
    with pytest.raises(PipelineVersion.DoesNotExist):
        triage.roll_back(alice, 9, replaces=3)


def test_a_draft_whose_destination_is_gone_says_so(triage: Pipeline) -> None:
    other = Destination.objects.create(slug="other", name="Other", kind="inbox")
    draft = triage.save_draft(None, "v1", change(triage, destination_id=other.pk))
    other.delete()
    with pytest.raises(DraftUnusable, match="Choose another"):
        triage.publish_draft(None, draft.token, replaces=1)
    assert triage.get_draft().token == draft.token


def test_a_draft_holds_every_field_of_a_version(triage: Pipeline) -> None:
    """Also those that somebody adds later: what is left out is lost by publishing."""
    about = {"id", "pipeline", "number", "created_by", "created_at", "note", "needs"}
    fields = {field.name for field in PipelineVersion._meta.get_fields() if field.concrete}
    assert set(triage.current_version.get_values()) == fields - about  # type: ignore[union-attr]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_begun", [False, True])
def test_of_many_who_save_at_once_one_has_it(triage: Pipeline, is_begun: bool) -> None:
    token = triage.save_draft(None, "v1", change(triage)).token if is_begun else "v1"
    together = threading.Barrier(8)
    saved: list[str] = []
    refused: list[DraftConflict] = []

    def save(number: int) -> None:
        pipeline = Pipeline.objects.get(pk=triage.pk)
        config = change(pipeline, prompt=f"{number}: {{{{ text }}}}")
        together.wait(10)
        try:
            saved.append(pipeline.save_draft(None, token, config).config["prompt"])
        except DraftConflict as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(refused) == 7
    assert saved == [triage.get_draft().config["prompt"]]
