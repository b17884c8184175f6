# SPDX-License-Identifier: GPL-2.0-or-later
"""What the engine is told of a share, and who may connect: decisions as tables."""
from __future__ import annotations

from dataclasses import MISSING, fields

import pytest
from mountd_doubles import FakeUsers, accounts, configuration

from ksmbd.ipc.answers import share_config
from ksmbd.ipc.codec import decode, encode
from ksmbd.ipc.constants import ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.smb.ports import ShareConfig
from mountd.hosts import admitted
from mountd.parameters import SHARE_PARAMETERS
from mountd.sharing import (
    SHARE_OPTIONS,
    TreeRequest,
    decide_tree_connect,
    hidden_shares,
    share_flags,
    share_response,
)

OK, NO = TreeStatus.OK, TreeStatus.INVALID_USER
RO, RW, ADMIN, GUEST = TreeFlag.READ_ONLY, TreeFlag.WRITABLE, TreeFlag.ADMIN_ACCOUNT, TreeFlag.GUEST_ACCOUNT


def connect(
    text: str, account: str, share: str = "s", guest: bool = False, connections: int = 0, peer: str = "192.0.2.1"
) -> tuple[TreeStatus, TreeFlag]:
    request = TreeRequest(account, UserFlag.OK | (UserFlag.GUEST_ACCOUNT if guest else UserFlag(0)), share, peer)
    known = accounts("ann", "bob", "smbonly")
    answer = decide_tree_connect(request, configuration(text), known, FakeUsers(), connections)
    return answer.status, answer.flags


def s(*lines: str) -> str:
    return "[s]\npath = /s\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("text, account, status, flags", [
    (s(), "ann", OK, RO),
    (s("read only = no"), "ann", OK, RW),
    (s("valid users = ann"), "ann", OK, RO),
    (s("valid users = ANN"), "ann", OK, RO),
    (s("valid users = ann"), "bob", NO, 0),
    (s("valid users = @staff"), "ann", OK, RO),
    (s("valid users = @staff"), "bob", NO, 0),
    (s("valid users = +staff"), "ann", OK, RO),
    (s("valid users = @nosuchgroup"), "ann", NO, 0),
    (s("invalid users = ann"), "ann", NO, 0),
    (s("invalid users = @staff", "valid users = ann"), "ann", NO, 0),
    (s("admin users = ann"), "ann", OK, RO | ADMIN),
    (s("admin users = ann", "read only = no"), "ann", OK, RW | ADMIN),
    (s("admin users = ann", "write list = ann"), "ann", OK, RW | ADMIN),
    (s("admin users = ann", "read list = ann", "read only = no"), "ann", OK, RO | ADMIN),
    (s("admin users = ann", "valid users = bob"), "ann", NO, 0),
    (s("read only = no", "read list = ann"), "ann", OK, RO),
    (s("read only = no", "read list = ann"), "bob", OK, RW),
    (s("write list = @staff"), "ann", OK, RW),
    (s("write list = @staff"), "bob", OK, RO),
    (s("write list = ann", "read list = ann"), "ann", OK, RO),
    (s(), "smbonly", NO, 0),
    (s("force user = media"), "smbonly", OK, RO),
    (s("force user = media", "valid users = smbonly"), "smbonly", OK, RO),
    (s("guest account = media"), "smbonly", OK, RO | GUEST),
    (s("guest account = media", "valid users = smbonly"), "smbonly", OK, RO | GUEST),
    (s("guest account = media", "valid users = ann"), "smbonly", NO, 0),
    (s("guest ok = yes"), "smbonly", OK, RO | GUEST),
    (s("guest ok = yes", "invalid users = smbonly"), "smbonly", NO, 0),
    (s("guest ok = yes", "valid users = ann"), "smbonly", NO, 0),
    (s("guest ok = yes", "valid users = smbonly"), "smbonly", OK, RO | GUEST),
    (s("guest ok = yes", "valid users = nobody"), "smbonly", OK, RO | GUEST),
    (s(), "stranger", TreeStatus.NO_USER, 0),
])  # fmt: skip
def test_users(text: str, account: str, status: TreeStatus, flags: int) -> None:
    assert connect(text, account) == (status, flags)


