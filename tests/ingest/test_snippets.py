"""What a page gives to copy works when it is pasted: every scheme, in every language."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import transaction

from apps.pipelines.models import Pipeline
from apps.sources.models import Secret, Source
from apps.sources.schemes import SCHEMES, WrongOptions, make_secret
from apps.sources.snippets import UnrecordedSigning, write_snippets
from tests.ingest.conftest import Hooks

pytestmark = [pytest.mark.slow]

WHSEC = "whsec_" + "c25pcHBldHMtYXJlLXRlc3RlZC13aXRoLWl0"
# Their signatures are not made by the keys of `schemes/keys.py`.
UNRECORDED = {"braintree"}
STAMPED: dict[str, Any] = {"timestamp_header": "X-Time", "tolerance_s": 60}
# What no provider of the table does, but an administrator may fill in.
CUSTOM: dict[str, dict[str, Any]] = {
    "sha512-hex-key": {"algorithm": "hmac-sha512", "key_form": "hex", "encoding": "base64url"},
    "sha384-base64-key": {
        "algorithm": "hmac-sha384", "key_form": "base64", "encoding": "base64url_nopad",
    },
    "dollars": {"signed": "$PATH`id`!'\"\\{method}:{body}", "prefix": "it's $1 \"a\" `b` "},
    "iso": STAMPED | {"timestamp_unit": "iso8601", "signed": "{timestamp} {header:X-Time} {body}"},
    "date": STAMPED | {"timestamp_unit": "http_date", "signed": "{body}{timestamp}"},
    "in-the-header": {
        "timestamp_prefix": "t=", "separator": ",", "prefix": "s=", "signed": "{timestamp}{body}",
        "timestamp_unit": "milliseconds", "tolerance_s": 60,
    },
    "url": {"signed": "{url}|{id}|{body}", "id_header": "X-Id"},
    "required": {"required_headers": "X-App: 7; X-Key: a b"},
    "form": {"signed": "{params}", "encoding": "hex_any_case"},
}  # fmt: skip


class Case(NamedTuple):
    name: str
    scheme: str
    options: dict[str, Any]
    secret: str


def make_cases() -> list[Case]:
    cases = []
    for slug, info in SCHEMES.items():
        if info.can_sign and info.needs_secret and slug not in UNRECORDED:
            cases.append(Case(slug, slug, {}, make_secret(slug)))
    cases.append(Case("gitlab-signing-token", "gitlab", {}, WHSEC))
    cases.append(Case("odd-secret-in-url", "url-token", {}, "a&b=c d%20 \u00fc + 20 characters"))
    for name, options in CUSTOM.items():
        cases.append(Case(name, "hmac", options, make_secret("hmac", options)))
    return cases


def run_shell(programs: list[tuple[str, str]], folder: Path) -> str:
    """All in one bash, to save the time of starting one for each."""
    lines = [f"SECRET='{secret}'\n{text}" for secret, text in programs]
    return run(["bash", "-c", "\n".join(lines)])


def run_python(programs: list[tuple[str, str]], folder: Path) -> str:
    (folder / "all.json").write_text(json.dumps(programs))
    driver = (
        "import json, os\n"
        "for secret, text in json.load(open('all.json')):\n"
        "    os.environ['SECRET'] = secret\n"
        "    exec(compile(text, 'send.py', 'exec'), {})\n"
    )
    return run([sys.executable, "-c", driver], folder)


def run_node(programs: list[tuple[str, str]], folder: Path) -> str:
    lines = []
    for place, (secret, text) in enumerate(programs):
        (folder / f"send{place}.mjs").write_text(text)
        lines += [f"process.env.SECRET = '{secret}';", f"await import('./send{place}.mjs');"]
    (folder / "all.mjs").write_text("\n".join(lines))
    return run(["node", "all.mjs"], folder)


def run(command: list[str], folder: Path | None = None) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


RUNNERS: dict[str, tuple[str, Callable[[list[tuple[str, str]], Path], str]]] = {
    "curl": ("bash", run_shell),
    "python": (sys.executable, run_python),
    "javascript": ("node", run_node),
}


@pytest.mark.parametrize("language", RUNNERS)
def test_a_pasted_snippet_is_accepted_for_every_scheme(
    hooks: Hooks, triage: Pipeline, tmp_path: Path, language: str
) -> None:
    program, runner = RUNNERS[language]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    cases = make_cases()
    programs = []
    for case in cases:
        url = f"{hooks.base_url}/hooks/{case.name}"
        signs_url = any(field.name == "public_url" for field in SCHEMES[case.scheme].fields)
        options = case.options | ({"public_url": url} if signs_url else {})
        with transaction.atomic():  # ingest never sees it without its secret
            source = Source.objects.create(
                slug=case.name, name=case.name, scheme=case.scheme, options=options, pipeline=triage
            )
            Secret.objects.create(source=source, value=case.secret)
        snippets = write_snippets(case.scheme, options, case.secret, url)
        text = next(snippet.text for snippet in snippets if snippet.slug == language)
        assert case.secret not in text
        programs.append((case.secret, text))

    output = runner(programs, tmp_path)

    events = [entry for entry in hooks.entries() if b"test_event" in entry.body]
    ids = {str(source.pk): source.slug for source in Source.objects.all()}
    accepted = {ids[str(entry.source_id)] for entry in events}
    assert {case.name for case in cases} - accepted == set(), output
    assert len({entry.key for entry in events}) == len(cases)


def test_no_snippet_is_given_where_only_the_provider_can_sign() -> None:
    public = [slug for slug, info in SCHEMES.items() if not info.can_sign and info.needs_secret]
    assert public
    for slug in public:
        with pytest.raises(WrongOptions) as refused:
            write_snippets(slug, {}, "a public key", "https://example.org/hooks/x")
        assert refused.value.message.endswith(".")


@pytest.mark.parametrize("slug", sorted(UNRECORDED))
def test_a_program_that_would_be_wrong_is_not_given(slug: str) -> None:
    with pytest.raises(UnrecordedSigning, match="There is no program"):
        write_snippets(slug, {}, make_secret(slug), "https://example.org/hooks/x")


def test_a_snippet_holds_the_secret_only_on_the_page_that_shows_it() -> None:
    url = "https://example.org/hooks/x"
    for snippet in write_snippets("github", {}, "s3cret-1", url):
        assert "s3cret-1" not in snippet.text
    for snippet in write_snippets("github", {}, "s3cret-1", url, shows_secret=True):
        assert snippet.text.count("s3cret-1") == 1
