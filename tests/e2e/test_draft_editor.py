"""A prompt from edit to roll back, as a person does it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def name(system: System) -> str:
    """The slug of a pipeline with one event."""
    slug = system.create_way(f"draft-{uuid.uuid4().hex[:8]}")
    payload = {"ticket": "[[d-1]]", "text": "Late again", "user": {"mail": "eve@example.com"}}
    system.wait_for_status(system.post_until_accepted(slug, "d-1", payload), "delivered")
    return slug


def open_editor(system: System, page: Page, name: str) -> None:
    """By its link, from the list of pipelines."""
    system.sign_in(page)
    page.goto(f"{system.url}/pipelines/pipeline/?q={name}")
    page.get_by_role("link", name=name, exact=True).first.click()
    page.get_by_role("link", name="Edit prompt and settings").click()
    expect(page.get_by_role("heading", name="Tried on")).to_be_visible()


def find_violations(page: Page) -> list[str]:
    found: Any = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


def test_edit_preview_publish_compare_and_roll_back(
    system: System, name: str, new_page: NewPage
) -> None:
    page = new_page()
    open_editor(system, page, name)
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("Which team? ")
    prompt.press("End")
    page.keyboard.type("{{ mai")
    expect(page.get_by_role("option", name="user.mail")).to_be_visible()
    page.keyboard.press("Enter")
    expect(prompt).to_have_value("Which team? {{ user.mail }}")
    page.keyboard.type(" about ")
    page.get_by_role("button", name="Insert text").click()
    expect(prompt).to_have_value("Which team? {{ user.mail }} about {{ text }}")
    shown = page.locator("#preview")
    expect(shown).to_contain_text("eve@example.com</event_data> about <event_data>Late again")
    page.get_by_label("E-mail").check()
    expect(shown).to_contain_text("[EMAIL_1]</event_data> about")

    page.get_by_role("button", name="Save and publish…").click()
    expect(page.get_by_text("Which team? {{ user.mail }} about {{ text }}")).to_be_visible()
    page.get_by_label("Why").fill("Teams, not categories")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Version 2 is what new events start with.")).to_be_visible()

    page.get_by_role("button", name="Compare the chosen two").click()
    expect(page.get_by_text("Classify ticket {{ ticket }}: {{ text }}")).to_be_visible()
    page.get_by_role("link", name="Roll back to version 1").click()
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.get_by_text("Rolled back to v1")).to_be_visible()
    answer = system.api.get(f"/api/v1/pipelines/{name}/").json()
    assert (answer["version"], answer["prompt"]) == (3, "Classify ticket {{ ticket }}: {{ text }}")


@pytest.mark.parametrize(
    ("size", "scheme"), [("wide", "light"), ("wide", "dark"), ("phone", "light")]
)
def test_it_keeps_nobody_out(
    system: System, name: str, new_page: NewPage, size: str, scheme: str
) -> None:
    page = new_page(size, scheme)
    open_editor(system, page, name)
    page.get_by_role("textbox", name="Prompt").fill("Sort {{ nowhere }}")
    expect(page.locator("#preview")).to_contain_text("This event has no nowhere")
    assert find_violations(page) == []
    page.get_by_label("Output schema").fill('{\n "type": "strin"\n}')
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("Line 2: It is not JSON Schema").first).to_be_visible()
    assert find_violations(page) == []
    page.get_by_role("button", name="Go to line 2").click()
    assert page.evaluate("getSelection().toString()") == ' "type": "strin"'
    page.get_by_label("Output schema").fill("")
    page.get_by_role("button", name="Save and publish…").click()
    expect(page.get_by_role("button", name="Publish")).to_be_visible()
    assert find_violations(page) == []
    page.goto(page.url.replace("draft/publish/", "versions/?from=1&to=draft"))
    expect(page.get_by_role("heading", name="Who changed what")).to_be_visible()
    assert find_violations(page) == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")


def test_dry_run_and_backtest_keep_nobody_out(system: System, name: str, new_page: NewPage) -> None:
    page = new_page()
    open_editor(system, page, name)
    page.get_by_role("textbox", name="Prompt").fill("Sort {{ ticket }}: {{ text }}")
    page.get_by_role("button", name="Save and dry run…").click()
    expect(page.get_by_text("is asked once for")).to_be_visible()
    page.get_by_role("button", name="Ask the model, and pay").click()
    expect(page.get_by_role("heading", name="What the draft gives")).to_be_visible()
    assert find_violations(page) == []
    page.get_by_role("link", name="Back to the draft").click()
    page.get_by_role("link", name="Backtests").click()
    page.get_by_role("button", name="What would it cost?").click()
    page.get_by_role("button", name="Start, up to the cap").click()
    expect(page.get_by_role("heading", name="1 of 1 events")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("reused")).to_be_visible()  # the dry run has paid for it
    assert find_violations(page) == []
    page.get_by_role("link", name="Publish this draft…").click()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Version 2 is what new events start with.")).to_be_visible()
