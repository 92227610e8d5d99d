"""An administrator connects a provider: from the picker to the first event, in a browser."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.system import WEBHOOK_SECRET, System
from tests.fixtures.browser import NewPage

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.slow]

ARRIVES_WITHIN_MS = 10_000
PIPELINE = "First events"
MAX_TABS = 60


@pytest.fixture(scope="module")
def pipeline(system: System) -> str:
    system.create("destinations", slug="first-events", name=PIPELINE, kind="inbox")
    system.create(
        "pipelines", slug="first-events", name=PIPELINE, model="fake", prompt="Sort: {{ text }}",
        output_schema={"type": "object"}, destination="first-events",
    )  # fmt: skip
    return PIPELINE


@pytest.fixture
def page(system: System, pipeline: str, new_page: NewPage) -> Page:
    """The live page, signed in as the administrator."""
    page = new_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=system.url)
    system.sign_in(page)
    return page


@pytest.fixture
def name() -> str:
    return f"Repo {uuid.uuid4().hex[:8]}"


def run_in_a_terminal(text: str, **environ: str) -> str:
    done = subprocess.run(
        ["bash", "-c", text], env={"PATH": os.environ["PATH"]} | environ, capture_output=True,
        text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def never_reloaded(page: Page) -> Callable[[], bool]:
    """Asks later whether the page is still the one of now."""
    page.evaluate("window.stillTheSame = true")
    return lambda: bool(page.evaluate("window.stillTheSame === true"))


def test_from_the_picker_to_the_first_event(system: System, page: Page, name: str) -> None:
    page.get_by_role("link", name="Sources", exact=True).click()
    page.get_by_role("link", name="Add source").first.click()
    page.get_by_label("Search by name").fill("git")
    expect(page.get_by_text("Enter opens GitHub.")).to_be_visible()
    page.get_by_role("link", name="GitHub", exact=True).click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Pipeline").select_option(label=PIPELINE)
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("Waiting for the first event")).to_be_visible()
    is_the_same = never_reloaded(page)
    page.get_by_text("Send one from your own machine").click()
    page.get_by_role("button", name="Copy the program").first.click()
    expect(page.get_by_role("button", name="Copy the program").first).to_contain_text("Copied")
    program = page.evaluate("navigator.clipboard.readText()")

    assert run_in_a_terminal(program).split()[-1] == "202"

    expect(page.get_by_text("Last event")).to_be_visible(timeout=ARRIVES_WITHIN_MS)
    expect(page.get_by_text("Waiting for the first event")).to_have_count(0)
    assert is_the_same()
    page.get_by_role("link", name="Open it").click()
    expect(page.get_by_role("heading", name="Payload")).to_be_visible()
    expect(page.get_by_text("Why has my new card still not arrived?").first).to_be_visible()


def press_until(page: Page, target: Locator, key: str = "Tab") -> None:
    """As somebody does who sees where the focus is."""
    for _ in range(MAX_TABS):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{target} is not reached within {MAX_TABS} keys")


def test_the_same_by_keyboard_alone(system: System, page: Page, name: str) -> None:
    press_until(page, page.get_by_role("link", name="Sources", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/sources/source/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip the navigation")).to_be_focused()
    page.keyboard.press("Enter")
    press_until(page, page.get_by_role("link", name="Add source").first)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sources/source/add/")

    expect(page.get_by_label("Search by name")).to_be_focused()
    page.keyboard.type("git")
    page.keyboard.press("ArrowDown")  # to GitHub, the marked one
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="GitLab", exact=True)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**scheme=github")

    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(name)
    press_until(page, page.get_by_label("Pipeline"))
    page.keyboard.type(PIPELINE)
    press_until(page, page.get_by_label("Signing secret"))
    page.keyboard.press("Enter")

    expect(page.get_by_text("Waiting for the first event")).to_be_visible()
    expect(page.get_by_role("button", name="Copy the URL")).to_be_focused()
    press_until(page, page.get_by_role("button", name="Send a test event"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Answered 202")).to_be_visible()
    expect(page.get_by_text("Last event")).to_be_visible(timeout=ARRIVES_WITHIN_MS)
    press_until(page, page.get_by_role("link", name="Open it"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Payload")).to_be_visible()


def test_a_wrong_secret_is_told_in_plain_words_and_the_right_one_ends_it(
    system: System, page: Page
) -> None:
    slug = f"wrong-{uuid.uuid4().hex[:8]}"
    system.create(
        "sources", slug=slug, name=slug, scheme="github", secrets=["the right one"],
        pipeline="first-events",
    )  # fmt: skip
    page.goto(f"{system.url}/sources/source/")
    page.get_by_role("link", name=slug, exact=True).click()
    is_the_same = never_reloaded(page)
    page.get_by_text("Send one from your own machine").click()
    program = page.locator("#snippet-curl").inner_text()
    assert "the right one" not in program

    assert run_in_a_terminal(program, SECRET="a wrong one").split()[-1] == "401"

    refused = page.get_by_text("Refused: The signature does not match the active secret")
    expect(refused).to_be_visible(timeout=ARRIVES_WITHIN_MS)
    expect(page.get_by_text("Waiting for the first event")).to_be_visible()

    assert run_in_a_terminal(program, SECRET="the right one").split()[-1] == "202"

    expect(page.get_by_text("Last event")).to_be_visible(timeout=ARRIVES_WITHIN_MS)
    expect(refused).to_have_count(0)
    assert is_the_same()


def test_it_goes_on_waiting_when_the_web_server_was_away(system: System, page: Page) -> None:
    slug = f"away-{uuid.uuid4().hex[:8]}"
    system.create(
        "sources", slug=slug, name=slug, scheme="standard-webhooks", secrets=[WEBHOOK_SECRET],
        pipeline="first-events",
    )  # fmt: skip
    page.goto(f"{system.url}/sources/source/")
    page.get_by_role("link", name=slug, exact=True).click()
    expect(page.locator("#live-state")).to_have_attribute("data-state", "live")
    is_the_same = never_reloaded(page)

    system.kill("web")
    system.post_until_accepted(slug, "a-1", {"text": "hi"})

    expect(page.get_by_text("Last event")).to_be_visible(timeout=25_000)
    assert is_the_same()
