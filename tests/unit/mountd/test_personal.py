# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares of an smb.conf that depend on the session: variables, and home directories."""

from __future__ import annotations

import re
import socket

import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts

from ksmbd.ipc.answers import share_config
from ksmbd.ipc.codec import decode, encode
from ksmbd.ipc.constants import TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.options import client_options
from ksmbd.smb.ports import Client, ShareConfig
from mountd import config
from mountd.config import Configuration
from mountd.personal import SUBSTITUTED, Who, is_personal, resolve
from mountd.requests import Requests
from mountd.rpc.facts import Level
from mountd.rpc.telling import facts
from mountd.sharing import TreeAnswer, TreeRequest, decide_tree_connect, share_response
from mountd.unixusers import UnixUser
from mountd.variables import Unsafe

USERS = FakeUsers({
    "Ann": UnixUser("Ann", 1001, 2000, (2000,), "/home/ann"),
    "ann": UnixUser("ann", 1001, 2000, (2000,), "/home/ann"),
    "bob": UnixUser("bob", 1002, 1002, (1002,), "/srv/bob"),
    "daemon": UnixUser("daemon", 1, 1, (1,), "/"),
    "nobody": UnixUser("nobody", 65534, 65534, (65534,), "/nonexistent"),
})  # fmt: skip
ANN = Who("ann", False, "192.0.2.7", "PC7", "2001:db8::1", "SMB3_11")
HOMES = "[homes]\nread only = no\nbrowseable = no\nvalid users = %S\n"


def samba(text: str) -> Configuration:
    found = config.parse(text, "smb.conf", samba=True)
    assert not found.errors, found.errors
    return found


def path(template: str, who: Who = ANN) -> str:
    share = resolve("s", who, samba(f"[s]\npath = {template}\n"), USERS)
    assert share is not None
    return share.path


@pytest.mark.parametrize(("template", "expected"), [
    ("/srv/%U", "/srv/ann"), ("/srv/%u/x", "/srv/ann/x"), ("/srv/%S", "/srv/s"), ("%H/share", "/home/ann/share"),
    ("/srv/%g", "/srv/staff"), ("/srv/%G", "/srv/staff"), ("/srv/%m", "/srv/pc7"), ("/srv/%M", "/srv/192.0.2.7"),
    ("/srv/%I", "/srv/192.0.2.7"), ("/srv/%J", "/srv/192_0_2_7"), ("/srv/%i", "/srv/2001:db8::1"),
    ("/srv/%j", "/srv/2001_db8__1"), ("/srv/%R", "/srv/SMB3_11"), ("/srv/%a", "/srv/UNKNOWN"),
    ("/srv/%h", f"/srv/{socket.gethostname()}"), ("/srv/50%off", "/srv/50%off"), ("/srv/%z%U", "/srv/%zann"),
])  # fmt: skip
def test_variables_of_a_path(template: str, expected: str) -> None:
    assert path(template) == expected


def test_the_time_is_that_of_the_connection() -> None:
    assert re.fullmatch(r"/srv/\d{8}_\d{6}", path("/srv/%t"))


def test_variables_are_those_of_smb_conf_alone() -> None:
    found = config.parse("[s]\npath = /srv/%U\n[homes]\npath = /home/%S\n", "ksmbd.conf")
    assert not is_personal("s", found) and not is_personal("ann", found)
    share = resolve("s", ANN, found, USERS)
    assert share is not None and share.path == "/srv/%U"
    assert "homes" in found.shares


def test_force_user_is_the_user_of_the_service() -> None:
    share = resolve("s", ANN, samba("[s]\npath = /srv/%u-%U%H\nforce user = bob\n"), USERS)
    assert share is not None and share.path == "/srv/bob-ann/srv/bob"


def test_a_client_without_a_name_has_its_address() -> None:
    assert path("/srv/%m", Who("ann", False, "192.0.2.7")) == "/srv/192.0.2.7"


@pytest.mark.parametrize(("template", "who"), [
    ("/srv/%U", Who("..", False, "192.0.2.7")), ("/srv/%U", Who(".", False, "192.0.2.7")),
    ("/srv/%U", Who("../root", False, "192.0.2.7")), ("/srv/%U/x", Who("", True, "192.0.2.7")),
    ("/srv/.%U", Who(".", False, "192.0.2.7")), ("/srv/%m", Who("ann", False, "192.0.2.7", "a/b")),
    ("/srv/%m", Who("ann", False, "192.0.2.7", "a\nb")), ("/srv/%m", Who("ann", False, "192.0.2.7", "x" * 300)),
    ("/srv/%m%U", Who(".", False, "192.0.2.7", ".")), ("/srv/../a/%U", Who("..", False, "192.0.2.7")),
])  # fmt: skip
def test_no_name_leads_out_of_the_folder(template: str, who: Who) -> None:
    with pytest.raises(Unsafe):
        path(template, who)


def test_what_the_administrator_wrote_may_have_dots() -> None:
    assert path("/srv/../%U") == "/srv/../ann"


def test_all_parameters_with_variables_are_texts() -> None:
    share = samba("[s]\npath = /s\n").shares["s"]
    for name in SUBSTITUTED:
        assert isinstance(getattr(share, name.replace(" ", "_").replace(":", "_")), (str, tuple)), name


