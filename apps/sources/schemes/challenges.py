"""Handshakes: how a source answers a provider's challenge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from apps.sources.schemes.base import Challenge
from apps.sources.schemes.options import Options

CHALLENGES: Mapping[str, Callable[[Options, Sequence[str]], Challenge]] = {}
