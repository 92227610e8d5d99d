"""Amounts, for people."""

from __future__ import annotations

from decimal import Decimal

from django import template

register = template.Library()


@register.filter
def usd(amount: Decimal | None) -> str:
    """`$1,234.56`; of small amounts the digits that matter: `$0.0012`; – where there is none."""
    if amount is None:
        return "–"
    if amount == 0 or abs(amount) >= Decimal("0.1"):
        return f"${amount:,.2f}"
    digits = 4 if abs(amount) >= Decimal("0.001") else 6
    return f"${amount:.{digits}f}"
