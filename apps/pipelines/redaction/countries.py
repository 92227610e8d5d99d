"""The countries whose phone numbers and ids are looked for where a pipeline names none."""

from __future__ import annotations

COUNTRIES = (
    "AT", "AU", "BE", "BG", "BR", "CA", "CH", "CL", "CN", "CZ", "DE", "DK", "EE", "ES", "FI",
    "FR", "GB", "GR", "HR", "IE", "IL", "IN", "IT", "JP", "KR", "LT", "MX", "NL", "NO", "NZ",
    "PL", "PT", "RO", "RU", "SE", "SG", "TR", "US", "ZA",
)  # fmt: skip
