"""An open circuit breaker as an administrator meets it: seen live, closed by a button."""

from __future__ import annotations

import os
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.system import System
from tests.fixtures.browser import NewPage

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

PREPARE = """
from decimal import Decimal
from apps.llm.breaker import Passage
from apps.llm.lanes import Lane
from apps.llm.provider import ProviderFailed
for _ in range(5):
    Passage(Lane("api.example.com", "model-of-this-test")).settle(ProviderFailed(), Decimal(0))
"""


@pytest.mark.parametrize(
    ("size", "scheme"), [("wide", "light"), ("wide", "dark"), ("phone", "light")]
)
def test_an_open_breaker_is_seen_and_closed(
    system: System, new_page: NewPage, size: str, scheme: str
) -> None:
    system.run("shell", "-c", PREPARE)
    page = new_page(size, scheme)
    system.sign_in(page)
    button = page.get_by_role("button", name="Ask it again now: model-of-this-test")
    expect(button).to_be_visible(timeout=15_000)
    expect(page.get_by_text("api.example.com failed several times in a row")).to_be_visible()
    found: Any = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=f"{folder}/breaker-{size}-{scheme}.png", full_page=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("The model is asked again")).to_be_visible()
    expect(button).to_have_count(0, timeout=15_000)
