"""The documentation names every setting with its default, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline_admin.env import BASE_DIR, env

PAGES = [
    *(BASE_DIR / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((BASE_DIR / "docs").glob("*.md")),
]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)\s]+)\)")
ROW = re.compile(r"^\| `(\w+)` \|\s*(?:`([^`]*)`)?([^|]*)\|", re.MULTILINE)
WORDS = {"True": "1", "False": "0"}


def get_documented() -> dict[str, tuple[str, str]]:
    """Default and remark of each variable in docs/settings.md, but not those read elsewhere."""
    text = (BASE_DIR / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = ROW.findall(text.partition("## Not kept in settings.json")[0])
    return {name: (default, remark.strip()) for name, default, remark in rows}


def get_anchors(path: Path) -> set[str]:
    """The anchors that a page's headings have, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_every_setting_is_documented_and_no_other() -> None:
    import pipeline_admin.settings  # noqa: F401 - registers every setting

    assert set(get_documented()) == set(env.settings)


def test_a_documented_default_is_the_real_one() -> None:
    import pipeline_admin.settings  # noqa: F401 - registers every setting

    for name, (default, remark) in get_documented().items():
        if remark:  # it depends on another setting, in words
            continue
        real = env.settings[name].default
        assert default == WORDS.get(real, real), name


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_link_leads_to_a_page_and_a_chapter_that_exist(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in get_anchors(target), link
