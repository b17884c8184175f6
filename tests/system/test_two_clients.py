# SPDX-License-Identifier: GPL-2.0-or-later
"""What one client hears of another: oplock and lease breaks, sharing, deletes, renames."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from rawclient import ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

ALL = 0x1F01FF
NONE, LEVEL_2, EXCLUSIVE, BATCH, LEASE = 0x00, 0x01, 0x08, 0x09, 0xFF


@pytest.fixture(scope="module")
def server(start_shaped: StartKsmbd) -> KsmbdServer:
    return start_shaped(options={"smb2 leases": "yes"})


@pytest.fixture
def first(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server, guid=b"first client    ") as client:
        yield client


@pytest.fixture
def second(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server, guid=b"second client   ") as client:
        yield client


def create(name: str, oplock: int = NONE, *, access: int = ALL, disposition: int = c.FILE_OPEN_IF, share: int = 7,
           options: int = 0x40, contexts: bytes = b"") -> bytes:  # fmt: skip
    raw = name.encode("utf-16-le")
    padded = raw + bytes(-(56 + len(raw)) % 8) if contexts else raw
    where = 120 + len(padded) if contexts else 0
    fixed = struct.pack("<HBBIQQIIIIIHHII", 57, 0, oplock, 2, 0, 0, access, 0x80, share, disposition, options, 120,
                        len(raw), where, len(contexts))  # fmt: skip
    return fixed + padded + contexts


def lease(key: bytes, state: int) -> bytes:
    """RqLs, version 1 (MS-SMB2 2.2.13.2.8)."""
    return struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 24, 32, b"RqLs") + struct.pack("<16sIIQ", key, state, 0, 0)


def opened(reply: bytes) -> tuple[bytes, int]:
    """FileId and oplock level of a CREATE response."""
    assert status_of(reply) == 0, hex(status_of(reply))
    return bytes(reply[128:144]), reply[66]


def acknowledge(file: bytes, level: int) -> bytes:
    return struct.pack("<HBBI16s", 24, level, 0, 0, file)


@pytest.mark.parametrize("level", [EXCLUSIVE, BATCH])
def test_an_oplock_breaks_before_the_second_open_is_answered(
    first: RawClient, second: RawClient, level: int
) -> None:
    name = f"oplock {level}"
    file, granted = opened(first.reply(first.post(c.CREATE, create(name, level))))
    assert granted == level
    waiting = second.post(c.CREATE, create(name, BATCH, access=0x120089))
    interim = second.frame()
    assert status_of(interim) == 0x103
    notice = first.notice()
    assert notice[12:14] == struct.pack("<H", c.OPLOCK_BREAK)
    size, new_level = struct.unpack_from("<HB", notice, 64)
    assert (size, new_level, notice[72:88]) == (24, LEVEL_2, file)
    assert first.status(c.OPLOCK_BREAK, acknowledge(file, LEVEL_2)) == 0
    other, granted = opened(second.reply(waiting))
    assert granted == LEVEL_2
    # both now hold level II: a write takes it from the other without an acknowledgement
    first.ask(c.WRITE, first.write_body(file, 0, 4) + b"data")
    assert struct.unpack_from("<HB", second.notice(), 64) == (24, NONE)
    first.close(file)
    second.close(other)


def test_closing_instead_of_acknowledging(first: RawClient, second: RawClient) -> None:
    file, _ = opened(first.reply(first.post(c.CREATE, create("closed", BATCH))))
    waiting = second.post(c.CREATE, create("closed", BATCH))
    first.notice()
    first.close(file)
    other, granted = opened(second.reply(waiting))
    assert granted == BATCH
    second.close(other)


def test_a_client_that_vanishes_while_its_oplock_breaks(first: RawClient, second: RawClient) -> None:
    opened(first.reply(first.post(c.CREATE, create("vanished", BATCH))))
    waiting = second.post(c.CREATE, create("vanished", NONE))
    first.notice()
    first.vanish()
    second.close(opened(second.reply(waiting))[0])


def test_a_waiting_open_can_be_cancelled(first: RawClient, second: RawClient) -> None:
    file, _ = opened(first.reply(first.post(c.CREATE, create("cancelled", BATCH))))
    waiting = second.post(c.CREATE, create("cancelled", NONE))
    interim = second.frame()
    assert status_of(interim) == 0x103
    async_id = struct.unpack_from("<Q", interim, 32)[0]
    second.post(c.CANCEL, b"\4\0\0\0", flags=2, message_id=waiting, tree_id=async_id >> 32)
    # `tree_id` is the upper half of the AsyncId: the lower one stands where the process id was
    if async_id & 0xFFFFFFFF != 0xFEFF:
        frame = second.message(c.CANCEL, b"\4\0\0\0")
        struct.pack_into("<IIQQ", frame, len(frame) - 68 + 16, 2, 0, waiting, async_id)
        second.post_bytes(second.wire(frame))
    assert status_of(second.reply(waiting)) == s.STATUS_CANCELLED
    first.close(file)


def test_a_lease_breaks_to_what_both_may_have(first: RawClient, second: RawClient) -> None:
    """Read, write and handle caching of one client against the open of another (MS-SMB2 3.3.4.7)."""
    key = b"lease key of one"
    reply = first.reply(first.post(c.CREATE, create("leased", LEASE, contexts=lease(key, 7))))
    file, granted = opened(reply)
    assert granted == LEASE
    assert key + struct.pack("<I", 7) in reply
    waiting = second.post(c.CREATE, create("leased", NONE, access=0x120089))
    notice = first.notice()
    size, _, flags = struct.unpack_from("<HHI", notice, 64)
    assert (size, flags & 1, notice[72:88]) == (44, 1, key)
    now, then = struct.unpack_from("<II", notice, 88)
    assert (now, then) == (7, 3)
    assert first.status(c.OPLOCK_BREAK, struct.pack("<HHI16sIQ", 36, 0, 0, key, then, 0)) == 0
    second.close(opened(second.reply(waiting))[0])
    first.close(file)


def test_delete_on_close_waits_for_the_last_one(server: KsmbdServer, first: RawClient, second: RawClient) -> None:
    mine, _ = opened(first.reply(first.post(c.CREATE, create("shared", options=0x40))))
    theirs, _ = opened(second.reply(second.post(c.CREATE, create("shared", options=0x1040))))
    second.close(theirs)
    assert (server.share_path / "shared").exists()
    assert second.status(c.CREATE, create("shared")) == s.STATUS_DELETE_PENDING
    first.close(mine)
    assert not (server.share_path / "shared").exists()


def test_a_vanished_client_s_delete_on_close_is_done(server: KsmbdServer, first: RawClient) -> None:
    opened(first.reply(first.post(c.CREATE, create("temporary", options=0x1040))))
    assert (server.share_path / "temporary").exists()
    first.vanish()
    server.wait_stats("\nopens: 0\n")
    assert not (server.share_path / "temporary").exists()


def test_a_used_message_id_ends_the_connection(first: RawClient, second: RawClient) -> None:
    first.ask(c.ECHO, b"\4\0\0\0")
    with pytest.raises(ConnectionEnded):
        first.status(c.ECHO, b"\4\0\0\0", message_id=first.message_id - 1)
    assert second.status(c.ECHO, b"\4\0\0\0") == 0
