# SPDX-License-Identifier: GPL-2.0-or-later
"""Stored persistent opens of which some cannot be read: the others are served, and nothing is mistaken."""
from __future__ import annotations

import json
import marshal
import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from ksmbd.oplock import state_records
from ksmbd.oplock.state import FILE, StateDirectory
from ksmbd.oplock.state_rebuild import UNREADABLE, Rebuilt, rebuild
from ksmbd.oplock.state_records import Unreadable
from ksmbd.smb.ports import DurableRequest, FileKey

from .world import World

FILES = (1, 2, 3)


def filled(folder: Path) -> None:
    """A state directory with a persistent open, and a lock of it, of each of the files."""
    state = StateDirectory(folder)
    client = World(state=state).client("a")
    for inode in FILES:
        wanted = DurableRequest(2, bytes((inode,)) * 16, 0, persistent=True, handle=b"handle%d" % inode)
        ref, _ = client.open(inode, durable=wanted)
        client.lock(ref, 0, inode)
    state.close()


def change(folder: Path, table: bytes, inode: int, how: Callable[[bytes], bytes]) -> None:
    """Change the values that are stored for a file."""
    with lmdb.open(os.fspath(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        database = env.open_db(table, txn, create=False)
        prefix = FILE.pack(1, inode)
        for key, value in list(txn.cursor(database)):
            if key.startswith(prefix):
                txn.put(key, how(value), db=database)


def loaded(folder: Path) -> dict[FileKey, int]:
    """The files with persistent opens, and how many locks each has."""
    state = StateDirectory(folder)
    found = {file: len(adopt.locks) for file, adopt in state.load()}
    state.close()
    return found


def nothing_gone(file: FileKey, handle: bytes) -> bool:
    return False


def flipped(value: bytes) -> bytes:
    middle = len(value) // 2
    return value[:middle] + bytes((value[middle] ^ 1,)) + value[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "overwritten": lambda value: value[:20] + b"\xff" * 16 + value[36:],
    "one bit": flipped,
    "cut": lambda value: value[:-3],
    "empty": lambda value: b"",
    "another layout": lambda value: b"\xe8\x03" + value,
    "a later layout": lambda value: value[:2] + b"\0\x09" + value[4:],
    "other fields": lambda value: state_records.pack((1, 2)),
    "fields of other types": lambda value: state_records.pack((1, [tuple(range(32))], [], [], [])),
    "marshalled, but no record": lambda value: marshal.dumps((1, [(b"open",)], [], [])),
    "not marshalled": lambda value: b"(" + bytes(9),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", [b"records", b"locks"])
@pytest.mark.parametrize("made_anew", [True, False])
def test_one_damaged_record_does_not_take_the_others_along(
    tmp_path: Path, damage: str, table: bytes, made_anew: bool
) -> None:
    """A file of which one lock is damaged has none of its opens: nobody may rely on a part of its locks."""
    filled(tmp_path)
    change(tmp_path, table, 2, DAMAGES[damage])
    if made_anew:
        done = rebuild(tmp_path, nothing_gone)
        assert (done.kept, done.unreadable, done.gone) == (2, 1, 0)
        assert done.why
        (line,) = (tmp_path / UNREADABLE).read_text().splitlines()
        assert json.loads(line)["key"] == FILE.pack(1, 2).hex()
    assert loaded(tmp_path) == {(1, 1): 1, (1, 3): 1}


def test_the_next_decision_replaces_what_cannot_be_read(tmp_path: Path) -> None:
    filled(tmp_path)
    change(tmp_path, b"records", 2, DAMAGES["one bit"])
    state = StateDirectory(tmp_path)
    world = World(state=state)
    world.client("a").open(2, durable=DurableRequest(2, b"n" * 16, 0, persistent=True))
    state.close()
    assert set(loaded(tmp_path)) == {(1, 1), (1, 2), (1, 3)}


def test_what_an_earlier_server_stored_is_read(tmp_path: Path) -> None:
    """It stored the fields alone, of an open those that it had then."""
    filled(tmp_path)

    def as_before(value: bytes) -> bytes:
        serial, opens, holders, streams, links = state_records.unpack(value)
        return marshal.dumps((serial, [fields[:25] for fields in opens], holders, streams, links))

    change(tmp_path, b"records", 2, as_before)
    change(tmp_path, b"locks", 2, lambda value: marshal.dumps(state_records.unpack(value)))
    assert loaded(tmp_path) == {(1, 1): 1, (1, 3): 1}, "read where memory is limited alone"
    assert rebuild(tmp_path, nothing_gone) == Rebuilt(3, 0, "", 0)
    assert loaded(tmp_path) == {(1, 1): 1, (1, 2): 1, (1, 3): 1}


def test_a_file_that_is_gone_has_no_opens(tmp_path: Path) -> None:
    """Its inode may be another file's by now."""
    filled(tmp_path)
    asked: list[tuple[FileKey, bytes]] = []

    def is_gone(file: FileKey, handle: bytes) -> bool:
        asked.append((file, handle))
        return file == (1, 3)

    assert rebuild(tmp_path, is_gone) == Rebuilt(2, 0, "", 1)
    assert asked == [((1, inode), b"handle%d" % inode) for inode in FILES]
    assert loaded(tmp_path) == {(1, 1): 1, (1, 2): 1}


def test_nothing_was_stored_yet(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    assert rebuild(tmp_path, nothing_gone) == Rebuilt(0, 0, "", 0)
    assert loaded(tmp_path) == {}


def test_every_bit_counts() -> None:
    value = state_records.pack(("stream", 1, 2, True))
    for bit in range(len(value) * 8):
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unreadable):
            state_records.unpack(bytes(damaged))
