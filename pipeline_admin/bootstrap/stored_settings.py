"""`<DATA_DIR>/settings.json`: how every other command finds the running system.

Two keys are made once and kept for ever: without VAULT_KEYS the stored secrets are unreadable.
All else describes the system as it runs now, and is written anew at each start.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from pipeline_admin.bootstrap.refusal import Refusal

KEPT = ("SECRET_KEY", "VAULT_KEYS")


def write_settings(data_dir: Path, running: Mapping[str, str]) -> dict[str, str]:
    """Write the file for its owner's eyes alone, and give its content."""
    path = data_dir / "settings.json"
    before = read_json(path)
    settings = {name: before.get(name) or _new_key(name) for name in KEPT} | dict(running)
    write_json(path, settings)
    return settings


def _new_key(name: str) -> str:
    if name == "VAULT_KEYS":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(50)


def read_json(path: Path) -> dict[str, str]:
    """The object in the file, or an empty one where there is none. A broken file stops the start:
    making new keys in its place would lock the stored secrets away."""
    try:
        content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refusal(
            f"{path} cannot be read ({error.__class__.__name__}). It holds the keys to the stored "
            "secrets: put it back from a backup. Delete it only if they may be lost."
        ) from error
    return content


def write_json(path: Path, content: object) -> None:
    """Replace the file as a whole, so that a reader or a crash never meets half of it."""
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
