"""Logs say where and of what kind, and never quote an event."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

PAYLOAD = "card 4111 1111 1111 1111"


def fail() -> None:
    try:
        json.loads("{" + PAYLOAD)
    except ValueError as error:
        raise RuntimeError(f"could not read {PAYLOAD}") from error


def test_an_exception_is_written_without_its_message() -> None:
    logging_config: Any = settings.LOGGING
    formatter = import_string(logging_config["formatters"]["line"]["()"])("%(message)s")
    try:
        fail()
    except RuntimeError:
        record = logging.LogRecord("w", logging.ERROR, "", 0, "It failed.", None, sys.exc_info())
    text = formatter.format(record)
    assert text.startswith("It failed.")
    for word in ("RuntimeError", "JSONDecodeError", "in fail"):
        assert word in text
    assert "4111" not in text
