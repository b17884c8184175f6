# SPDX-License-Identifier: GPL-2.0-or-later
"""System ACLs: who may set them, what is inherited of them, and the records of what they audit."""
from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vfs_share import FLAGS, Share, StillClock

from ksmbd import limits, log
from ksmbd.kernel import credentials
from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import ACCESS_ALLOWED, CONTAINER_INHERIT, OBJECT_INHERIT, SYSTEM_AUDIT, Ace, Acl
from ksmbd.smb.audit import FAILED_ACCESS, SUCCESSFUL_ACCESS
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SACL_PRESENT,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
    parse_security_descriptor,
)
from ksmbd.smb.sid import EVERYONE
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs.audit import AuditLog
from ksmbd.vfs.files import LocalFiles

ALICE, BOB = (2001, 2001), (2002, 2002)
ACL_FLAGS = FLAGS | {"acl_xattr"}
BOTH = SUCCESSFUL_ACCESS | FAILED_ACCESS
INHERITED = OBJECT_INHERIT | CONTAINER_INHERIT

root = [
    pytest.mark.root,
    pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as two Unix users"),
]


class MovingClock(StillClock):
    seconds = 0.0

    @override
    def monotonic(self) -> float:
        return self.seconds


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def with_lists(dacl: list[Ace], *sacl: Ace) -> bytes:
    control = SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_SACL_PRESENT
    return SecurityDescriptor(control, None, None, Acl(tuple(dacl)), Acl(sacl)).encode()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestRecords:
    """Of the log alone: no root."""

    def test_a_file_of_lines_that_may_be_moved_away(self, tmp_path: Path) -> None:
        clock = MovingClock()
        path = tmp_path / "audit"
        audit = AuditLog(str(path), clock)
        audit.write({"path": "caf\u00e9\n"}, "u")
        assert path.stat().st_mode & 0o777 == 0o600
        path.rename(tmp_path / "old")
        audit.write({"path": "2"}, "u")
        clock.seconds = 1.0
        audit.write({"path": "3"}, "u")
        audit.close()
        assert [record["path"] for record in records(tmp_path / "old")] == ["caf\u00e9\n", "2"]
        (last,) = records(path)
        assert last["path"] == "3" and last["time"].endswith("+00:00")

    def test_the_rate_is_limited_and_says_so(self, tmp_path: Path) -> None:
        clock = MovingClock()
        audit = AuditLog(str(tmp_path / "audit"), clock)
        most = limits.AUDIT_RECORDS_OF_USER.value
        for number in range(most + 7):
            audit.write({"number": number}, "loud")
        audit.write({"number": -1}, "quiet")
        clock.seconds = limits.AUDIT_SECONDS
        audit.write({"number": -2}, "loud")
        audit.close()
        found = records(tmp_path / "audit")
        assert len(found) == most + 3 and "left_out" not in found[-3]
        assert found[-2]["left_out"] == 7 and found[-2]["of"] == "loud" and found[-1]["number"] == -2

    def test_without_a_file_or_room_the_log_has_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines: list[str] = []
        monkeypatch.setattr(log, "record", lines.append)
        AuditLog("", MovingClock()).write({"n": 1}, "u")
        AuditLog(str(tmp_path / "missing" / "audit"), MovingClock()).write({"n": 2}, "u")
        assert [json.loads(line)["n"] for line in lines] == [1, 2]
        assert all(line.isprintable() for line in lines)


class TestOnAShare:
    pytestmark = root

    @pytest.fixture
    def audit(self, files: LocalFiles, tmp_path: Path) -> Path:
        files.audit_log = AuditLog(str(tmp_path / "audit"), StillClock())
        (tmp_path / "audit").touch()
        return tmp_path / "audit"

    def all_for(self, share: Share, *uids: int) -> list[Ace]:
        return [Ace(ACCESS_ALLOWED, INHERITED, c.FILE_ALL_ACCESS, share.files.idmap.user_sid(uid)) for uid in uids]

    def test_the_privilege_alone_reads_and_sets_them(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        admin = make_share(user=ALICE, flags=ACL_FLAGS, admin=True)
        alice.open("f").close()
        wanted = c.ACCESS_SYSTEM_SECURITY | c.READ_CONTROL
        assert status_of(lambda: alice.create("f", access=wanted)) == s.STATUS_PRIVILEGE_NOT_HELD
        given = with_lists(self.all_for(alice, ALICE[0]), Ace(SYSTEM_AUDIT, BOTH, 1, EVERYONE))
        assert status_of(lambda: alice.create("g", security_descriptor=given)) == s.STATUS_PRIVILEGE_NOT_HELD
        assert alice.names() == ["f"]
        file = admin.open("f", access=c.ACCESS_SYSTEM_SECURITY | c.WRITE_DAC)
        both = c.SACL_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION
        file.set_security_descriptor(both, given)
        back = parse_security_descriptor(file.security_descriptor(both))
        assert back.sacl == parse_security_descriptor(given).sacl

    def test_what_is_done_and_refused_is_told(self, make_share: Callable[..., Share], audit: Path) -> None:
        admin = make_share(user=ALICE, flags=ACL_FLAGS, admin=True)
        folder = admin.mkdir("d", access=c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY)
        mask = c.FILE_READ_DATA | c.FILE_WRITE_DATA | c.DELETE
        lists = with_lists(self.all_for(admin, ALICE[0]), Ace(SYSTEM_AUDIT, INHERITED | BOTH, mask, EVERYONE))
        folder.set_security_descriptor(c.SACL_SECURITY_INFORMATION | c.DACL_SECURITY_INFORMATION, lists)
        alice, bob = make_share(user=ALICE, flags=ACL_FLAGS), make_share(user=BOB, flags=ACL_FLAGS)
        alice.open("d\\f", access=c.FILE_WRITE_DATA | c.FILE_READ_ATTRIBUTES).close()
        credentials.as_server()
        os.chmod(alice.path / "d", 0o755)  # for bob to come as far as the file: its own list counts
        alice.open("d\\f", access=c.FILE_READ_ATTRIBUTES).close()
        alice.open("d\\f", access=c.FILE_READ_DATA).close()
        assert status_of(lambda: bob.create("d\\f", access=c.DELETE)) == s.STATUS_ACCESS_DENIED
        credentials.as_server()
        found = [(r["outcome"], r["path"], r["access"], r["sid"]) for r in records(audit)]
        sids = [str(alice.files.idmap.user_sid(uid)) for uid in (ALICE[0], BOB[0])]
        assert found == [
            ("success", "d", ["WRITE_DATA"], sids[0]),  # FILE_ADD_FILE
            ("success", "d\\f", ["WRITE_DATA"], sids[0]),
            ("success", "d\\f", ["READ_DATA"], sids[0]),
            ("failure", "d\\f", ["DELETE"], sids[1]),
        ]
        assert records(audit)[0]["share"] == "share" and records(audit)[0]["user"] == "user"

    def test_administrators_are_told_of_too(self, make_share: Callable[..., Share], audit: Path) -> None:
        admin = make_share(user=ALICE, flags=ACL_FLAGS, admin=True)
        lists = with_lists(self.all_for(admin, ALICE[0]), Ace(SYSTEM_AUDIT, BOTH, c.FILE_READ_DATA, EVERYONE))
        admin.open("f", security_descriptor=lists, access=c.FILE_READ_DATA).close()
        admin.open("f", access=c.FILE_READ_DATA).close()
        credentials.as_server()
        assert [record["path"] for record in records(audit)] == ["f", "f"]
