"""The ready pipelines: their files say nothing that could not be published, asked and answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.destinations.models import Destination
from apps.pipelines.json_schema import OffSchema, Schema
from apps.pipelines.prepare import is_strict, prepare
from apps.pipelines.prompt import Path, compile_prompt
from apps.pipelines.ready import FOLDER, SLUGS, ReadyPipeline, get_ready_pipelines
from apps.pipelines.transform import transform


@pytest.fixture(params=SLUGS)
def ready(request: pytest.FixtureRequest) -> ReadyPipeline:
    return get_ready_pipelines()[request.param]


def test_every_file_is_one_of_them() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(SLUGS)


def test_each_has_samples_and_a_small_labelled_set(ready: ReadyPipeline) -> None:
    assert 5 <= len(ready.samples) <= 8
    assert 10 <= len(ready.labelled) <= 15


def test_each_path_of_the_prompt_leads_to_something_in_a_sample(ready: ReadyPipeline) -> None:
    paths = [part for part in compile_prompt(ready.config["prompt"]) if isinstance(part, Path)]
    assert paths
    shaped = [transform(ready.config["transform"], sample) for sample in ready.samples]
    for path in paths:
        assert any(path.get(payload) for payload in shaped), path.text


def test_the_answer_fits_the_schema_and_labels_fit_its_fields(ready: ReadyPipeline) -> None:
    schema = ready.config["output_schema"]
    assert is_strict(schema)
    Schema(schema).check(ready.answer)
    for row in ready.labelled:
        Schema(schema).check(ready.answer | row.expected)
    with pytest.raises(OffSchema):
        Schema(schema).check(ready.answer | {"surprise": 1})


def test_each_label_that_can_be_counted_is_seen(ready: ReadyPipeline) -> None:
    """A set in which a class never comes up says nothing about it."""
    name, field = next(iter(ready.config["output_schema"]["properties"].items()))
    if name == "intent":
        field = {"enum": ["question", "complaint", "request", "thanks"]}  # `other` is the rest
    assert {row.expected.get(name) for row in ready.labelled} >= set(field["enum"])


@pytest.mark.database
def test_each_sample_and_each_labelled_payload_becomes_a_request(
    ready: ReadyPipeline, inbox: Destination
) -> None:
    version = ready.start(None, ready.slug, ready.name, inbox).current_version
    assert version
    assert ready.name in version.note
    payloads = [*ready.samples, *(row.payload for row in ready.labelled)]
    for payload in payloads:
        assert prepare(version, json.dumps(payload).encode(), "application/json"), payload
    assert prepare(version, b"{}", "application/json") is None  # the filter does look


@pytest.mark.database
def test_what_is_suggested_is_masked(inbox: Destination) -> None:
    ready = get_ready_pipelines()["email-drafting"]
    version = ready.start(None, "mail", "Mail", inbox).current_version
    assert version
    sample: Any = ready.samples[0]
    request = prepare(version, json.dumps(sample).encode(), "application/json")
    assert request
    asked = request.body["messages"][-1]["content"]
    assert "[FIELD_1]" in asked
    assert request.hidden["[FIELD_1]"] == sample["sender"]["name"]


def test_a_file_that_cannot_be_published_is_noticed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.pipelines import ready as module

    text = (FOLDER / "lead-scoring.toml").read_text().replace("{{ message }}", "{{ message")
    (tmp_path / "lead-scoring.toml").write_text(text)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="prompt"):
        module._read("lead-scoring")
