"""Options of a scheme: what a form shows, and how a stored value is read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Choice = tuple[str, str]
"""(value, label)"""


class WrongOptions(ValueError):
    """An option or a secret that cannot be used; `field` is its name ("secrets" for a secret).

    `message` is a plain sentence for the form; it never repeats a secret.
    """

    code: ClassVar[str] = "wrong_options"
    permanent: ClassVar[bool] = True
    retry_after_s: ClassVar[float | None] = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option as a form shows it.

    `kind` is text, number (a float, or empty for none) or choice (one of `choices`). `default`
    is what applies where the option is absent. `keeps_spaces`: spaces at the ends are meant.
    """

    name: str
    label: str
    kind: Literal["text", "number", "choice"] = "text"
    help: str = ""
    default: str | float | None = ""
    choices: tuple[Choice, ...] = ()
    keeps_spaces: bool = False

    def read(self, options: Mapping[str, object]) -> str | float | None:
        """This option's value out of stored options; raises `WrongOptions`."""
        value = options.get(self.name, self.default)
        if self.kind == "number":
            return self._number(value)
        if not isinstance(value, str):
            raise WrongOptions(self.name, f"{self.label} must be text.")
        if self.choices and value not in {choice for choice, _ in self.choices}:
            allowed = ", ".join(choice for choice, _ in self.choices)
            raise WrongOptions(self.name, f"{self.label} must be one of: {allowed}.")
        return value

    def _number(self, value: object) -> float | None:
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise WrongOptions(self.name, f"{self.label} must be a number.")
        try:
            number = float(value)
        except ValueError:
            raise WrongOptions(self.name, f"{self.label} must be a number.") from None
        if not 0 <= number < 10**9:
            raise WrongOptions(self.name, f"{self.label} must lie between 0 and 999,999,999.")
        return number


PUBLIC_URL_FIELD = OptionField(
    "public_url",
    "URL as the sender knows it",
    help="Where the URL is signed and differs from what arrives here. Empty: the request's URL.",
)


class Options:
    """The options of one source, read and complete."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str | float | None]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values[name]
        if not isinstance(value, str):
            raise TypeError(f"{name} is not text")
        return value

    def get(self, name: str) -> str:
        """Like `text`; '' where this scheme has no such option."""
        return self.text(name) if name in self._values else ""

    def number(self, name: str) -> float | None:
        value = self._values[name]
        if isinstance(value, str):
            raise TypeError(f"{name} is not a number")
        return value

    def headers(self, name: str) -> tuple[bytes, ...]:
        """Header names, as requests carry them, out of a comma-separated list; () for none."""
        names = [entry.strip() for entry in self.text(name).split(",")]
        return tuple(header_name(name, entry) for entry in names if entry)

    def first_header(self, name: str) -> str:
        """The first name of such a list as it is written there; '' for none."""
        return self.text(name).split(",")[0].strip()


def first_value(headers: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> bytes:
    """The value of the first of `names` that is there and not empty; b"" for none."""
    for name in names:
        if value := headers.get(name):
            return value
    return b""


def header_name(option: str, name: str) -> bytes:
    """Raises `WrongOptions` where `name` cannot be a header's name."""
    if name and not _HEADER_NAME.fullmatch(name):
        raise WrongOptions(option, f"“{name}” is not the name of a header.")
    return name.lower().encode("ascii")
