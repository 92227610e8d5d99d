"""settings.json: keys are kept for ever, the rest tells of the system as it runs now."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pipeline_admin.bootstrap.locations import BASE_DIR
from pipeline_admin.bootstrap.refusal import Refusal
from pipeline_admin.bootstrap.stored_settings import write_settings


def test_the_keys_are_made_once_and_kept_over_starts(tmp_path: Path) -> None:
    first = write_settings(tmp_path, {"QUEUE_URL": "unix:///a"})
    second = write_settings(tmp_path, {"QUEUE_URL": "unix:///b"})
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert first["VAULT_KEYS"] == second["VAULT_KEYS"]
    assert second["QUEUE_URL"] == "unix:///b"


def test_keys_that_a_person_added_are_kept(tmp_path: Path) -> None:
    keys = [base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    (tmp_path / "settings.json").write_text(f'{{"VAULT_KEYS": "{",".join(keys)}"}}')
    assert write_settings(tmp_path, {})["VAULT_KEYS"] == ",".join(keys)


def test_what_the_last_start_was_given_is_gone_with_it(tmp_path: Path) -> None:
    write_settings(tmp_path, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert "OPENAI_BASE_URL" not in write_settings(tmp_path, {})


def test_the_vault_key_is_one_that_encrypts(tmp_path: Path) -> None:
    vault = Fernet(write_settings(tmp_path, {})["VAULT_KEYS"])
    assert vault.decrypt(vault.encrypt(b"secret")) == b"secret"


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_settings(tmp_path, {})
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


def test_a_broken_file_stops_the_start_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"VAULT_KEYS": "half')
    with pytest.raises(Refusal, match="put it back from a backup"):
        write_settings(tmp_path, {})
    assert (tmp_path / "settings.json").read_text() == '{"VAULT_KEYS": "half'


def test_celery_and_pages_are_given_the_first_shard_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(
        '{"QUEUE_URL": "unix:///tmp/a.sock#queue,unix:///tmp/b.sock#other", "SECRET_KEY": "k"}'
    )
    ask = "from pipeline_admin import settings as s; print(s.CELERY_BROKER_URL, s.BROKER_URL)"
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}

    told = subprocess.run(
        [sys.executable, "-c", ask], cwd=BASE_DIR, env=environ, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    assert told.stdout.split() == ["redis+socket:///tmp/a.sock", "unix:///tmp/a.sock"]
