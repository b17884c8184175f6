# SPDX-License-Identifier: GPL-2.0-or-later
"""Root's rights: what the gate gives, what it refuses, and that nothing else in the room has them."""
from __future__ import annotations

import ast
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vfs_share import FLAGS, Share

import ksmbd.vfs
from ksmbd.conn.loop import Loop
from ksmbd.conn.offload import Helpers
from ksmbd.kernel import credentials
from ksmbd.kernel.credentials import NOBODY, SERVER, Credentials
from ksmbd.kernel.stat import stat_fd
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.ports import Identity
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, Sid, sid_from_text
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import gate
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.reparse import encode_symlink

as_root = pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as two Unix users")
ALICE, BOB = (2001, 2001, 3001), (2002, 2002)
ACL_FLAGS = FLAGS | {"acl_xattr"}
BOTH = pytest.mark.parametrize("flags", [FLAGS, ACL_FLAGS], ids=["modes", "ACLs"])
OWNER, GROUP, DACL = c.OWNER_SECURITY_INFORMATION, c.GROUP_SECURITY_INFORMATION, c.DACL_SECURITY_INFORMATION


def status_of(call: Callable[[], Any]) -> int:
    try:
        call()
    except NtStatusError as error:
        return error.status
    return 0


def descriptor(owner: Sid | None = None, group: Sid | None = None) -> SecurityDescriptor:
    acl = Acl((Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, EVERYONE),))
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, owner, group, acl)


def on_disk(share: Share, name: str) -> tuple[int, int, int]:
    with credentials.privileged():
        found = os.stat(share.path / name)
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


# ------------------------------------------------------------------------------------------------ who may own a file


def caller(admin: bool = False) -> gate.Caller:
    idmap = IdMap((1, 2, 3))
    user = Credentials(0, 0, ()) if admin else Credentials(2001, 2001, (2001, 3001))
    identity = Identity("u", "", 2001, 2001, (3001,), is_admin=admin)
    return gate.Caller(idmap.token(identity, user.uid, user.gid, user.groups), user, idmap)


IDS = IdMap((1, 2, 3))


@pytest.mark.parametrize(
    ("owner", "group", "expected"),
    [
        (IDS.user_sid(2001), None, (2001, 50)),  # oneself
        (IDS.user_sid(40), None, (40, 50)),  # whose it is already
        (IDS.user_sid(0), None, s.STATUS_INVALID_OWNER),
        (sid_from_text("S-1-22-1-0"), None, s.STATUS_INVALID_OWNER),
        (sid_from_text("S-1-5-88-1-0"), None, s.STATUS_INVALID_OWNER),
        (sid_from_text("S-1-5-21-9-9-9-500"), None, s.STATUS_INVALID_OWNER),
        (sid_from_text("S-1-5-32-544"), None, s.STATUS_INVALID_OWNER),
        (EVERYONE, None, (40, 50)),  # a group of the caller's: in the stored descriptor alone
        (None, IDS.group_sid(3001), (40, 3001)),
        (None, IDS.group_sid(2001), (40, 2001)),
        (None, IDS.group_sid(50), (40, 50)),  # the file's own
        (None, IDS.group_sid(42), s.STATUS_ACCESS_DENIED),
        (None, sid_from_text("S-1-5-88-2-0"), s.STATUS_ACCESS_DENIED),
        (None, sid_from_text("S-1-5-21-1-2-3-513"), s.STATUS_ACCESS_DENIED),
        (IDS.user_sid(2001), IDS.group_sid(42), s.STATUS_ACCESS_DENIED),
    ],
    ids=str,
)
def test_owners_and_groups(owner: Sid | None, group: Sid | None, expected: Any) -> None:
    file: Any = SimpleNamespace(uid=40, gid=50)
    asked = descriptor(owner, group)

    def ids() -> tuple[int, int]:
        return gate.owner_and_group(caller(), file, asked, OWNER | GROUP)

    if isinstance(expected, int):
        assert status_of(ids) == expected
    else:
        assert ids() == expected
    assert gate.owner_and_group(caller(), file, asked, DACL) == (40, 50)
    # With the restore privilege anybody may own it.
    uid, gid = gate.owner_and_group(caller(admin=True), file, asked, OWNER | GROUP)
    assert uid == (IDS.uid(owner) if owner and IDS.uid(owner) is not None else 40)
    assert gid == (IDS.gid(group) if group and IDS.gid(group) is not None else 50)


