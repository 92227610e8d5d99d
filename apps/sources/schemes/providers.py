"""Reads providers.toml: one table a provider, checked when it is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from apps.sources.schemes import (
    adyen,
    aws_sns,
    basic_auth,
    body_fields,
    body_token,
    braintree,
    gitlab,
    hook0,
    hubspot,
    jwt,
    paddle_classic,
    paypal,
    shared_token,
    template,
    twilio,
)
from apps.sources.schemes.challenges import VERIFY_TOKEN_FIELD
from apps.sources.schemes.family import Family
from apps.sources.schemes.labels import LABEL_FIELDS
from apps.sources.schemes.options import OptionField

_FAMILIES = (
    adyen.FAMILY,
    aws_sns.FAMILY,
    basic_auth.FAMILY,
    body_fields.FAMILY,
    body_token.FAMILY,
    braintree.FAMILY,
    gitlab.FAMILY,
    hook0.FAMILY,
    hubspot.FAMILY,
    jwt.FAMILY,
    paddle_classic.FAMILY,
    paypal.FAMILY,
    shared_token.FAMILY,
    template.FAMILY,
    twilio.FAMILY,
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _FAMILIES}
_TABLE = Path(__file__).with_name("providers.toml")
_SHOWN = frozenset(("label", "docs", "paste", "secret", "made_by", "test", "example"))
_RULES = frozenset(("family", "adjustable", "challenge", "answer", "needs_secret", "can_sign"))


MadeBy = Literal["provider", "you", "challenge"]


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of the table. `fields` are all options with this provider's values as defaults."""

    label: str
    docs: str
    paste: str
    secret: str
    made_by: MadeBy
    test: str
    example: str
    family: Family
    fields: tuple[OptionField, ...]
    adjustable: tuple[OptionField, ...]
    challenge: str
    needs_secret: bool
    can_sign: bool
    answer: tuple[int, str, str] | None


def _provider(slug: str, row: Mapping[str, Any]) -> Provider:
    family = FAMILIES[row.get("family", "template")]
    values = {name: value for name, value in row.items() if name not in _SHOWN | _RULES}
    known = (*family.fields, *LABEL_FIELDS, VERIFY_TOKEN_FIELD)
    if unknown := values.keys() - {field.name for field in known}:
        raise LookupError(f"providers.toml: [{slug}] has unknown options {sorted(unknown)}")
    fields = tuple(replace(field, default=values.get(field.name, field.default)) for field in known)
    adjustable = {*row.get("adjustable", ()), *(field.name for field in LABEL_FIELDS)}
    if "*" in adjustable:
        adjustable |= {field.name for field in family.fields}
    answer = row.get("answer")
    return Provider(
        label=row["label"],
        docs=row["docs"],
        paste=row["paste"],
        secret=row["secret"],
        made_by=row.get("made_by", "provider"),
        test=row.get("test", ""),
        example=row.get("example", "test"),
        family=family,
        fields=fields,
        adjustable=tuple(f for f in fields if f.name in adjustable),
        challenge=row.get("challenge", ""),
        needs_secret=row.get("needs_secret", True),
        can_sign=row.get("can_sign", bool(family.sign or family.fill)),
        answer=(answer[0], answer[1], answer[2]) if answer else None,
    )


def _load() -> dict[str, Provider]:
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return {slug: _provider(slug, row) for slug, row in table.items()}


PROVIDERS: Mapping[str, Provider] = _load()
