"""Events of one ordering key stay together, and adding or removing a shard moves few keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from apps.streams.addresses import find_mistake, get_name
from apps.streams.placement import Placement

KEYS = [b"evt_%d" % number for number in range(20_000)]
PLACED = list("112133122331")
THREE = ["queue-1:6379", "queue-2:6379", "queue-3:6379"]


def place(names: Sequence[str]) -> list[str]:
    """The name of each key's shard."""
    placement = Placement(names)
    return [names[placement.find(b"shop", key)] for key in KEYS]


def test_the_shards_share_the_keys() -> None:
    counts = Counter(place(THREE))
    assert all(0.9 < counts[name] / (len(KEYS) / 3) < 1.1 for name in THREE)


def test_a_place_depends_on_the_names_and_not_on_their_order() -> None:
    assert place(THREE) == place(THREE[::-1])


def test_a_new_shard_takes_its_part_and_no_other_key_moves() -> None:
    before, after = place(THREE), place([*THREE, "queue-4:6379"])
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"queue-4:6379"}
    assert 0.22 < len(moved) / len(KEYS) < 0.28


def test_a_removed_shard_gives_its_keys_to_all_others_and_no_other_key_moves() -> None:
    before, after = place(THREE), place([THREE[0], THREE[2]])
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {old for old, _ in moved} == {THREE[1]}
    assert Counter(new for _, new in moved)[THREE[0]] == pytest.approx(len(moved) / 2, rel=0.15)


def test_a_place_is_the_same_in_every_process_and_release() -> None:
    placed = [name[6] for name in place(THREE)[:12]]
    assert placed == PLACED


def test_the_same_key_of_another_source_may_lie_elsewhere() -> None:
    placement = Placement(THREE)
    assert [placement.find(b"shop", key) for key in KEYS] != [
        placement.find(b"forum", key) for key in KEYS
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://:secret@queue-1:6379/0", "queue-1:6379"),
        ("rediss://ada:other@queue-1", "queue-1:6379"),
        ("redis://queue-1/3", "queue-1:6379/3"),
        ("redis://queue-1?db=3", "queue-1:6379/3"),
        ("redis://[::1]:7000/0", "::1:7000"),
        ("unix:///run/a%20b.sock", "/run/a b.sock"),
        ("unix://ada:secret@/run/queue.sock?db=2", "/run/queue.sock/2"),
        ("redis://:secret@10.1.2.3:6379/0#two", "two"),
    ],
)
def test_a_shard_is_named_by_its_place_or_by_a_word(url: str, name: str) -> None:
    assert get_name(url) == name


@pytest.mark.parametrize(
    ("urls", "word"),
    [
        (["redis://one/0", "redis://:secret@one:6379"], "same server"),
        (["redis://one/0#a", "redis://one/0#b"], "same server"),
        (["redis://one/0#a", "redis://two/0#a"], "the name a"),
        (["redis://one/0#no%20blank"], "'no blank'"),
    ],
)
def test_what_cannot_be_shards_of_one_queue_is_said(urls: list[str], word: str) -> None:
    assert word in find_mistake(urls)
    assert "secret" not in find_mistake(urls)


@pytest.mark.parametrize(
    "url", ["redis://one:port/0", "redis://:sec/ret@one:6379", "redis://[one/0"]
)
def test_an_address_that_cannot_be_read_is_said_without_its_password(url: str) -> None:
    mistake = find_mistake([url])
    assert "can't be read" in mistake
    assert "sec" not in mistake


def test_a_servers_databases_may_be_shards() -> None:
    assert find_mistake(["redis://one/0", "redis://one/1", "redis://two/0#a"]) == ""
