"""`.env.example` explains what docker-compose.yml asks for, and new_env.py fills it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from pipeline_admin.env import BASE_DIR
from tests.ops.compose import get_example, get_variables


@pytest.fixture
def new_env() -> dict[str, str]:
    """What deploy/new_env.py prints."""
    script = BASE_DIR / "deploy" / "new_env.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    lines = [line for line in run.stdout.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_it_names_what_the_compose_files_ask_for_and_nothing_else() -> None:
    override = (BASE_DIR / "deploy" / "compose.temporal-ui.yml").read_text(encoding="utf-8")
    asked = {name for name, _, _ in [*get_variables(), *get_variables(override)]}
    assert set(get_example()) == asked


def test_its_defaults_are_those_of_the_compose_file() -> None:
    example = get_example()
    for name, kind, rest in get_variables():
        if kind == "-":
            assert example[name] == rest, name


def test_it_holds_no_secret() -> None:
    secret_words = ("PASSWORD", "TOKEN", "SECRET_KEY", "API_KEY", "VAULT_KEYS")
    assert not any(v for name, v in get_example().items() if name.endswith(secret_words))


def test_a_new_env_has_a_value_for_everything_that_is_required(new_env: dict[str, str]) -> None:
    required = {name for name, kind, _ in get_variables() if kind == "?"}
    missing = {name for name in required if not new_env[name]}
    assert missing == {"OPENAI_API_KEY"}  # nobody but the provider can make that one


def test_a_new_env_has_a_vault_key_that_works(new_env: dict[str, str]) -> None:
    vault = Fernet(new_env["VAULT_KEYS"])
    assert vault.decrypt(vault.encrypt(b"secret")) == b"secret"


def test_a_new_password_needs_no_escaping_in_an_address(new_env: dict[str, str]) -> None:
    passwords = [value for name, value in new_env.items() if name.endswith("_PASSWORD")]
    assert len(set(passwords)) == len(passwords) == 4
    assert all(value.isalnum() and len(value) >= 32 for value in passwords)