@pytest.mark.parametrize("text, account, share, guest, status", [
    (s(), "", "s", True, NO),
    (s("guest ok = yes"), "", "s", True, OK),
    (s("guest ok = yes"), "stranger", "s", True, OK),
    (s("guest ok = yes", "valid users = ann"), "", "s", True, NO),
    (s("guest ok = yes", "valid users = ann"), "stranger", "s", True, NO),
    (s("guest ok = yes", "valid users = stranger"), "stranger", "s", True, NO),
    (s("guest ok = yes", "valid users = NOBODY"), "", "s", True, OK),
    (s("guest ok = yes", "valid users = nobody"), "stranger", "s", True, OK),
    (s("guest ok = yes", "valid users = media", "guest account = media"), "", "s", True, OK),
    (s("guest ok = yes", "valid users = nobody", "guest account = media"), "", "s", True, NO),
    (s("guest ok = yes", "invalid users = nobody"), "", "s", True, NO),
    (s("guest ok = yes", "invalid users = @staff", "guest account = ann"), "", "s", True, NO),
    ("[global]\nguest account = ann\n" + s("guest ok = yes", "valid users = @staff"), "", "s", True, OK),
    (s(), "", "IPC$", True, OK),
    ("[global]\nrestrict anonymous = 1\n", "", "IPC$", True, NO),
    ("[global]\nrestrict anonymous = 2\n", "ann", "IPC$", False, OK),
    ("[global]\nrestrict anonymous = 2\n", "stranger", "ipc$", True, OK),
    (s(), "ann", "S", False, OK),
    (s(), "ann", "t", False, TreeStatus.NO_SHARE),
    ("[s]\ncomment = no path\n", "ann", "s", False, TreeStatus.NO_SHARE),
])  # fmt: skip
def test_guests_and_names(text: str, account: str, share: str, guest: bool, status: TreeStatus) -> None:
    assert connect(text, account, share, guest)[0] == status


@pytest.mark.parametrize("text, flags", [
    (s("guest ok = yes"), RO),
    (s("guest ok = yes", "read only = no"), RW),
    (s("guest ok = yes", "read only = no", "read list = nobody"), RO),
    (s("guest ok = yes", "read only = no", "read list = ann"), RW),
    (s("guest ok = yes", "write list = nobody"), RW),
    (s("guest ok = yes", "admin users = nobody"), RO),
])  # fmt: skip
def test_what_guests_may_do(text: str, flags: TreeFlag) -> None:
    """The read and write lists hold for guests; nothing makes one an administrator."""
    for account in ("", "stranger"):
        assert connect(text, account, guest=True) == (OK, flags | GUEST)


@pytest.mark.parametrize("lines, account, guest, keeps", [
    (["force group = staff"], "bob", False, False),
    (["force group = +staff"], "ann", False, False),
    (["force group = +staff"], "bob", False, True),
    (["force group = +staff", "force user = bob"], "ann", False, False),  # told with the share
    (["force group = +staff", "guest ok = yes"], "", True, True),
    (["force group = +staff", "guest ok = yes", "guest account = ann"], "", True, False),
    (["force group = +staff", "guest account = bob"], "smbonly", False, True),
])  # fmt: skip
def test_a_forced_group_for_members(lines: list[str], account: str, guest: bool, keeps: bool) -> None:
    status, flags = connect(s(*lines), account, guest=guest)
    assert status == OK and bool(flags & TreeFlag.KEEP_GROUP) is keeps


def test_limits() -> None:
    assert connect(s("max connections = 2"), "ann", connections=1)[0] == OK
    assert connect(s("max connections = 2"), "ann", connections=2)[0] == TreeStatus.TOO_MANY_CONNS
    assert connect("[ipc$]\nmax connections = 2\n", "ann", "ipc$", connections=500)[0] == OK


def test_global_defaults_do_not_close_ipc() -> None:
    text = "[global]\nvalid users = bob\nhosts allow = 198.51.100.1\nveto files = /a/\n" + s()
    assert connect(text, "ann", "ipc$")[0] == OK
    assert connect(text, "ann")[0] == TreeStatus.HOST_DENIED


