"""The page of batches, and an event that waits in one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.accounts.models import User
from apps.llm.batch_models import LLMBatch
from apps.llm.costs import add_up
from apps.pipelines.models import Pipeline
from tests.api.clients import assert_problem, with_token
from tests.fixtures.batches import MakeWaiting, let_time_pass, run_round, take_step
from tests.fixtures.fake_llm import FakeLLM
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_a_pipeline_that_may_wait_it_says_how_to_begin(sign_in: Browse, vera: User) -> None:
    html = text_of(sign_in(vera).get("/batches/"))
    assert "No batch yet" in html
    assert "Hours an answer may wait" in html


def test_with_one_it_says_when_the_first_leaves(
    sign_in: Browse, vera: User, patient: Pipeline
) -> None:
    html = text_of(sign_in(vera).get("/batches/"))
    assert "leaves a few minutes after a call" in html


def test_it_shows_what_waits_and_what_batches_saved(
    sign_in: Browse, vera: User, make_waiting: MakeWaiting
) -> None:
    make_waiting("e1")
    run_round(2)
    make_waiting("e2")
    html = text_of(sign_in(vera).get("/batches/"))
    assert "Waiting for a batch" in html
    assert ">test-model</td>" in html
    assert ">Finished</span>" in html
    assert html.count(">$0.60</") == 3  # its cost, what it saved, and what all saved


def test_a_batch_that_was_not_taken_says_why(
    sign_in: Browse, vera: User, make_waiting: MakeWaiting, fake_llm: FakeLLM
) -> None:
    make_waiting("e1")
    fake_llm.desk.plan("upload", "404")
    run_round()
    html = text_of(sign_in(vera).get("/batches/"))
    assert "The provider refused the request (HTTP 404)." in html
    assert "1 unpaid" in html


def test_older_batches_are_on_the_next_page(
    sign_in: Browse, vera: User, make_waiting: MakeWaiting
) -> None:
    make_waiting("e1")
    run_round()
    batch = LLMBatch.objects.get()
    let_time_pass(hours=1)
    LLMBatch.objects.bulk_create(
        [LLMBatch(model=f"m{number}", due_at=batch.due_at) for number in range(50)]
    )
    html = text_of(sign_in(vera).get("/batches/"))
    assert "test-model" not in html
    older = html.partition('href="?before=')[2].partition('"')[0]
    assert "test-model" in text_of(sign_in(vera).get(f"/batches/?before={older}"))
    assert text_of(sign_in(vera).get("/batches/?before=nonsense"))


def test_a_stranger_sees_nothing(sign_in: Browse, charlie: User) -> None:
    assert sign_in(charlie).get("/batches/").status_code == 302


def test_an_event_says_that_it_waits_since_when_and_until_when(
    sign_in: Browse, vera: User, make_waiting: MakeWaiting
) -> None:
    event = make_waiting("e1")
    html = text_of(sign_in(vera).get(f"/events/{event.public_id}/"))
    assert "its call waits for the next batch" in html
    assert "Waits in a batch" in html
    assert "Discard…" not in html
    run_round()
    html = text_of(sign_in(vera).get(f"/events/{event.public_id}/"))
    assert "its call is in a batch of the provider" in html
    run_round()
    take_step(event)
    html = text_of(sign_in(vera).get(f"/events/{event.public_id}/"))
    assert "goes on by itself" not in html.partition("Timeline")[0]
    assert "Saved by the batch" in html


def test_support_discards_an_event_that_waits(
    sign_in: Browse, bob: User, make_waiting: MakeWaiting
) -> None:
    event = make_waiting("e1")
    client = sign_in(bob)
    assert "Discard…" in text_of(client.get(f"/events/{event.public_id}/"))
    client.post(f"/events/{event.public_id}/discard/")
    event.refresh_from_db()
    assert event.status == "discarded"


def test_the_costs_say_what_batches_saved(
    sign_in: Browse, vera: User, make_waiting: MakeWaiting
) -> None:
    make_waiting("e1")
    run_round(2)
    add_up()
    html = text_of(sign_in(vera).get("/costs/"))
    assert "Saved by batches" in html
    total = with_token(vera, "events:read").get("/api/v1/costs/").json()["total"]
    assert Decimal(total["batch_saved_usd"]) == Decimal("0.6")


def test_the_api_lists_them(vera: User, make_waiting: MakeWaiting) -> None:
    event = make_waiting("e1")
    run_round(2)
    api = with_token(vera, "events:read")
    (batch,) = api.get("/api/v1/batches/").json()["results"]
    assert (batch["state"], batch["size"], batch["answered"]) == ("finished", 1, 1)
    assert (batch["cost_usd"], batch["saved_usd"]) == ("0.600000", "0.600000")
    assert api.get(f"/api/v1/batches/{batch['id']}/").json() == batch
    assert api.get(f"/api/v1/events/{event.public_id}/").json()["waiting_until"] is None
    assert_problem(with_token(vera, "config:read").get("/api/v1/batches/"), 403)


def test_a_fault_of_ours_is_shown_on_the_page_and_by_the_api(
    vera: User, make_waiting: MakeWaiting, sign_in: Browse
) -> None:
    make_waiting("e1")
    run_round()
    LLMBatch.objects.update(problem="A fault of ours (KeyError): the log says where.", faults=1)
    assert "A fault of ours (KeyError)" in text_of(sign_in(vera).get("/batches/"))
    (batch,) = with_token(vera, "events:read").get("/api/v1/batches/").json()["results"]
    assert batch["problem"].startswith("A fault of ours")


def test_metrics_count_the_calls_that_wait(make_waiting: MakeWaiting) -> None:
    from prometheus_client import generate_latest

    from apps.housekeeping.metrics import get_registry

    make_waiting("e1"), make_waiting("e2")
    text = generate_latest(get_registry()).decode()
    assert 'pipeline_llm_batch_calls{state="gathered"} 2.0' in text
    run_round()
    text = generate_latest(get_registry()).decode()
    assert 'pipeline_llm_batch_calls{state="sent"} 2.0' in text
    assert "pipeline_llm_batches_unknown 0.0" in text
