"""What a spool file gives back: every whole record, in order, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.streams.entries import Values
from apps.streams.spool.folders import Folder, adopt_all
from apps.streams.spool.records import KEY_BYTES, LENGTHS, MARKER, Record, encode, read
from apps.streams.spool.segments import Segment

KEY = bytes(range(KEY_BYTES))


def record(number: int, body: bytes = b'{"text": "Where is my parcel?"}') -> Record:
    key = b"key %d" % number
    values = (b"%032x" % number, b"7", key, b"ticket", b"application/json", b"1700000000000", body)
    return Record(b"shop", key, b"d:7:" + key, (*values, b"5", b"", b"digest"))


def records_of(data: bytes, key: bytes = KEY) -> list[Record]:
    return [found.record for found in read(data, key).found]


# --- Records ------------------------------------------------------------------------------------


def test_a_record_has_room_for_every_value_of_an_entry() -> None:
    assert len(get_args(Values)) == len(record(1).values)
    assert LENGTHS.size == 4 * (len(record(1)) - 1 + len(record(1).values))


pieces = st.binary(max_size=300)
any_record = st.builds(Record, pieces, pieces, pieces, st.tuples(*[pieces] * 10))


@given(st.lists(any_record, max_size=5), st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_what_is_written_is_read(records: list[Record], key: bytes) -> None:
    data = b"".join(encode(each, key) for each in records)
    contents = read(data, key)
    assert [found.record for found in contents.found] == records
    assert (contents.end, contents.damage) == (len(data), 0)
    assert sum(each.size for each in records) == len(data)


def test_a_file_that_is_torn_anywhere_gives_the_records_before_the_tear() -> None:
    records = [record(number) for number in range(3)]
    data = b"".join(encode(each, KEY) for each in records)
    for length in range(len(data) + 1):
        contents = read(data[:length], KEY)
        whole = length // records[0].size
        assert [found.record for found in contents.found] == records[:whole]
        assert (contents.end, contents.damage) == (whole * records[0].size, 0)


def test_a_tail_of_anything_is_no_record() -> None:
    data = encode(record(1), KEY)
    for tail in (bytes(5000), os.urandom(5000), MARKER * 500, encode(record(2), KEY)[:-1]):
        assert read(data + tail, KEY).end == len(data)


@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_one_changed_byte_costs_its_record_and_no_other(change: int) -> None:
    records = [record(number) for number in range(3)]
    data = b"".join(encode(each, KEY) for each in records)
    size = records[0].size
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= change
        contents = read(bytes(damaged), KEY)
        left = [each for number, each in enumerate(records) if number != at // size]
        assert [found.record for found in contents.found] == left
        assert contents.damage == (size if at < 2 * size else 0)


@given(st.binary(max_size=2000), st.integers(0, 1200))
def test_bytes_that_were_put_in_cost_nothing_that_follows(junk: bytes, at: int) -> None:
    records = [record(number) for number in range(6)]
    data = b"".join(encode(each, KEY) for each in records)
    found = records_of(data[:at] + junk + data[at:])
    assert found == [each for each in records if each in found]  # in order, none twice
    assert len(found) >= 5


def test_a_body_that_imitates_a_record_is_never_taken_for_one() -> None:
    forged = encode(record(666), os.urandom(KEY_BYTES))
    data = encode(record(1, body=forged), KEY)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert records_of(bytes(damaged)) == []


# --- Files and folders ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.create(tmp_path / "spool")


def write(folder: Folder, *records: Record) -> Segment:
    segment = Segment.create(folder.path, "127.0.0.1:6379", 1)
    segment.append(b"".join(encode(each, segment.key) for each in records))
    segment.publish(len(records))
    return segment


def test_nobody_else_may_read_it(folder: Folder) -> None:
    segment = write(folder, record(1))
    for path, mode in ((segment.path, 0o600), (folder.path, 0o700), (folder.path.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_torn_end_is_cut_off_the_file_that_is_adopted(folder: Folder) -> None:
    whole = write(folder, record(1), record(2)).path
    whole.write_bytes(whole.read_bytes() + b"\xf5ev\n torn")
    found, torn = Segment.adopt(whole).look_through()
    assert [each.record for each in found] == [record(1), record(2)]
    assert torn == 9
    assert Segment.adopt(whole).look_through()[1] == 0


def test_after_a_failed_fsync_nothing_is_added_to_the_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = write(folder, record(1))

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            segment.append(encode(record(2), segment.key))
    assert not segment.is_open
    assert [each.record for each in segment.load()] == [record(1)]
    assert segment.path.stat().st_size == record(1).size


def test_a_file_that_somebody_deleted_keeps_nothing(folder: Folder) -> None:
    segment = write(folder, record(1))
    segment.path.unlink()
    with pytest.raises(OSError, match="deleted"):
        segment.append(encode(record(2), segment.key))


def test_a_folder_is_adopted_only_when_its_process_has_died(folder: Folder) -> None:
    write(folder, record(1))
    root = folder.path.parent
    assert adopt_all(root) == []
    folder.release()
    [adopted] = adopt_all(root)
    assert adopted.path == folder.path
    assert adopt_all(root) == []  # it has an owner again


def test_an_empty_folder_goes_with_its_process(folder: Folder) -> None:
    root = folder.path.parent
    folder.release()
    assert list(root.iterdir()) == []


def test_an_empty_folder_of_a_process_that_was_killed_is_removed(folder: Folder) -> None:
    root = folder.path.parent
    os.close(folder._lock)  # as the kernel does
    assert adopt_all(root) == []
    assert list(root.iterdir()) == []