@pytest.mark.parametrize("peer, allow, deny, inside", [
    ("192.0.2.1", [], [], True),
    ("192.0.2.1", ["192.0.2.1"], [], True),
    ("192.0.2.2", ["192.0.2.1"], [], False),
    ("192.0.2.2", ["192.0.2."], [], True),
    ("192.0.20.2", ["192.0.2."], [], False),
    ("192.0.2.2", ["192.0.2.0/24"], [], True),
    ("192.0.3.2", ["192.0.2.0/24"], [], False),
    ("192.0.2.2", ["192.0.2.0/255.255.255.0"], [], True),
    ("::ffff:192.0.2.2", ["192.0.2.0/24"], [], True),
    ("2001:db8::5", ["2001:db8::/32"], [], True),
    ("fe80::1%eth0", ["fe80::/10"], [], True),
    ("192.0.2.2", [], ["192.0.2.2"], False),
    ("192.0.2.3", [], ["192.0.2.2"], True),
    ("192.0.2.2", ["192.0.2.2"], ["ALL"], True),
    ("192.0.2.3", ["192.0.2.2"], ["ALL"], False),
    ("192.0.2.3", ["192.0.2.2"], ["192.0.2.4"], True),
    ("192.0.2.3", ["ALL", "EXCEPT", "192.0.2.3"], [], False),
    ("192.0.2.4", ["192.0.2.", "EXCEPT", "192.0.2.3"], [], True),
    ("127.0.0.1", ["192.0.2.2"], [], True),
    ("::1", ["192.0.2.2"], [], True),
    ("127.0.0.1", [], ["ALL"], False),
    ("127.0.0.1", ["localhost"], ["ALL"], True),
    ("not an address", ["ALL"], [], False),
    ("192.0.2.1", ["no.such.name"], [], None),
])  # fmt: skip
def test_hosts(peer: str, allow: list[str], deny: list[str], inside: bool | None) -> None:
    assert admitted(peer, allow, deny) is inside


# ------------------------------------------------------------------------------------------- what the engine is told


def told(text: str, name: str = "s") -> tuple[ShareConfig | None, str]:
    """The share as the engine's side decodes it from the bytes."""
    message, note = share_response(name, configuration(text), FakeUsers())
    return share_config(decode(encode(message))), note


def test_share_as_the_engine_sees_it() -> None:
    share, note = told("[global]\nroot directory = /r\n" + s(
        "comment = Hä", "veto files = /*.tmp/b*/", "create mask = 0640", "directory mask = 0750",
        "force create mode = 0004", "force directory mode = 0005", "smb3 encryption = mandatory",
        "vfs objects = acl_xattr streams_xattr", "change notify = no", "hide files = /hide me/", "kernel oplocks = yes",
    ))  # fmt: skip
    assert share is not None and note == ""
    assert (share.name, share.path, share.comment, share.veto_files) == ("s", "/r/s", "Hä", ("*.tmp", "b*"))
    assert (share.create_mask, share.directory_mask) == (0o640, 0o750)
    assert (share.force_create_mode, share.force_directory_mode) == (0o004, 0o005)
    assert (share.encrypt, share.is_pipe, share.force_uid, share.force_gid) == (True, False, None, None)
    wanted = ShareFlag.AVAILABLE | ShareFlag.READONLY | ShareFlag.BROWSEABLE | ShareFlag.STORE_DOS_ATTRS
    wanted |= ShareFlag.OPLOCKS | ShareFlag.HIDE_DOT_FILES | ShareFlag.CROSSMNT
    wanted |= ShareFlag.STREAMS | ShareFlag.ACL_XATTR
    assert share_flags(configuration(s("vfs objects = acl_xattr streams_xattr")).shares["s"]) == wanted
    on = {name for name in SWITCHES if getattr(share, name)}
    assert on == {
        "store_dos_attributes", "oplocks", "hide_dot_files", "crossmnt", "streams_xattr", "acl_xattr",
        "acl_flag_inherited_canonicalization", "kernel_oplocks", "acl_map_full_control", "ea_support", "nt_acl_support",
        "preserve_case", "short_preserve_case",
    }  # fmt: skip
    assert share.change_notify is False
    assert share.hide_files == ("hide me",)
    assert share.kernel_oplocks is True
    assert share.acl_xattr_security_acl_name == "security.NTACL"


def flags_of(text: str) -> ShareFlag:
    """The flags of the share's answer."""
    return ShareFlag(share_response("s", configuration(text), FakeUsers())[0].fields["flags"])


@pytest.mark.parametrize("line, flag", [
    ("read only = no", ShareFlag.WRITEABLE),
    ("guest ok = yes", ShareFlag.GUEST_OK),
    ("follow symlinks = yes", ShareFlag.FOLLOW_SYMLINKS),
    ("continuous availability = yes", ShareFlag.CONTINUOUS_AVAILABILITY),
    ("hide unreadable = yes", ShareFlag.HIDE_UNREADABLE),
    ("wide links = yes", ShareFlag.WIDE_LINKS),
])  # fmt: skip
def test_flag_that_a_line_sets(line: str, flag: ShareFlag) -> None:
    without, with_it = flags_of(s()), flags_of(s(line))
    assert not without & flag and with_it & flag


