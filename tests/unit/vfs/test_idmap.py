# SPDX-License-Identifier: GPL-2.0-or-later
"""Users who moved here from another server: their tokens and ids by the SIDs of there."""

from __future__ import annotations

from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.ports import Identity
from ksmbd.smb.sid import sid_from_text
from ksmbd.vfs.idmap import IdMap

THERE = sid_from_text("S-1-5-21-1-2-3")
FORMER = (
    FormerUser(THERE.child(1001), THERE.child(513), 1000), FormerUser(THERE.child(1003), THERE.child(513), 1001),
    FormerUser(sid_from_text("S-1-5-21-4-4-4-1200"), None, 1000),
)  # fmt: skip
IDS = IdMap((7, 8, 9), FORMER)
SOMEBODY = Identity("somebody", "", 1000, 1000, (), b"")


def test_a_token_has_the_sids_of_there() -> None:
    token = IDS.token(SOMEBODY, 1000, 1000, ())
    assert token.user == IDS.user_sid(1000)
    assert {FORMER[0].user, THERE.child(513), FORMER[2].user} <= token.groups
    assert FORMER[1].user not in token.groups


def test_others_have_none_of_them() -> None:
    there = {one.user for one in FORMER} | {THERE.child(513)}
    assert not there & IDS.token(SOMEBODY, 1002, 1000, (1000,)).groups
    assert not there & IdMap((7, 8, 9)).token(SOMEBODY, 1000, 1000, ()).groups


def test_they_are_the_users() -> None:
    assert IDS.uid(FORMER[0].user) == 1000 and IDS.uid(FORMER[1].user) == 1001
    assert IDS.uid(THERE.child(513)) is None and IDS.uid(THERE.child(1005)) is None
    assert IDS.uid(IDS.user_sid(1000)) == 1000
