# SPDX-License-Identifier: GPL-2.0-or-later
"""Who works on a share: the session's user, the share's own guest account, and with or without the forced group."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bench import Bench

from ksmbd.smb import constants as c
from ksmbd.smb import tree_connect
from ksmbd.smb.ports import Client, GuestIds, Identity, ShareConfig, TreeConnectResult
from ksmbd.smb.status import STATUS_BAD_NETWORK_NAME, NtStatusError

OWN = GuestIds(4001, 4002, (4002, 4003))


def connect(guest: GuestIds | None, **answer: Any) -> tuple[ShareConfig, Identity]:
    """TREE_CONNECT with mountd's answer: the share and the user that its files are for."""
    made = Bench(c.DIALECT_300)
    asked: list[tuple[ShareConfig, Identity]] = []
    made.server.sessions[made.session.session_id] = made.session
    ask: Any = made.server.files

    def volume(share: ShareConfig, identity: Identity, read_only: bool) -> Any:
        asked.append((share, identity))
        return made.volume

    ask.volume = volume
    made.daemon.shares["S"] = ShareConfig("s", "/srv", force_gid=500, guest=guest)
    made.daemon.tree_result = TreeConnectResult(**answer)
    path = r"\\server\s".encode("utf-16-le")
    body = b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path
    made.run(tree_connect.handle, made.request(c.TREE_CONNECT, body))
    return asked[0]


@pytest.mark.parametrize("writable", [True, False])
def test_the_shares_guest_account_works_for_its_guests(writable: bool) -> None:
    _, identity = connect(OWN, is_guest=True, writable=writable)
    assert (identity.uid, identity.gid, identity.groups, identity.is_admin) == (4001, 4002, (4002, 4003), False)


def test_others_and_shares_without_one_keep_their_user() -> None:
    for guest, is_guest in ((OWN, False), (None, True)):
        _, identity = connect(guest, is_guest=is_guest, writable=True)
        assert (identity.account, identity.uid, identity.gid) == ("alice", 1000, 1000)
    _, identity = connect(OWN, writable=True, is_admin=True)
    assert identity.is_admin


def test_who_is_no_member_keeps_his_group() -> None:
    assert connect(None, writable=True)[0].force_gid == 500
    assert connect(None, writable=True, keeps_group=True)[0].force_gid is None


def test_what_the_share_s_descriptor_withholds_is_the_user_s_alone() -> None:
    assert connect(None, writable=True)[0].withheld == 0
    assert connect(None, writable=True, withheld=c.WRITE_DAC)[0].withheld == c.WRITE_DAC


def test_rights_are_those_of_the_share_alone() -> None:
    share = ShareConfig("s", "/srv", guest=OWN)
    alice = Identity("alice", "WORKGROUP", 1000, 1000, (), b"")
    assert tree_connect.rights_on_share(alice, share, True, False) == replace(alice, is_admin=True)
    assert tree_connect.rights_on_share(alice, share, False, False) is alice


def test_a_personal_share_is_asked_for_with_the_session() -> None:
    made = Bench(c.DIALECT_300)
    made.server.sessions[made.session.session_id] = made.session
    made.daemon.shares["HOMES"] = ShareConfig("homes", "", personal=True)
    made.daemon.personal["HOMES"] = ShareConfig("alice", "/home/alice", personal=True)
    path = r"\\server\homes".encode("utf-16-le")
    body = b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path
    made.run(tree_connect.handle, made.request(c.TREE_CONNECT, body))
    transport = made.connection.transport
    client = Client("alice", False, transport.peer, transport.local, "", c.DIALECT_300)
    assert ("personal_share", "homes", client) in made.daemon.calls
    ((*_, share, _, asked),) = [call for call in made.daemon.calls if call[0] == "tree_connect"]
    assert (share, asked) == ("alice", client)
    assert "/home/alice" in [tree.share.path for tree in made.session.tree_connects.values()]


def test_a_personal_share_that_the_session_has_not_is_none() -> None:
    made = Bench(c.DIALECT_300)
    made.daemon.shares["BOB"] = ShareConfig("bob", "", personal=True)
    path = r"\\server\bob".encode("utf-16-le")
    body = b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path
    with pytest.raises(NtStatusError) as caught:
        made.run(tree_connect.handle, made.request(c.TREE_CONNECT, body))
    assert caught.value.status == STATUS_BAD_NETWORK_NAME