@pytest.mark.parametrize("line, flag", [
    ("browseable = no", ShareFlag.BROWSEABLE),
    ("oplocks = no", ShareFlag.OPLOCKS),
    ("store dos attributes = no", ShareFlag.STORE_DOS_ATTRS),
    ("hide dot files = no", ShareFlag.HIDE_DOT_FILES),
    ("crossmnt = no", ShareFlag.CROSSMNT),
])  # fmt: skip
def test_flag_that_a_line_clears(line: str, flag: ShareFlag) -> None:
    without, with_it = flags_of(s()), flags_of(s(line))
    assert without & flag and not with_it & flag


SWITCHES = [f.name for f in fields(ShareConfig) if f.type in ("bool", bool) and f.name not in ("is_pipe", "encrypt")]


@pytest.mark.parametrize("name", [
    "acl flag inherited canonicalization", "acl map full control", "change notify", "continuous availability",
    "crossmnt", "delete readonly", "delete veto files", "dos filemode", "ea support", "follow symlinks",
    "hide dot files", "hide special files", "hide unreadable", "hide unwriteable files", "inherit acls",
    "inherit permissions", "kernel oplocks", "map hidden", "map system", "nt acl support", "oplocks",
    "preserve case", "short preserve case",
    "shadow:crossmountpoints", "shadow:localtime", "shadow:snapdirseverywhere", "shadow:sscanf",
    "store dos attributes", "wide links",
])  # fmt: skip
def test_a_switch_reaches_the_engine_as_a_boolean_of_its_own(name: str) -> None:
    attribute = SHARE_PARAMETERS[name].attribute
    off, on = told(s(f"{name} = no"))[0], told(s(f"{name} = yes"))[0]
    assert off is not None and on is not None
    assert [field for field in SWITCHES if getattr(on, field) != getattr(off, field)] == [attribute]
    assert (getattr(off, attribute), getattr(on, attribute)) == (False, True)


@pytest.mark.parametrize("line, field, value", [
    ("inherit owner = yes", "inherit_owner", "windows and unix"),
    ("inherit owner = Unix Only", "inherit_owner", "unix only"),
    ("inherit owner = false", "inherit_owner", "no"),
    ("map archive = yes", "map_archive", "yes"),
    ("map archive = 0", "map_archive", "no"),
    ("map readonly = permissions", "map_readonly", "permissions"),
    ("map readonly = 1", "map_readonly", "yes"),
    ("mangled names = true", "mangled_names", "yes"),
    ("mangled names = Illegal", "mangled_names", "illegal"),
    ("case sensitive = off", "case_sensitive", "no"),
    ("default case = UPPER", "default_case", "upper"),
])  # fmt: skip
def test_a_choice_reaches_the_engine_by_one_name(line: str, field: str, value: str) -> None:
    share = told(s(line))[0]
    assert getattr(share, field) == value


FORMAT = "@GMT-%Y.%m.%d-%H.%M.%S"


@pytest.mark.parametrize("lines, expected", [
    ([], ""),
    (["vfs objects = acl_xattr shadow_copy2"], f".snapshots/{FORMAT}"),
    (["vfs objects = shadow_copy2", "shadow:snapdir = /snaps", "shadow:format = %Y"], "/snaps/%Y"),
    (["snapshot path = .snapshots/%Y-%m-%d"], ".snapshots/%Y-%m-%d"),
    (["snapshot path = .zfs/snapshot/", "shadow:format = auto-%Y"], ".zfs/snapshot/auto-%Y"),
    (["snapshot path = %Y"], "./%Y"),
    (["snapshot path = .snapshots/*/snapshot"], ".snapshots/*/snapshot"),
    (["snapshot path = /a/%Y", "vfs objects = shadow_copy2", "shadow:snapdir = /b"], "/a/%Y"),
])  # fmt: skip
def test_where_snapshots_are(lines: list[str], expected: str) -> None:
    share = told(s(*lines))[0]
    assert share is not None and share.snapshot_path == expected


def test_a_share_that_says_nothing_has_the_tables_defaults() -> None:
    """The defaults of ShareConfig's fields are those of the table of parameters."""
    named = {parameter.attribute: parameter for parameter in SHARE_PARAMETERS.values()}
    compared = {f.name: f.default for f in fields(ShareConfig) if f.name in named and f.default is not MISSING}
    for attribute, default in compared.items():
        assert default == named[attribute].parse(named[attribute].default)[0], attribute
    share = told(s())[0]
    assert share is not None
    assert {name: getattr(share, name) for name in compared} == compared
    assert set(SWITCHES) - set(named) == {"acl_xattr", "streams_xattr", "force_group_of_members", "personal"}


