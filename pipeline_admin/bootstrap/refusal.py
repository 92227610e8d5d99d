"""The one error of the two commands: a sentence for the person who typed them."""

from __future__ import annotations


class Refusal(Exception):
    """Nothing was started, or all was stopped again; the text says why and what to do."""
