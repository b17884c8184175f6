# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.sidhistory: read from Samba's own listing, kept, resolved to uids, and told to the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from rpc_doubles import look, told

from ksmbd import limits
from ksmbd.smb import former_sids
from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.sid import sid_from_text
from ksmbd.smb.status import WireError
from ksmbd.smb.unix_sids import domain_sid
from mountd import sidhistory
from mountd.files import FileProblem
from mountd.rpc.names import Names, Unanswered, decode_found, encode_found
from mountd.rpc.translation import Translated, Translator
from mountd.rpc.well_known import SidUse
from mountd.sidhistory import Former
from mountd.unixnames import answers
from mountd.unixusers import UnixUser
from mountd.usernamescript import Script

LISTED = b"""---------------
Unix username:        otto
NT username:
Account Flags:        [U          ]
User SID:             S-1-5-21-1-2-3-1001
Primary Group SID:    S-1-5-21-1-2-3-513
Full Name:            User SID: no
---------------
Unix username:        pc7$
User SID:             S-1-5-21-1-2-3-1002
Primary Group SID:    S-1-5-21-1-2-3-513
---------------
Unix username:        anna
User SID:             S-1-5-21-1-2-3-1003
Primary Group SID:    S-1-22-2-100
---------------
Unix username:        broken
User SID:             (NULL SID)
"""
OTTO = Former("otto", sid_from_text("S-1-5-21-1-2-3-1001"), sid_from_text("S-1-5-21-1-2-3-513"))
ANNA = Former("anna", sid_from_text("S-1-5-21-1-2-3-1003"), None)
OWN = sid_from_text("S-1-5-21-7-8-9")


class Users:
    """Otto alone has a Unix account."""

    def user(self, name: str) -> UnixUser | None:
        return UnixUser("otto", 1000, 1000) if name == "otto" else None

    def group(self, name: str) -> int | None:
        raise AssertionError(name)

    def group_name(self, gid: int) -> str | None:
        return None

    def mapped(self, script: Script, name: str) -> str | None:
        return None


def test_the_users_of_a_listing() -> None:
    assert sidhistory.from_pdbedit(LISTED) == [OTTO, ANNA]
    assert sidhistory.from_pdbedit(b"no listing\nUser SID: S-1-5-21-1-2-3-1001\n") == []


def test_the_file(tmp_path: Path) -> None:
    path = sidhistory.path_for(str(tmp_path / "ksmbd.conf"))
    assert sidhistory.load(path) == []
    assert sidhistory.merge(path, [OTTO]) == (1, 0)
    assert sidhistory.merge(path, [OTTO, ANNA]) == (1, 1)
    assert sidhistory.load(path) == [OTTO, ANNA]
    assert Path(path).stat().st_mode & 0o777 == 0o600
    moved = OTTO._replace(name="otto2")
    assert sidhistory.merge(path, [moved]) == (0, 1)
    assert sidhistory.load(path) == [moved, ANNA]


@pytest.mark.parametrize("line", [
    "otto", "otto S-1-5-32-544", "otto S-1-5-21-1-2-3", "otto S-1-5-21-1-2-3-1001 S-1-5-21-9-9-9-513",
    "otto S-1-5-21-1-2-3-1001 S-1-5-21-1-2-3-513 x", "otto S-1-5-21-1-2-3-x",
])  # fmt: skip
def test_a_wrong_line_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ksmbd.sidhistory"
    path.write_text(f"# a comment\n{line}\n")
    with pytest.raises(FileProblem, match=r"ksmbd\.sidhistory: allowed is USER SID"):
        sidhistory.load(str(path))


def test_more_than_there_may_be(tmp_path: Path) -> None:
    path = str(tmp_path / "ksmbd.sidhistory")
    many = [Former(f"u{n}", OWN.child(n), None) for n in range(limits.FORMER_USERS.value)]
    sidhistory.merge(path, many)
    with pytest.raises(FileProblem, match="at most"):
        sidhistory.merge(path, [OTTO])
    assert len(sidhistory.load(path)) == len(many)
    Path(path).write_text(Path(path).read_text() * 2)
    with pytest.raises(FileProblem, match="more than"):
        sidhistory.load(path)


def test_who_counts() -> None:
    ours = Former("otto", OWN.child(1002), None)
    found, problems = sidhistory.resolved([OTTO, ANNA, ours], Users(), OWN)
    assert found == [FormerUser(OTTO.user, OTTO.group, 1000)]
    assert problems == [
        "anna has no Unix account",
        "S-1-5-21-7-8-9-1002 of otto is of this server's own domain, where the number is another's",
    ]


def test_what_the_engine_is_told() -> None:
    users = (FormerUser(OTTO.user, OTTO.group, 1000), FormerUser(ANNA.user, None, 1 << 31))
    assert former_sids.decode(former_sids.encode(users)) == users
    assert former_sids.decode("") == ()
    longest = (FormerUser(sid_from_text("S-1-5-21" + "-4294967295" * 4), OWN.child((1 << 32) - 1), (1 << 32) - 1),)
    assert len(former_sids.encode(longest * limits.FORMER_USERS.value)) < 65_000  # of a netlink attribute


@pytest.mark.parametrize("text", [
    "1000", "x S-1-5-21-1-2-3-4", "-1 S-1-5-21-1-2-3-4", "1 S-1-5-32-544", "1 S-1-5-21-1-2-3-4 -5",
    "1 S-1-5-21-1-2-3-4 5 6", ",", ",".join(["1 S-1-5-21-1-2-3-4"] * (limits.FORMER_USERS.value + 1)),
])  # fmt: skip
def test_what_it_does_not_believe(text: str) -> None:
    with pytest.raises(WireError):
        former_sids.decode(text)


def test_names_for_the_sids_of_a_former_server() -> None:
    otto, anna = OTTO.user, ANNA.user
    former = sidhistory.by_sid([
        FormerUser(otto, otto.domain.child(513), 1001), FormerUser(anna, anna.domain.child(1500), 7),
    ])  # fmt: skip
    own = domain_sid((11, 22, 33))
    sids = [otto, otto.domain.child(513), anna, anna.domain.child(1500), own.child(3002)]
    names = Names()
    with pytest.raises(Unanswered) as wanted:
        Translator(told("bob", False), names).sids(sids)
    names.add(decode_found(encode_found(answers(wanted.value.questions, (), look, former))))
    assert Translator(told("bob", False), names).sids(sids) == [
        Translated(otto, SidUse.USER, "ann", "BÄR", otto.domain),
        Translated(sids[1], SidUse.GROUP, "None", "BÄR", otto.domain),
        None,  # uid 7 is nobody's
        None,  # which group this is nobody knows
        Translated(sids[4], SidUse.USER, "ann", "BÄR", own),
    ]
