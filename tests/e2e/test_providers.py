"""A second provider, added in the browser, answers while the first is down."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage
from tests.fixtures.fake_llm import FakeLLM

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def backup() -> Iterator[FakeLLM]:
    """The second provider, which wants a key."""
    server = FakeLLM()
    server.wants_key = "sk-backup"
    yield server
    server.stop()


def add_provider(page: Page, system: System, slug: str, llm: FakeLLM) -> None:
    """First with a wrong key, which is said; then with the right one."""
    page.goto(f"{system.url}/llm/provider/")
    expect(page.get_by_role("heading", name="Provider of the settings")).to_be_visible()
    page.goto(f"{system.url}/llm/provider/add/")
    page.get_by_label("Name").fill(slug)
    page.get_by_label("Base URL").fill(llm.base_url)
    page.get_by_label("API key").fill("sk-wrong")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The provider does not take this key")).to_be_visible()
    page.get_by_label("API key").fill("sk-backup")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("It answers, with 1 model: fake")).to_be_visible()
    assert "sk-backup" not in page.content()


def add_model(page: Page, system: System, slug: str) -> None:
    page.goto(f"{system.url}/llm/providermodel/add/")
    page.get_by_label("Provider").select_option(slug)
    page.get_by_label("Name").fill("second")
    page.get_by_label("Input price").fill("1.5")
    page.get_by_label("Output price").fill("6")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("$1.50")).to_be_visible()


def let_stand_in(page: Page, system: System, name: str, model: str) -> None:
    page.goto(f"{system.url}/pipelines/pipeline/?q={name}")
    page.get_by_role("link", name=name, exact=True).first.click()
    page.get_by_role("link", name="Edit prompt and settings").click()
    page.get_by_label("First stand-in").select_option(label=model)
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_label("First stand-in")).to_have_value(model)
    assert find_violations(page) == []
    page.get_by_role("button", name="Save and publish…").click()
    expect(page.get_by_text("Fallbacks")).to_be_visible()
    page.get_by_role("button", name="Publish", exact=True).click()


def find_violations(page: Page) -> list[str]:
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


def test_a_second_provider_is_added_and_stands_in(
    system: System, new_page: NewPage, provider: FakeLLM, backup: FakeLLM
) -> None:
    name = system.create_way(f"chain-{uuid.uuid4().hex[:8]}")
    page = new_page()
    system.sign_in(page)
    add_provider(page, system, f"p-{name}", backup)
    add_model(page, system, f"p-{name}")
    let_stand_in(page, system, name, f"p-{name}/second")
    provider.plan("down", "500")
    sent = system.post_until_accepted(name, "e-1", {"ticket": "[[down]]", "text": "hello"})
    system.wait_for_status(sent, "delivered")
    assert (provider.calls["down"], backup.calls["down"]) == (1, 1)
    page.goto(f"{system.url}/events/{sent}/")
    expect(page.get_by_text("passed over: settings/fake")).to_be_visible()
    assert find_violations(page) == []
