"""What has been told to end does, even where a library drops the word."""

from __future__ import annotations

import asyncio
import sys

import pytest

from apps.streams import ending
from apps.streams.ending import end


async def listen(asked: asyncio.Future[None], rounds: list[int]) -> None:
    """Waits as redis-py does; lives on where its cancellation is dropped."""
    await asyncio.wait_for(asked, 60)
    rounds.append(1)
    await asyncio.Event().wait()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on no cancellation is dropped")
async def test_a_task_whose_cancellation_is_dropped_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "ASK_AGAIN_S", 0.01)
    asked = asyncio.get_running_loop().create_future()
    rounds: list[int] = []
    task = asyncio.create_task(listen(asked, rounds))
    await asyncio.sleep(0)
    asked.set_result(None)  # just as the end is asked for
    await end(task)
    assert rounds == [1]  # the first word was dropped
    assert task.cancelled()


async def test_a_task_that_failed_is_no_reason_to_fail() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end(task)
    assert isinstance(task.exception(), ValueError)


async def test_nothing_to_end_is_ended_at_once() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end()
    await end(done)
