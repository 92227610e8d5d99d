"""One running system for all end-to-end tests, with other people's servers faked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.system import System, running_system
from tests.fixtures.fake_destination import FakeDestination
from tests.fixtures.fake_llm import FakeLLM


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeLLM]:
    """The LLM provider, which counts what it is asked."""
    server = FakeLLM(latency_ms=20)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def receiver() -> Iterator[FakeDestination]:
    """Somebody's endpoint, which counts what it is given."""
    server = FakeDestination()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, provider: FakeLLM) -> Iterator[System]:
    """Started by `manage.py up` in a folder with a space in its name."""
    data_dir = tmp_path_factory.mktemp("a running system") / "data"
    with running_system(
        data_dir,
        OPENAI_BASE_URL=provider.base_url,
        OPENAI_API_KEY="fake-provider-key",
        OPENAI_MODEL="fake",
        EGRESS_ALLOW="127.0.0.1/32",
        LLM_PRICE_INPUT="1",
        LLM_PRICE_OUTPUT="2",
    ) as running:
        yield running
