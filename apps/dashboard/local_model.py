"""Whether answers come from the small model that comes along for trying things out."""

from __future__ import annotations

from django.conf import settings

LOCAL_MODEL = "smollm2"


def is_local(model: str = "") -> bool:
    """Of a pipeline's model; empty means the model of OPENAI_MODEL."""
    return LOCAL_MODEL in (model or settings.OPENAI_MODEL).lower()
