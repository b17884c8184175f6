# SPDX-License-Identifier: GPL-2.0-or-later
"""Who works on a share: the session's user, the share's own guest account, and with or without the forced group."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import Bench

from ksmbd.smb import constants as c
from ksmbd.smb import tree_connect
from ksmbd.smb.ports import Identity, ShareConfig, TreeConnectResult

OWN = {"guest uid": "4001", "guest gid": "4002", "guest groups": "4002 4003"}


def connect(options: dict[str, str], flags: int) -> tuple[ShareConfig, Identity]:
    """TREE_CONNECT with mountd's flags: the share and the user that its files are for."""
    made = Bench(c.DIALECT_300)
    asked: list[tuple[ShareConfig, Identity]] = []
    made.server.sessions[made.session.session_id] = made.session
    ask: Any = made.server.files

    def volume(share: ShareConfig, identity: Identity, read_only: bool) -> Any:
        asked.append((share, identity))
        return made.volume

    ask.volume = volume
    made.daemon.shares["S"] = ShareConfig("s", "/srv", 0, force_gid=500, options=options)
    made.daemon.tree_result = TreeConnectResult(0, flags)
    path = r"\\server\s".encode("utf-16-le")
    body = b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path
    made.run(tree_connect.handle, made.request(c.TREE_CONNECT, body))
    return asked[0]


@pytest.mark.parametrize("flags", [1 | 4, 1 | 2])
def test_the_shares_guest_account_works_for_its_guests(flags: int) -> None:
    _, identity = connect(OWN, flags)
    assert (identity.uid, identity.gid, identity.groups, identity.is_admin) == (4001, 4002, (4002, 4003), False)


def test_others_and_shares_without_one_keep_their_user() -> None:
    for options, flags in ((OWN, 4), ({}, 1 | 4)):
        _, identity = connect(options, flags)
        assert (identity.account, identity.uid, identity.gid) == ("alice", 1000, 1000)
    _, identity = connect(OWN, 4 | 8)
    assert identity.is_admin


def test_who_is_no_member_keeps_his_group() -> None:
    assert connect({}, 4)[0].force_gid == 500
    assert connect({}, 4 | 0x100)[0].force_gid is None


def test_rights_are_those_of_the_share_alone() -> None:
    share = ShareConfig("s", "/srv", 0, options=OWN)
    alice = Identity("alice", "WORKGROUP", 1000, 1000, (), b"")
    assert tree_connect.rights_on_share(alice, share, True, False) == replace(alice, is_admin=True)
    assert tree_connect.rights_on_share(alice, share, False, False) is alice