def test_lists_names_and_patterns() -> None:
    text = (
        "[s]\npath = /s\ncomment = Of %U at %m\nforce group = +%g\nvalid users = %U @%g %S\nwrite list = %u\n"
        "veto files = /.%U/x/\nhide files = /%I*/\nguest account = %U\n"
    )
    share = resolve("s", ANN, samba(text), USERS)
    assert share is not None
    assert (share.comment, share.force_group, share.guest_account) == ("Of ann at pc7", "+staff", "ann")
    assert (share.valid_users, share.write_list) == (("ann", "@staff", "s"), ("ann",))
    assert (share.veto_files, share.hide_files) == ((".ann", "x"), ("192.0.2.7*",))


@pytest.mark.parametrize("line", ["valid users = %U", "veto files = /%m/", "force user = %U"])
def test_no_name_becomes_a_group_or_a_pattern(line: str) -> None:
    who = Who("@staff", False, "192.0.2.7", "*")
    with pytest.raises(Unsafe):
        resolve("s", who, samba(f"[s]\npath = /s\n{line}\n"), USERS)


class TestHomes:
    def test_a_home_is_the_share_of_a_users_name(self) -> None:
        found = samba(HOMES)
        share = resolve("ANN", ANN, found, USERS)
        assert share is None  # no account of this spelling: SystemUsers looks for lower case, too
        share = resolve("ann", ANN, found, USERS)
        assert share is not None
        assert (share.name, share.path, share.valid_users, share.browseable) == ("ann", "/home/ann", ("ann",), True)

    def test_homes_is_that_of_the_session(self) -> None:
        share = resolve("Homes", ANN, samba(HOMES), USERS)
        assert share is not None and share.name == "ann"

    def test_a_template_of_the_path(self) -> None:
        share = resolve("bob", ANN, samba("[homes]\npath = /home/%S\n"), USERS)
        assert share is not None and share.path == "/home/bob"

    @pytest.mark.parametrize("name", ["none", "daemon", "../ann", "a\\b", ""])
    def test_who_has_none(self, name: str) -> None:
        assert resolve(name, ANN, samba(HOMES), USERS) is None

    @pytest.mark.parametrize("who", [Who("", True, "192.0.2.7"), Who("nobody", True, "192.0.2.7")])
    def test_guests_have_none(self, who: Who) -> None:
        assert resolve("homes", who, samba(HOMES), USERS) is None

    def test_a_section_of_that_name_has_precedence(self) -> None:
        found = samba(HOMES + "[ann]\npath = /other\n")
        for name in ("ann", "homes"):
            share = resolve(name, ANN, found, USERS)
            assert share is not None and share.path == "/other"

    def test_browseable_is_that_of_global(self) -> None:
        share = resolve("ann", ANN, samba("[global]\nbrowseable = no\n[homes]\nbrowseable = yes\n"), USERS)
        assert share is not None and not share.browseable


def connect(found: Configuration, name: str, account: str = "ann") -> TreeAnswer:
    request = TreeRequest(account, UserFlag(0), name, "192.0.2.7", Who(account, False, "192.0.2.7"))
    return decide_tree_connect(request, found, accounts("ann", "bob", ".."), USERS, 0)


def test_who_may_connect_to_a_home() -> None:
    found = samba(HOMES)
    assert connect(found, "ann").flags & TreeFlag.WRITABLE
    assert connect(found, "ann", "bob").status is TreeStatus.INVALID_USER
    assert connect(found, "none").status is TreeStatus.NO_SHARE


def test_a_name_that_leads_out_is_refused_with_its_reason() -> None:
    answer = connect(samba("[s]\npath = /srv/%U\n"), "s", "..")
    assert answer.status is TreeStatus.NO_SHARE and "`/srv/%U` would be" in answer.why


def told(found: Configuration, name: str, who: Who | None = None) -> tuple[ShareConfig | None, str]:
    message, note = share_response(name, found, USERS, who)
    return share_config(decode(encode(message))), note


def test_the_engine_asks_again_with_the_session() -> None:
    found = samba(HOMES + "[s]\npath = /srv/%U\n[fixed]\npath = /fixed/%h\n")
    for name in ("s", "ann", "whatever"):
        share, _ = told(found, name)
        assert share is not None and share.personal and share.path == ""
    share, _ = told(found, "fixed")
    assert share is not None and not share.personal and share.path == f"/fixed/{socket.gethostname()}"
    share, _ = told(found, "s", ANN)
    assert share is not None and share.path == "/srv/ann"
    share, _ = told(found, "homes", ANN)
    assert share is not None and (share.name, share.path) == ("ann", "/home/ann")
    assert told(found, "whatever", ANN)[0] is None
    share, note = told(found, "s", Who("..", False, "192.0.2.7"))
    assert share is None and note == "[s]: `/srv/%U` would be '/srv/..': refused"


def test_a_clients_name_is_sent_without_what_breaks_the_message() -> None:
    options = client_options(Client("ann", False, "192.0.2.7", "192.0.2.1", "a\0b\ud800" + "x" * 300, 0x0311))
    assert options["client name"].startswith("ab?xxx") and len(options["client name"]) == 255


@pytest.mark.parametrize("line", ["browseable = yes", "browseable = no"])
def test_homes_is_listed_as_its_browseable_says(line: str) -> None:
    found = samba(f"[homes]\n{line}\n[a]\npath = /a\n")
    told = facts(Requests(found, accounts("ann"), LocalServices(), USERS), Level.SESSIONS)
    assert list(told.shares) == ["a", "homes", "ipc$"]
    share = told.shares["homes"]
    assert (share.served, share.browseable, share.path) == (True, line.endswith("yes"), "")
