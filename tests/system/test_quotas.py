# SPDX-License-Identifier: GPL-2.0-or-later
"""Quotas of ext4 and XFS by a client: told, set, listed, and the room that they leave; as root, where the kernel has
them."""
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import mount
from rawclient import RawClient, status_of
from server import KsmbdServer, StartKsmbd
from unixusers import People, people

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.reader import Reader
from ksmbd.smb.sid import UNIX_USERS, Sid, read_sid

QUOTA_FILE = "$Extend\\$Quota:$Q:$INDEX_ALLOCATION"
PASSWORD = "Passw0rd!"
MiB = 1 << 20
OPTIONS = {"ext4": "usrquota,grpquota", "xfs": "uquota,gquota"}


@pytest.fixture(params=["ext4", "xfs"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    features = ["-O", "quota"] if request.param == "ext4" else []
    with mount(request.param, tmp_path, OPTIONS[request.param], features) as folder:
        yield folder


@pytest.fixture
def them() -> Iterator[People]:
    if os.geteuid():
        pytest.skip("needs root")
    with people() as made:
        yield made


@pytest.fixture
def server(mounted: Path, them: People, start_ksmbd: StartKsmbd) -> KsmbdServer:
    """alice is an administrator of the share, bob a user."""
    share = {"path": str(mounted), "force user": "", "admin users": them.alice}
    return start_ksmbd(shares={"s": share}, users={them.alice: PASSWORD, them.bob: PASSWORD})


def query(client: RawClient, file: bytes, kind: int, info_class: int, data: bytes = b"") -> tuple[int, bytes]:
    """Status and output of a QUERY_INFO (MS-SMB2 2.2.37)."""
    fields = (41, kind, info_class, 4096, 104 if data else 0, 0, len(data), 0, 0, *struct.unpack("<QQ", file))
    client.credits -= 1
    reply = client.reply(client.post(c.QUERY_INFO, struct.pack("<HBBIHHIIIQQ", *fields) + data))
    offset, length = struct.unpack_from("<HI", reply, 66)
    return status_of(reply), reply[offset : offset + length]


def entries(data: bytes) -> dict[int, tuple[int, int, int]]:
    """uid -> used, threshold, limit, of SIDs of the server's own domain or S-1-22-1."""
    found, at = {}, 0
    while True:
        following, _, _, used, threshold, limit = struct.unpack_from("<IIqqqq", data, at)
        sid = read_sid(Reader(data, at + 40))
        uid = sid.rid if sid.domain == UNIX_USERS else (sid.rid - 1000) // 2
        found[uid] = used, threshold, limit
        if not following:
            return found
        at += following


def one(sid: Sid) -> bytes:
    """SMB2_QUERY_QUOTA_INFO of one SID."""
    raw = sid.encode()
    return struct.pack("<BBHIII", 0, 0, 0, 8 + len(raw), 0, 0) + struct.pack("<II", 0, len(raw)) + raw


EVERYTHING = struct.pack("<BBHIII", 0, 1, 0, 0, 0, 0)


def set_limits(client: RawClient, file: bytes, uid: int, threshold: int, limit: int) -> int:
    sid = UNIX_USERS.child(uid).encode()
    data = struct.pack("<IIqqqq", 0, len(sid), 0, 0, threshold, limit) + sid
    fields = (33, c.INFO_QUOTA, 0, len(data), 96, 0, 0, *struct.unpack("<QQ", file))
    return client.status(c.SET_INFO, struct.pack("<HBBIHHIQQ", *fields) + data)


def test_quotas(server: KsmbdServer, mounted: Path, them: People) -> None:
    bob = them.uid(them.bob)
    (mounted / "f").write_bytes(os.urandom(300_000))
    os.chown(mounted / "f", bob, them.gid(them.bob))
    os.sync()
    sid = UNIX_USERS.child(bob)
    with RawClient(server, user=them.alice) as admin, RawClient(server, user=them.bob) as user:
        file = admin.open(QUOTA_FILE, 0x12019F, c.FILE_OPEN, 0)
        root = user.open("", 0x120089, c.FILE_OPEN, 0)
        # what is there
        status, data = query(admin, file, c.INFO_QUOTA, 0, one(sid))
        assert status == 0
        used = entries(data)[bob][0]
        assert 300_000 <= used < 320_000 and entries(data)[bob][1:] == (-1, -1)
        assert query(admin, file, c.INFO_FILESYSTEM, 6)[1][40:44] == b"\3\0\0\0"
        # set, told to both, and listed
        assert set_limits(admin, file, bob, 2 * MiB, 4 * MiB) == 0
        for client, handle in ((admin, file), (user, root)):
            status, data = query(client, handle, c.INFO_QUOTA, 0, one(sid))
            assert (status, entries(data)) == (0, {bob: (used, 2 * MiB, 4 * MiB)})
        status, data = query(admin, file, c.INFO_QUOTA, 0, EVERYTHING)
        assert status == 0 and entries(data)[bob] == (used, 2 * MiB, 4 * MiB)
        more = struct.pack("<BBHIII", 0, 0, 0, 0, 0, 0)
        assert query(admin, file, c.INFO_QUOTA, 0, more)[0] == s.STATUS_NO_MORE_ENTRIES
        # the room
        total, left, actual, sectors, sector = struct.unpack("<QQQII", query(user, root, c.INFO_FILESYSTEM, 7)[1])
        assert total * sectors * sector == 2 * MiB and left * sectors * sector <= 2 * MiB - used
        assert actual * sectors * sector > 100 * MiB
        # what bob may not
        assert query(user, root, c.INFO_QUOTA, 0, EVERYTHING)[0] == s.STATUS_ACCESS_DENIED
        assert query(user, root, c.INFO_QUOTA, 0, one(UNIX_USERS.child(0)))[0] == s.STATUS_ACCESS_DENIED
        assert set_limits(user, root, bob, -1, -1) == s.STATUS_ACCESS_DENIED
        # beyond it, and without it
        target = user.open("g", 0x12019F, c.FILE_OPEN_IF, 0)
        written = [user.status(c.WRITE, user.write_body(target, at * 65536, 65536) + bytes(65536)) for at in range(70)]
        assert written[0] == 0 and written[-1] == s.STATUS_DISK_FULL
        assert set_limits(admin, file, bob, -1, -1) == 0
        assert user.status(c.WRITE, user.write_body(target, 5 * MiB, 65536) + bytes(65536)) == 0


def test_the_quota_file_is_the_administrators(server: KsmbdServer, them: People) -> None:
    with RawClient(server, user=them.bob) as user:
        body = user.create_body(QUOTA_FILE, 0x120089, c.FILE_OPEN, 0)
        assert user.status(c.CREATE, body) == s.STATUS_ACCESS_DENIED
