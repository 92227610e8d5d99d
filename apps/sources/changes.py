"""Tells every ingest process that a source or secret has changed."""

from __future__ import annotations

from apps.streams.announcements import announce

TOPIC = "sources"


def announce_change() -> None:
    """Ask every process to read its registry again. Never raises: they also do so by themselves
    every 3 s."""
    announce(TOPIC)
