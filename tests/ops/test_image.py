"""The Dockerfile makes an image that holds locked packages and no secret, and isn't root's."""

from __future__ import annotations

import re

import pytest

from pipeline_admin.env import BASE_DIR

DOCKERFILE = (BASE_DIR / "Dockerfile").read_text(encoding="utf-8")
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]
ALLOWED = [
    line[1:]
    for line in (BASE_DIR / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line.startswith("!")
]


def test_it_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", LAST_STAGE, re.MULTILINE)
    assert users == ["10001:10001"]


def test_its_packages_are_checked_against_their_hashes() -> None:
    installs = re.findall(r"pip install ([^\n]*)", DOCKERFILE)
    assert installs == ["--require-hashes --only-binary :all: -r requirements.txt \\"]


def test_its_health_check_asks_healthz() -> None:
    assert "HEALTHCHECK" in LAST_STAGE
    assert "http://127.0.0.1:8000/healthz" in LAST_STAGE


def test_it_keeps_no_secret() -> None:
    kept = re.findall(r"^(?:ARG|ENV) (.*?)(?<!\\)$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert kept
    assert not re.search(r"SECRET|PASSWORD|TOKEN|_KEY", " ".join(kept))


def test_nothing_enters_it_that_is_not_named() -> None:
    lines = (BASE_DIR / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not {".", ".env", ".data", ".git", "tests"} & set(ALLOWED)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_enters_it_exists(name: str) -> None:
    assert (BASE_DIR / name).exists()
