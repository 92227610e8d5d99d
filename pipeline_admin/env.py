"""Typed environment variables: one reader, so that a wrong value stops the start with a sentence.

Look-up order: the process environment, then `<DATA_DIR>/settings.json` (written by `manage.py up`,
so that every other command finds the running system), then the default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"0", "false", "no", "off"}


class WrongSetting(SystemExit):
    """Stops the start: says which variable, what was read and what is allowed."""


@dataclass(frozen=True)
class Setting:
    """One documented environment variable."""

    name: str
    default: str
    help: str


class Env:
    """Reads settings and remembers each, so that the documentation can be checked against them."""

    def __init__(self, environ: dict[str, str], data_dir: Path) -> None:
        self.environ = environ
        self.data_dir = data_dir
        self.stored = self._read_stored(data_dir / "settings.json")
        self.settings: dict[str, Setting] = {}

    @staticmethod
    def _read_stored(path: Path) -> dict[str, str]:
        if not path.exists():
            return {}
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WrongSetting(
                f"{path} cannot be read ({error.__class__.__name__}): delete or mend it."
            ) from error
        return {str(name): str(value) for name, value in stored.items()}

    def text(self, name: str, default: str = "", *, help: str) -> str:
        """The variable as text, stripped."""
        self.settings[name] = Setting(name, default, help)
        value = self.environ.get(name)
        return (value if value is not None else self.stored.get(name, default)).strip()

    def _parsed(
        self, name: str, default: T, parse: Callable[[str], T], allowed: str, help: str
    ) -> T:
        text = self.text(name, str(default), help=help)
        try:
            return parse(text)
        except ValueError:
            raise WrongSetting(f"{name} is {text!r}: allowed is {allowed}.") from None

    def flag(self, name: str, default: bool, *, help: str) -> bool:
        """A switch: 1/0, true/false, yes/no, on/off."""

        def parse(text: str) -> bool:
            if text.lower() in TRUE_WORDS | FALSE_WORDS:
                return text.lower() in TRUE_WORDS
            raise ValueError(text)

        return self._parsed(name, default, parse, "1 or 0 (also true/false, yes/no, on/off)", help)

    def integer(
        self, name: str, default: int, *, minimum: int = 0, maximum: int = 2**31, help: str
    ) -> int:
        """A whole number within bounds."""

        def parse(text: str) -> int:
            number = int(text)
            if not minimum <= number <= maximum:
                raise ValueError(text)
            return number

        allowed = f"a whole number from {minimum} to {maximum}"
        return self._parsed(name, default, parse, allowed, help)

    def number(self, name: str, default: float, *, minimum: float = 0.0, help: str) -> float:
        """A decimal number of at least `minimum`."""

        def parse(text: str) -> float:
            value = float(text)
            if not value >= minimum:
                raise ValueError(text)
            return value

        return self._parsed(name, default, parse, f"a number of at least {minimum}", help)

    def words(self, name: str, default: str = "", *, help: str) -> list[str]:
        """A comma-separated list."""
        return [
            word.strip() for word in self.text(name, default, help=help).split(",") if word.strip()
        ]


def data_dir_from(environ: dict[str, str], base: Path) -> Path:
    """The data folder: `DATA_DIR`, relative to the current folder, or `.data` in the checkout."""
    return Path(environ["DATA_DIR"]).absolute() if environ.get("DATA_DIR") else base / ".data"


BASE_DIR = Path(__file__).resolve().parent.parent
env = Env(dict(os.environ), data_dir_from(dict(os.environ), BASE_DIR))
