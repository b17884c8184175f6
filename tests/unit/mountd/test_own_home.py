# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's own home in the list of shares that this user is shown, and nobody else."""

from __future__ import annotations

import pytest
from impacket.dcerpc.v5 import rpcrt, srvs
from impacket.dcerpc.v5.rpcrt import DCERPCException
from mountd_doubles import FakeUsers
from rpc_doubles import Transport, View, told

from mountd import config
from mountd.rpc.facts import Level, ShareFacts, decode_share, encode_share
from mountd.rpc.pipe import Pipe
from mountd.rpc.service import Caller
from mountd.rpc.services import SERVICES
from mountd.rpc.telling import own_home
from mountd.unixusers import UnixUser

USERS = {
    "ann": UnixUser("ann", 1001, 1001, (1001,), "/home/ann"), "none": UnixUser("none", 1002, 1002, (1002,), "/"),
    "docs": UnixUser("docs", 1003, 1003, (1003,), "/home/docs"),
}  # fmt: skip


def server(text: str, samba: bool = True) -> View:
    view = View()
    view.configuration = config.parse(text + "[docs]\npath = /srv\n", "smb.conf", samba=samba)
    view.users = FakeUsers(USERS)
    return view


@pytest.mark.parametrize(
    ("text", "account", "restricted", "path"),
    [
        ("[homes]\nbrowseable = no\n", "ann", False, "/home/ann"),
        ("[homes]\npath = /data/%S\n", "ann", False, "/data/ann"),
        ("[homes]\npath = /data/%I/%U\n", "ann", False, "/data/192.0.2.7/ann"),
        ("[homes]\npath = /data/../%U\n", "ann", False, "/data/../ann"),
        ("[homes]\n", "ann", True, None),
        ("[homes]\n", "", False, None),
        ("[homes]\n", "stranger", False, None),
        ("[homes]\n", "none", False, None),
        ("[homes]\n", "docs", False, None),
        ("[global]\nbrowseable = no\n[homes]\n", "ann", False, None),
        ("[global]\n", "ann", False, None),
    ],
)
def test_who_is_shown_a_home(text: str, account: str, restricted: bool, path: str | None) -> None:
    found = own_home(server(text), account, restricted, "192.0.2.7")
    assert (found.path if found is not None else None) == path
    if found is not None:
        assert (found.name, found.served, found.browseable, found.security) == (account, True, True, "")


def test_a_ksmbd_conf_has_no_homes() -> None:
    assert own_home(server("[homes]\npath = /h\n", samba=False), "ann", False, "") is None


def test_lists_and_questions_have_it_for_its_user_alone() -> None:
    home = ShareFacts("ann", "Home directory of ann", False, True, True, 128, "/home/ann")
    assert decode_share(encode_share(home)) == home
    assert decode_share(encode_share(None)) is None
    for own in (home, None):
        caller = Caller(lambda: told("ann", False), Level.SHARES, "ann", home=own)
        dce = rpcrt.DCERPC_v5(Transport(Pipe(SERVICES["srvsvc"], caller)))
        dce.connect()
        dce.bind(srvs.MSRPC_UUID_SRVS)
        listed = srvs.hNetrShareEnum(dce, 1)["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]
        assert [share["shi1_netname"] for share in listed] == ["docs\0", "IPC$\0", *(["ann\0"] if own else [])]
        if own is None:
            with pytest.raises(DCERPCException):
                srvs.hNetrShareGetInfo(dce, "ANN\0", 1)
        else:
            told_of = srvs.hNetrShareGetInfo(dce, "ANN\0", 1)["InfoStruct"]["ShareInfo1"]
            assert told_of["shi1_remark"] == "Home directory of ann\0"