@as_root
@BOTH
class TestOnDisk:
    def test_a_new_file_is_its_makers(self, make_share: Callable[..., Share], flags: frozenset[str]) -> None:
        share = make_share(user=ALICE, flags=flags)
        idmap = share.files.idmap
        for number, (owner, group) in enumerate(
            [(idmap.user_sid(0), None), (None, idmap.group_sid(0)), (idmap.user_sid(2002), idmap.group_sid(2001))]
        ):
            given = descriptor(owner, group).encode()
            refused = status_of(lambda: share.create(f"f{number}", security_descriptor=given))  # noqa: B023
            assert refused in (s.STATUS_INVALID_OWNER, s.STATUS_ACCESS_DENIED)
            assert f"f{number}" not in share.names(), "nothing is made"
        given = descriptor(idmap.user_sid(2001), idmap.group_sid(3001)).encode()
        share.open("mine", security_descriptor=given)
        assert on_disk(share, "mine")[:2] == (2001, 3001)

    @pytest.mark.parametrize("directory", [False, True])
    def test_set_id_bits_never_come_from_a_client(
        self, make_share: Callable[..., Share], flags: frozenset[str], directory: bool
    ) -> None:
        share = make_share(user=ALICE, flags=flags)
        options = c.FILE_DIRECTORY_FILE if directory else 0
        share.open("f", options=options, posix_mode=0o7755)
        assert on_disk(share, "f")[2] == 0o1755

    @pytest.mark.parametrize("information", [GROUP, DACL, GROUP | DACL])
    def test_they_go_with_a_change_of_group_or_permissions(
        self, make_share: Callable[..., Share], flags: frozenset[str], information: int
    ) -> None:
        share = make_share(user=ALICE, flags=flags)
        file = share.open("f")
        with credentials.privileged():
            os.chmod(share.path / "f", 0o6755)
        new = descriptor(None, share.files.idmap.group_sid(3001))
        file.set_security_descriptor(information, new.encode())
        uid, gid, mode = on_disk(share, "f")
        assert (uid, gid) == (2001, 3001 if information & GROUP else 2001) and not mode & 0o6000

    def test_they_go_where_the_kernel_leaves_one_to_root_s_group(
        self, make_share: Callable[..., Share], flags: frozenset[str]
    ) -> None:
        """set-group-ID without g+x, which chown(2) takes from all but members of the file's group."""
        share = make_share(user=ALICE, flags=flags)
        file = share.open("f")
        with credentials.privileged():
            os.chown(share.path / "f", 2001, credentials.SERVER.gid)
            os.chmod(share.path / "f", 0o2643)
        file.set_security_descriptor(GROUP, descriptor(None, share.files.idmap.group_sid(3001)).encode())
        uid, gid, mode = on_disk(share, "f")
        assert (uid, gid) == (2001, 3001) and not mode & 0o6000

    def test_a_folder_keeps_what_its_entries_inherit(
        self, make_share: Callable[..., Share], flags: frozenset[str]
    ) -> None:
        share = make_share(user=ALICE, flags=flags)
        folder = share.mkdir("d")
        with credentials.privileged():
            os.chown(share.path / "d", 2001, 42)
            os.chmod(share.path / "d", 0o2775)
        folder.set_security_descriptor(DACL, descriptor().encode())
        assert on_disk(share, "d") == (2001, 42, 0o2777)

    @pytest.mark.parametrize("way", ["write", "truncate", "allocate", "zero", "copy", "helper"])
    def test_a_write_takes_them_whoever_acted_before(
        self, make_share: Callable[..., Share], flags: frozenset[str], way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        share = make_share(user=ALICE, flags=flags)
        source = share.open("source")
        source.write(0, b"payload")
        file = share.open("f")
        file.write(0, b"0123456789")
        with credentials.privileged():
            os.chown(share.path / "f", 0, 42)
            os.chmod(share.path / "f", 0o6777)
        credentials.as_server()
        if way == "write":
            file.write(0, b"x")
        elif way == "truncate":
            file.set_end_of_file(3)
        elif way == "allocate":
            file.set_allocation(4)
        elif way == "zero":
            file.zero_data(0, 4)
        elif way == "copy":
            file.copy_range(source, 0, 0, 7)
        else:
            loop = Loop()
            helpers = Helpers(loop)
            monkeypatch.setattr(credentials._current, "credentials", SERVER)
            future = helpers.submit(lambda: file.write(0, b"x"))
            while not future.done:
                loop.run_once()
            helpers.close()
            loop.close()
        assert credentials.current() == share.volume.place.user or way == "helper"
        assert not on_disk(share, "f")[2] & 0o6000

    def test_what_fails_half_way_is_put_back(
        self, make_share: Callable[..., Share], flags: frozenset[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        share = make_share(user=ALICE, flags=flags)
        file = share.open("f")
        if flags == ACL_FLAGS:
            monkeypatch.setattr(gate, "_set_descriptor", _no_space)
        else:
            monkeypatch.setattr(gate, "_set_permissions", _no_space)
        before = on_disk(share, "f")
        new = descriptor(None, share.files.idmap.group_sid(3001)).encode()
        assert status_of(lambda: file.set_security_descriptor(GROUP | DACL, new)) == s.STATUS_DISK_FULL
        assert on_disk(share, "f") == before
        assert credentials.current() == share.volume.place.user


def _no_space(*_: Any) -> None:
    raise OSError(28, os.strerror(28))


@as_root
def test_a_share_that_is_not_there_leaves_no_rights(make_share: Callable[..., Share]) -> None:
    share = make_share(user=ALICE)
    credentials.assume(share.volume.place.user)
    gone = SimpleNamespace(path="/no/such/folder")
    with pytest.raises(OSError):
        gate.open_share(gone.path)
    assert credentials.current() == share.volume.place.user


@as_root
def test_rights_that_are_not_known_are_nobodys_afterwards() -> None:
    seen: list[Credentials | None] = []

    def run() -> None:
        seen.append(credentials.current())
        with credentials.privileged():
            seen.append(credentials.current())
        seen.append(credentials.current())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [None, SERVER, NOBODY]


@as_root
def test_a_thread_is_nobody_between_requests(make_share: Callable[..., Share]) -> None:
    admin = make_share(admin=True)
    file = admin.open("f")
    loop = Loop()
    loop.after_iteration(credentials.become_nobody_if_root)
    loop.before_sleep = credentials.become_nobody
    file.write(0, b"x")
    assert credentials.current() == Credentials(0, ALICE[1], (ALICE[1],))
    loop.run_once(wait=False)
    assert _of_this_thread() == (NOBODY.uid, NOBODY.gid, ())
    alice = make_share(user=ALICE)
    alice.open("g", disposition=c.FILE_OPEN_IF)
    assert _of_this_thread()[0] == 2001
    loop.call_later(0.001, lambda: seen.append(_of_this_thread()))
    seen: list[Any] = []
    while not seen:
        loop.run_once()
    loop.close()
    assert seen == [(NOBODY.uid, NOBODY.gid, ())]


def _of_this_thread() -> tuple[int, int, tuple[int, ...]]:
    """(fsuid, fsgid, supplementary groups) as the kernel sees them."""
    fields = {}
    for line in Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text().splitlines():
        name, _, values = line.partition(":")
        fields[name] = tuple(map(int, values.split())) if name in ("Uid", "Gid", "Groups") else ()
    return fields["Uid"][3], fields["Gid"][3], fields["Groups"]


# ------------------------------------------------------------------------------------------------ what it refuses


@as_root
def test_the_gate_looks_at_what_was_granted(make_share: Callable[..., Share]) -> None:
    share = make_share(user=ALICE)
    fd = share.open("f").fd
    reads = c.FILE_GENERIC_READ & ~c.FILE_WRITE_ATTRIBUTES
    refused = [
        lambda: gate.write_dos(reads, fd, False, b""),
        lambda: gate.write_times(reads, fd, (0, 0), (0, 0)),
        lambda: gate.is_empty(reads, fd),
        lambda: gate.set_security(caller(), reads, fd, False, descriptor(), DACL, None, None),
        lambda: gate.set_security(caller(), c.WRITE_OWNER, fd, False, descriptor(), DACL, lambda u, g: [], None),
        lambda: gate.set_security(
            caller(), c.WRITE_DAC, fd, False, descriptor(None, IDS.group_sid(3001)), GROUP, None, None
        ),
    ]
    for call in refused:
        before = stat_fd(fd)
        assert status_of(call) == s.STATUS_ACCESS_DENIED
        assert stat_fd(fd) == before


def test_only_the_gate_raises_rights() -> None:
    """Reads the sources: nothing else in this room names what gives the server's rights, and only what hands out a
    descriptor names the descriptor."""
    raising = {"privileged", "as_server", "SERVER"}
    holders = {"_fd": {"entry.py"}, "_root": {"resolve.py"}}
    for path in sorted(Path(ksmbd.vfs.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            if path.name != "gate.py" and isinstance(node.value, ast.Name) and node.value.id == "credentials":
                assert node.attr not in raising, f"{path.name}:{node.lineno} raises rights"
            if node.attr in holders:
                assert path.name in holders[node.attr], f"{path.name}:{node.lineno} reaches a descriptor as nobody"


# ------------------------------------------------------------------------------------------------------ wide links


@pytest.fixture
def wide(make_share: Callable[..., Share]) -> Share:
    flags = FLAGS | {"follow_symlinks", "wide_links"}
    return make_share(flags=flags)


def test_no_magic_link_is_followed(wide: Share) -> None:
    with credentials.privileged():
        os.symlink("/proc/self/root", wide.path / "root")
        os.symlink("/proc/self/root/etc", wide.path / "etc")
        os.symlink("/proc/self/root/etc/hostname", wide.path / "below")
        os.symlink("/proc/self/exe", wide.path / "exe")
        os.symlink("exe", wide.path / "again")
    for name in ("root", "etc", "below", "exe", "again", "root\\etc", "etc\\hostname"):
        for access in (c.FILE_READ_ATTRIBUTES, c.FILE_READ_DATA):
            status = status_of(lambda: wide.create(name, access=access, disposition=c.FILE_OPEN))  # noqa: B023
            assert status in (s.STATUS_ACCESS_DENIED, s.STATUS_OBJECT_PATH_NOT_FOUND), name


def test_wide_links_lead_anywhere_else(wide: Share, tmp_path: Path) -> None:
    with credentials.privileged():
        outside = tmp_path / "outside"
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "f").write_text("text")
        for path in (tmp_path, outside, outside / "deep"):
            path.chmod(0o777)
        os.symlink("../outside/deep/f", wide.path / "f")
        os.symlink("../outside/deep/..", wide.path / "d")
        os.symlink("f", wide.path / "twice")
        os.symlink("../outside/none", wide.path / "dangling")
        os.symlink("loop", wide.path / "loop")
    for name in ("f", "twice", "d\\deep\\f"):
        assert wide.open(name, access=c.FILE_READ_DATA, disposition=c.FILE_OPEN).read(0, 9) == b"text"
    assert wide.open("d", access=c.FILE_READ_ATTRIBUTES, disposition=c.FILE_OPEN).is_directory
    for name, expected in (("dangling", s.STATUS_OBJECT_NAME_NOT_FOUND), ("loop", s.STATUS_ACCESS_DENIED)):
        status = status_of(lambda: wide.create(name, access=c.FILE_READ_DATA, disposition=c.FILE_OPEN))  # noqa: B023
        assert status == expected, name


def test_clients_make_no_links_beside_wide_links(wide: Share, make_share: Callable[..., Share]) -> None:
    data = encode_symlink("target", True)
    for name, share in (("wide", wide), ("follow", make_share(flags=FLAGS | {"follow_symlinks"}))):
        file = share.open(name)
        file.set_reparse_point(0xA000000C, data)
        with credentials.privileged():
            assert os.path.islink(share.path / name) == (share is not wide)
        assert file.reparse_point() == (0xA000000C, data)