def test_no_parameter_of_a_share_crosses_twice() -> None:
    """What has a flag of KSMBD's or a field of its structure is no option as well."""
    message, _ = share_response("s", configuration(s()), FakeUsers())
    assert set(message.options) == set(SHARE_OPTIONS)
    for line in ("crossmnt = no", "oplocks = no", "wide links = yes", "hide unreadable = yes", "create mask = 0700"):
        other, _ = share_response("s", configuration(s(line)), FakeUsers())
        assert other.options == message.options and other.fields != message.fields


@pytest.mark.parametrize("lines, uid, gid", [
    (["force user = bob"], 1002, 1002),
    (["force user = media"], 100001, 100002),
    (["force group = staff"], None, 2000),
    (["force group = @big"], None, 70000),
    (["force user = bob", "force group = staff"], 1002, 2000),
    (["force group = +staff"], None, 2000),
    (["force user = bob", "force group = +staff"], 1002, 1002),
    (["force user = ann", "force group = +staff"], 1001, 2000),
])  # fmt: skip
def test_forced_ids_of_any_size(lines: list[str], uid: int | None, gid: int | None) -> None:
    share = told(s(*lines))[0]
    assert share is not None and (share.force_uid, share.force_gid) == (uid, gid)


@pytest.mark.parametrize("line", ["force user = ghost", "force group = ghosts"])
def test_share_of_an_account_that_is_not_there_is_not_served(line: str) -> None:
    share, note = told(s(line))
    assert share is None
    assert "[s]" in note and "ghost" in note


def test_ipc() -> None:
    share = told("[global]\nveto files = /x/\nforce user = bob\n", "IPC$")[0]
    assert share is not None and share.is_pipe
    assert (share.path, share.veto_files, share.force_uid) == ("", (), None)
    assert told("", "none")[0] is None


@pytest.mark.parametrize("lines, hidden_from", [
    ([], ""),
    (["valid users = ann"], ""),
    (["access based share enum = yes"], "guest"),
    (["access based share enum = yes", "guest ok = yes"], ""),
    (["access based share enum = yes", "valid users = ann"], "bob guest"),
    (["access based share enum = yes", "valid users = @staff"], "bob guest"),
    (["access based share enum = yes", "invalid users = +staff"], "ann guest"),
    (["access based share enum = yes", "guest ok = yes", "invalid users = nobody"], "guest"),
])  # fmt: skip
def test_shares_that_lists_leave_out(lines: list[str], hidden_from: str) -> None:
    found = [
        who for who in ("ann", "bob", "guest")
        if hidden_shares("" if who == "guest" else who, who == "guest", configuration(s(*lines)), FakeUsers())
    ]  # fmt: skip
    assert found == hidden_from.split()


def test_guest_only_makes_guests_of_all() -> None:
    found = configuration(s("guest ok = yes", "guest only = yes", "read only = no", "admin users = ann"))
    request = TreeRequest("ann", UserFlag(0), "s", "192.0.2.1")
    answer = decide_tree_connect(request, found, accounts("ann"), FakeUsers(), 0)
    assert (answer.status, answer.flags) == (TreeStatus.OK, TreeFlag.GUEST_ACCOUNT | TreeFlag.WRITABLE)
    message, _ = share_response("s", found, FakeUsers())
    share = share_config(decode(encode(message)))
    assert share is not None and share.guest == (65534, 65534, (65534,))
    assert message.fields["flags"] & ShareFlag.GUEST_ONLY
    found = configuration(s("guest only = yes"))  # without `guest ok` it has no effect
    answer = decide_tree_connect(request, found, accounts("ann"), FakeUsers(), 0)
    assert not answer.flags & TreeFlag.GUEST_ACCOUNT


@pytest.mark.parametrize(("host", "root", "proxy"), [("yes", "yes", r"\other\share"), ("no", "no", "")])
def test_a_dfs_root_needs_the_server_to_be_one(host: str, root: str, proxy: str) -> None:
    text = f"[global]\nhost msdfs = {host}\n[r]\npath = /r\nmsdfs root = yes\nmsdfs proxy = \\other\\share\n"
    found = configuration(text)
    message, _ = share_response("r", found, FakeUsers())
    assert (message.options["msdfs root"], message.options["msdfs proxy"]) == (root, proxy)
    request = TreeRequest("ann", UserFlag(0), "r", "192.0.2.1")
    answer = decide_tree_connect(request, found, accounts("ann"), FakeUsers(), 0)
    assert (answer.status is TreeStatus.NO_SHARE) == (host == "yes")
