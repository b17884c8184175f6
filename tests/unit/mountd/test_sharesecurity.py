# SPDX-License-Identifier: GPL-2.0-or-later
"""The security descriptors of shares: kept in a file, and obeyed when somebody connects."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, TreeFlag, TreeRequestFlag, TreeStatus, UserFlag
from ksmbd.smb.acl import ACCESS_ALLOWED, ACCESS_DENIED, Ace, Acl
from ksmbd.smb.constants import FILE_ALL_ACCESS, FILE_GENERIC_READ, FILE_WRITE_DATA, GENERIC_ALL, WRITE_DAC, WRITE_OWNER
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import (
    ANONYMOUS,
    AUTHENTICATED_USERS,
    BUILTIN_ADMINISTRATORS,
    BUILTIN_GUESTS,
    EVERYONE,
    UNIX_GROUPS,
    UNIX_USERS,
    Sid,
)
from mountd.files import FileProblem
from mountd.requests import Requests
from mountd.rpc.telling import hidden
from mountd.sharesecurity import DESCRIPTOR_MAX, EVERYBODY, FILE, ShareSecurity

DOMAIN = Sid(5, (21, 1, 2, 3))
ANN, BOB, STAFF = DOMAIN.child(3002), DOMAIN.child(3004), UNIX_GROUPS.child(2000)
CHANGE = FILE_ALL_ACCESS & ~(WRITE_DAC | WRITE_OWNER)
SHARES = """
[global]
map to guest = bad user
[docs]
path = /srv
read only = no
guest ok = yes
admin users = bob
[listed]
path = /srv
access based share enum = yes
guest ok = yes
"""


def descriptor(*aces: tuple[int, int, Sid]) -> bytes:
    dacl = Acl(tuple(Ace(kind, 0, mask, sid) for kind, mask, sid in aces))
    return SecurityDescriptor(SE_DACL_PRESENT | SE_SELF_RELATIVE, dacl=dacl).encode()


def allow(mask: int, sid: Sid) -> tuple[int, int, Sid]:
    return ACCESS_ALLOWED, mask, sid


def deny(mask: int, sid: Sid) -> tuple[int, int, Sid]:
    return ACCESS_DENIED, mask, sid


def site() -> Requests:
    found = Requests(configuration(SHARES), accounts("ann", "bob"), LocalServices(), users=FakeUsers())
    found.sub_authorities = (1, 2, 3)
    return found


def connect(requests: Requests, account: str, share: str = "docs", guest: bool = False, check: bool = False) -> Message:
    fields = {
        "handle": 1, "session_id": 5, "connect_id": 1, "account": account.encode() + b"\0",
        "account_flags": int(UserFlag.GUEST_ACCOUNT if guest else UserFlag(0)), "share": share.encode() + b"\0",
        "peer_addr": b"192.0.2.1\0", "flags": int(TreeRequestFlag.CHECK if check else TreeRequestFlag(0)),
    }  # fmt: skip
    answer = requests.answer(1, Message(Event.TREE_CONNECT_REQUEST, fields))
    assert answer is not None
    return answer


ALLOWED: Sequence[tuple[tuple[tuple[int, int, Sid], ...], str, bool]] = (
    ((allow(GENERIC_ALL, EVERYONE),), "ann", False),
    ((allow(FILE_ALL_ACCESS, ANN),), "ann", False),
    ((allow(FILE_ALL_ACCESS, UNIX_USERS.child(1001)),), "ann", False),
    ((allow(FILE_ALL_ACCESS, STAFF),), "ann", False),
    ((allow(FILE_ALL_ACCESS, AUTHENTICATED_USERS),), "ann", False),
    ((allow(FILE_ALL_ACCESS, BUILTIN_ADMINISTRATORS),), "bob", False),
    ((allow(FILE_ALL_ACCESS, BUILTIN_GUESTS),), "stranger", True),
    ((allow(FILE_ALL_ACCESS, ANONYMOUS),), "", True),
)


@pytest.mark.parametrize(("aces", "account", "guest"), ALLOWED)
def test_who_is_let_in(aces: tuple[tuple[int, int, Sid], ...], account: str, guest: bool) -> None:
    requests = site()
    requests.share_security.set("docs", descriptor(*aces))
    answer = connect(requests, account, guest=guest)
    assert answer.fields["status"] == TreeStatus.OK
    assert answer.fields["connection_flags"] & TreeFlag.WRITABLE
    assert answer.numbers.get(Attribute.WITHHELD, 0) & ~(WRITE_OWNER | WRITE_DAC) == 0


@pytest.mark.parametrize(("aces", "account", "guest"), [
    ((), "ann", False),
    ((allow(FILE_ALL_ACCESS, BOB),), "ann", False),
    ((deny(FILE_ALL_ACCESS, ANN), allow(FILE_ALL_ACCESS, EVERYONE)), "ann", False),
    ((deny(FILE_ALL_ACCESS, STAFF), allow(FILE_ALL_ACCESS, EVERYONE)), "ann", False),
    ((allow(FILE_ALL_ACCESS, AUTHENTICATED_USERS),), "stranger", True),
    ((allow(FILE_ALL_ACCESS, BUILTIN_ADMINISTRATORS),), "ann", False),
    ((allow(FILE_ALL_ACCESS, BUILTIN_GUESTS),), "", True),
    ((allow(WRITE_DAC, EVERYONE),), "ann", False),
])  # fmt: skip
def test_who_is_not(
    aces: tuple[tuple[int, int, Sid], ...], account: str, guest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("mountd.requests.refused", lambda what, address, why, *more, **fields: told.append(why))
    requests = site()
    requests.share_security.set("docs", descriptor(*aces))
    assert connect(requests, account, guest=guest).fields["status"] == TreeStatus.INVALID_USER
    assert told == ["the security descriptor of the share"]
    assert len(requests.sessions) == 0
    assert connect(requests, account, guest=guest, check=True).fields["status"] == TreeStatus.INVALID_USER


def test_who_may_read_may_not_write() -> None:
    requests = site()
    requests.share_security.set("docs", descriptor(allow(FILE_GENERIC_READ, EVERYONE), allow(FILE_ALL_ACCESS, BOB)))
    answer = connect(requests, "ann")
    assert answer.fields["connection_flags"] & (TreeFlag.READ_ONLY | TreeFlag.WRITABLE) == TreeFlag.READ_ONLY
    assert answer.numbers[Attribute.WITHHELD] == FILE_ALL_ACCESS & ~FILE_GENERIC_READ
    assert connect(requests, "bob", check=True).fields["connection_flags"] & TreeFlag.WRITABLE


def test_who_may_change_may_not_set_permissions() -> None:
    requests = site()
    requests.share_security.set("docs", descriptor(allow(CHANGE, EVERYONE)))
    answer = connect(requests, "ann")
    assert answer.fields["connection_flags"] & TreeFlag.WRITABLE
    assert answer.numbers[Attribute.WITHHELD] == WRITE_DAC | WRITE_OWNER


def test_a_descriptor_grants_nothing_that_the_lists_refuse() -> None:
    requests = site()
    requests.share_security.set("listed", EVERYBODY)
    assert connect(requests, "ann", "listed").fields["connection_flags"] & TreeFlag.READ_ONLY


def test_a_share_without_one_and_ipc_are_open() -> None:
    requests = site()
    requests.share_security.set("ipc$", descriptor())
    for share in ("docs", "IPC$"):
        answer = connect(requests, "ann", share)
        assert answer.fields["status"] == TreeStatus.OK
        assert not answer.numbers
        requests.answer(1, Message(Event.TREE_DISCONNECT_REQUEST, {"session_id": 5, "connect_id": 1}))


def test_lists_of_shares_leave_out_what_may_not_be_read() -> None:
    requests = site()
    requests.share_security.set("listed", descriptor(allow(FILE_WRITE_DATA, EVERYONE), allow(FILE_ALL_ACCESS, ANN)))
    requests.share_security.set("docs", descriptor())
    assert hidden(requests, "ann", False) == []
    assert hidden(requests, "bob", False) == ["listed"]
    assert hidden(requests, "", True) == ["listed"]


# ------------------------------------------------------------------------------------------------------- the file


def test_descriptors_outlive_the_server(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / FILE)
    security = ShareSecurity(path)
    security.set("Docs", descriptor(allow(FILE_ALL_ACCESS, ANN)))
    security.set("gone", EVERYBODY)
    security.remove("GONE")
    assert os.stat(path).st_mode & 0o777 == 0o600
    again = ShareSecurity(path)
    assert again.encoded("docs") == descriptor(allow(FILE_ALL_ACCESS, ANN))
    assert again.descriptor("gone") is None
    assert again.encoded("gone") == EVERYBODY
    assert list(json.loads(Path(path).read_text())) == ["docs"]


@pytest.mark.parametrize("data", [
    b"", b"x", bytes(20), b"\1\0\0\x80" + b"\xff" * 16, EVERYBODY + bytes(DESCRIPTOR_MAX),
])  # fmt: skip
def test_what_is_no_descriptor_is_not_kept(tmp_path: Path, data: bytes) -> None:
    security = ShareSecurity(str(tmp_path / FILE))
    with pytest.raises(ValueError):
        security.set("docs", data)
    assert security.descriptor("docs") is None
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"docs": "x"}', '{"docs": ""}', '{"docs": 1}', "\xff"])
def test_a_file_that_is_broken_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(FileProblem, match=FILE):
        ShareSecurity(str(tmp_path / FILE))


def test_what_cannot_be_written_is_not_in_force(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    security = ShareSecurity()
    security._path = str(tmp_path / "state" / FILE)
    with pytest.raises(OSError):
        security.set("docs", EVERYBODY)
    assert security.descriptor("docs") is None
    assert security.version == 0
