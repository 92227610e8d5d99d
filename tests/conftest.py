"""Settings of the test run, before Django reads them, and the fixtures all tests share."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import django
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

DATA_DIR = Path(tempfile.mkdtemp(prefix="pipeline-admin-tests-"))
(DATA_DIR / "staticfiles").mkdir()  # WhiteNoise warns where it is missing
os.environ["DATA_DIR"] = str(DATA_DIR)
os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 40
os.environ["VAULT_KEYS"] = base64.urlsafe_b64encode(b"k" * 32).decode()
os.environ.setdefault("DATABASE_URL", os.environ.pop("TEST_DATABASE_URL", ""))
os.environ["DJANGO_SETTINGS_MODULE"] = "pipeline_admin.settings"
os.environ["ALLOWED_HOSTS"] = "localhost,127.0.0.1,testserver"
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "EGRESS_ALLOW"):
    os.environ.pop(name, None)
for name in ("QUEUE_URL", "QUEUE_DRAIN_URL", "BROKER_URL"):
    os.environ.pop(name, None)

# How long one example takes says what else the machine does, and nothing of the code.
hypothesis_settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")

# The fixtures below import models, and pytest-django looked for settings before they were set.
django.setup()

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.spool",
    "tests.fixtures.skips",
    "tests.fixtures.postgres",
    "tests.fixtures.cast",
    "tests.fixtures.shared_data",
    "tests.fixtures.browser",
    "tests.fixtures.fake_llm",
    "tests.fixtures.batches",
    "tests.fixtures.fake_destination",
    "tests.fixtures.fake_amazon",
]
