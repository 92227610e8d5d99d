"""The page of a source's rules, as a person meets it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def source(system: System) -> str:
    """The slug of a source with one event."""
    slug = system.create_way(f"rules-{uuid.uuid4().hex[:8]}")
    event_id = system.post_until_accepted(slug, "r-1", {"ticket": "[[r-1]]", "text": 4711})
    system.wait_for_status(event_id, "delivered")
    return slug


def open_rules(system: System, page: Page, source: str) -> None:
    """By its link, from the list of sources."""
    system.sign_in(page)
    page.goto(f"{system.url}/sources/source/?q={source}")
    page.get_by_role("link", name=source, exact=True).first.click()
    page.get_by_role("link", name="Change rules").click()
    expect(page.get_by_role("heading", name="Who may send, and how often")).to_be_visible()


def find_violations(page: Page) -> list[str]:
    found: Any = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"][:3]
    ]


@pytest.mark.parametrize(
    ("size", "scheme"), [("wide", "light"), ("wide", "dark"), ("phone", "light")]
)
def test_it_keeps_nobody_out(
    system: System, source: str, new_page: NewPage, size: str, scheme: str
) -> None:
    page = new_page(size, scheme)
    open_rules(system, page, source)
    assert find_violations(page) == []
    expect(page.get_by_label("Content-Type")).to_be_hidden()
    page.get_by_label("Answer", exact=True).select_option("own")
    expect(page.get_by_label("Content-Type")).to_be_visible()
    page.get_by_label("JSON Schema").fill("{")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("It is not JSON")).to_be_visible()
    expect(page.get_by_label("Content-Type")).to_be_visible()
    assert find_violations(page) == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")


def test_rules_are_tried_and_saved_by_the_keyboard_alone(
    system: System, source: str, new_page: NewPage
) -> None:
    page = new_page()
    open_rules(system, page, source)
    page.get_by_label("JSON Schema").focus()
    page.keyboard.insert_text('{"properties": {"text": {"type": "string"}}}')
    page.get_by_role("button", name="Try on the last").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("properties/text/type")).to_be_visible()
    assert find_violations(page) == []
    assert system.post(source, "r-2", {"text": 1}).status_code == 202
    page.get_by_role("button", name="Save").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The rules are saved")).to_be_visible()
    wait_until(lambda: system.post(source, "r-3", {"text": 1}).status_code == 422, 5)
    page.goto(page.url.replace("/rules/", "/change/"))
    expect(page.get_by_text("does not fit the JSON Schema is refused")).to_be_visible()
