"""Tells every ingest process that a source or secret has changed."""

from __future__ import annotations


def announce_change() -> None:
    """Ask every process to read its registry again; they also do so by themselves every 3 s."""
