"""Providers and models on pages: added by administrators, tested when they are saved."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import User
from apps.audit.models import AuditEntry
from apps.llm.models import Provider, ProviderModel
from apps.pipelines.draft_form import DraftForm
from apps.pipelines.models import Pipeline
from tests.fixtures.fake_llm import FakeLLM
from tests.llm.test_providers import KEY, make_provider
from tests.pages.conftest import Browse, text_of

pytestmark = pytest.mark.django_db
LIST = "/llm/provider/"
MODELS = "/llm/providermodel/"


def fill(llm: FakeLLM, **fields: str) -> dict[str, str]:
    return {"name": "Backup", "slug": "backup", "base_url": llm.base_url, "api_key": KEY} | fields


def test_alice_adds_a_provider_and_is_told_its_models(
    sign_in: Browse, alice: User, second_llm: FakeLLM
) -> None:
    html = text_of(sign_in(alice).post(f"{LIST}add/", fill(second_llm), follow=True))
    assert "1 model: fake" in html
    assert KEY not in html
    assert Provider.objects.get().get_key() == KEY
    entry = AuditEntry.objects.get(action="provider.create")
    assert KEY not in str(entry.details)


def test_what_does_not_answer_is_not_saved(
    sign_in: Browse, alice: User, second_llm: FakeLLM
) -> None:
    second_llm.wants_key = "another"
    html = text_of(sign_in(alice).post(f"{LIST}add/", fill(second_llm)))
    assert "does not take this key" in html
    assert KEY not in html
    assert not Provider.objects.exists()


def test_alice_may_save_it_all_the_same_and_is_warned(
    sign_in: Browse, alice: User, second_llm: FakeLLM
) -> None:
    second_llm.wants_key = "another"
    form = fill(second_llm, skip_test="on")
    html = text_of(sign_in(alice).post(f"{LIST}add/", form, follow=True))
    assert "It is saved, but: The provider does not take this key" in html
    assert Provider.objects.exists()


def test_a_moved_provider_asks_for_its_key(
    sign_in: Browse, alice: User, fake_llm: FakeLLM, second_llm: FakeLLM
) -> None:
    row = make_provider(second_llm.base_url)
    page = f"{LIST}{row.pk}/change/"
    html = text_of(sign_in(alice).post(page, fill(fake_llm, api_key="")))
    assert "is not sent to another host" in html
    assert fake_llm.keys == set()
    assert sign_in(alice).post(page, fill(fake_llm, api_key="sk-other")).status_code == 302
    assert fake_llm.keys == {"sk-other"}


def test_an_empty_key_keeps_the_stored_one_and_a_tick_forgets_it(
    sign_in: Browse, alice: User, second_llm: FakeLLM
) -> None:
    row = make_provider(second_llm.base_url)
    page = f"{LIST}{row.pk}/change/"
    assert sign_in(alice).post(page, fill(second_llm, api_key="", name="B")).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.get_key()) == ("B", KEY)
    sign_in(alice).post(page, fill(second_llm, api_key="", forget_key="on"))
    row.refresh_from_db()
    assert not row.has_key


def test_vera_sees_providers_and_no_field_of_a_key(
    sign_in: Browse, vera: User, second_llm: FakeLLM, settings: Any
) -> None:
    settings.OPENAI_API_KEY = "sk-of-the-settings"
    row = make_provider(second_llm.base_url)
    html = text_of(sign_in(vera).get(LIST))
    assert "Provider of the settings" in html
    assert second_llm.base_url in html
    assert "sk-of-the-settings" not in html
    html = text_of(sign_in(vera).get(f"{LIST}{row.pk}/change/"))
    assert "api_key" not in html
    assert KEY not in html


@pytest.mark.parametrize("name", ["bob", "vera"])
def test_only_administrators_say_where_prompts_go(
    sign_in: Browse, request: pytest.FixtureRequest, name: str, second_llm: FakeLLM
) -> None:
    row = make_provider(second_llm.base_url)
    browser = sign_in(request.getfixturevalue(name))
    assert browser.post(f"{LIST}add/", fill(second_llm)).status_code == 403
    assert browser.post(f"{LIST}{row.pk}/change/", fill(second_llm)).status_code == 403
    assert browser.post(f"{MODELS}add/", {"name": "m"}).status_code == 403


def test_a_provider_that_a_pipeline_names_stays(
    sign_in: Browse, alice: User, second_llm: FakeLLM, triage: Pipeline
) -> None:
    row = make_provider(second_llm.base_url)
    version = triage.current_version
    assert version
    fallbacks = [{"provider": "backup", "model": "m"}]
    triage.publish(**version.get_values() | {"fallbacks": fallbacks})
    assert sign_in(alice).post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Provider.objects.exists()


def test_the_form_of_a_draft_shows_the_stand_ins_and_keeps_them(
    sign_in: Browse, alice: User, second_llm: FakeLLM, triage: Pipeline
) -> None:
    row = make_provider(second_llm.base_url)
    ProviderModel.objects.create(provider=row, name="org/m")
    version = triage.current_version
    assert version
    fallbacks = [{"provider": "backup", "model": "org/m"}, {"provider": "", "model": ""}]
    triage.publish(**version.get_values() | {"fallbacks": fallbacks})
    page = f"/pipelines/pipeline/{triage.pk}/draft/"
    html = text_of(sign_in(alice).get(page))
    assert '<option value="backup/org/m" selected>' in html
    assert '<option value="settings/" selected>' in html
    form = DraftForm(triage.get_draft())
    shown = form["fallbacks"].subwidgets[0].data["subwidgets"]
    assert [each["value"] for each in shown] == [["backup/org/m"], ["settings/"], [""]]
    data = {"token": form["token"].value(), "prompt": "{{ text }}", "model": "test-model"}
    data |= {f"fallbacks_{n}": each["value"][0] for n, each in enumerate(shown)}
    data |= {"max_output_tokens": "500", "on_unknown": "hold", "provider": "", "may_wait_h": "0"}
    posted = DraftForm(triage.get_draft(), data | {"destination": str(version.destination_id)})
    assert posted.is_valid(), posted.errors
    assert posted.get_config()["fallbacks"] == fallbacks


def test_a_stand_in_that_is_gone_stays_shown(
    sign_in: Browse, alice: User, triage: Pipeline
) -> None:
    version = triage.current_version
    assert version
    fallbacks = [{"provider": "gone", "model": "m"}]
    triage.publish(**version.get_values() | {"fallbacks": fallbacks})
    html = text_of(sign_in(alice).get(f"/pipelines/pipeline/{triage.pk}/draft/"))
    assert "gone/m (not listed any more)" in html


def test_a_model_has_its_price_or_shows_the_default(sign_in: Browse, alice: User) -> None:
    limits = {"requests_per_minute": "60", "tokens_per_minute": "0", "concurrency": "0"}
    form = {"name": "gpt-4o-mini", "context_tokens": "128000", **limits}
    assert sign_in(alice).post(f"{MODELS}add/", form).status_code == 302
    html = text_of(sign_in(alice).get(MODELS))
    assert "$0.15 (default)" in html
    assert "128,000" in html
    row = ProviderModel.objects.get()
    own = form | {"input_price": "1", "output_price": "2.5"}
    sign_in(alice).post(f"{MODELS}{row.pk}/change/", own)
    html = text_of(sign_in(alice).get(MODELS))
    assert "$2.50" in html
    assert "default)" not in html


def test_one_price_alone_is_refused(sign_in: Browse, alice: User) -> None:
    limits = {"requests_per_minute": "0", "tokens_per_minute": "0", "concurrency": "0"}
    form = {"name": "m", "input_price": "1", "context_tokens": "0", **limits}
    html = text_of(sign_in(alice).post(f"{MODELS}add/", form))
    assert "Give both prices" in html
