"""Programs that post one signed test event to a source: for bash, Python and Node.

They compute the signature when they run, so that they work tomorrow too, and hold no secret
unless they are given one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apps.sources.sample_request import EVENT_TYPE
from apps.sources.snippets.javascript import write_javascript
from apps.sources.snippets.python import write_python
from apps.sources.snippets.recipe import Recipe, UnrecordedSigning, make_recipe
from apps.sources.snippets.shell import write_shell

__all__ = ["LANGUAGES", "Language", "Snippet", "UnrecordedSigning", "write_snippets"]

Write = Callable[[Recipe, str | None], str]


@dataclass(frozen=True, slots=True)
class Language:
    """`hint` says how to run it."""

    slug: str
    label: str
    hint: str
    write: Write


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program as a page shows it."""

    slug: str
    label: str
    hint: str
    text: str


LANGUAGES = (
    Language("curl", "curl", "Paste it into a terminal (bash or zsh).", write_shell),
    Language("python", "Python", "Save it as send.py and run: python3 send.py", write_python),
    Language(
        "javascript",
        "JavaScript",
        "Save it as send.mjs and run: node send.mjs (18 or newer, no packages).",
        write_javascript,
    ),
)


def write_snippets(
    scheme: str,
    options: Mapping[str, object],
    secret: str,
    url: str,
    *,
    event_type: str = EVENT_TYPE,
    shows_secret: bool = False,
) -> list[Snippet]:
    """One for each language. Without `shows_secret` they ask for the secret when they run.

    Raises `WrongOptions` where only the provider can sign, and `UnrecordedSigning` where it is not
    known how.
    """
    recipe = make_recipe(scheme, options, secret, url, event_type)
    shown = secret if shows_secret else None
    return [
        Snippet(each.slug, each.label, each.hint, each.write(recipe, shown)) for each in LANGUAGES
    ]
