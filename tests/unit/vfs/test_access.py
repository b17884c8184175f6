# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may do what: Unix permissions by the kernel, stored ACLs, impersonation of this thread."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.kernel import credentials
from ksmbd.kernel.credentials import SERVER, Credentials
from ksmbd.kernel.stat import stat_fd
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import ACCESS_ALLOWED, ACCESS_DENIED, CONTAINER_INHERIT, INHERITED_ACE, OBJECT_INHERIT, Ace, Acl
from ksmbd.smb.ports import Identity
from ksmbd.smb.security_descriptor import (
    SE_DACL_AUTO_INHERITED,
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
    parse_security_descriptor,
)
from ksmbd.smb.sid import EVERYONE, UNIX_GROUPS, UNIX_USERS, sid_from_text
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import ntacl, posix_acl
from ksmbd.vfs.idmap import IdMap

root = [
    pytest.mark.root,
    pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as two Unix users"),
]
ALICE, BOB = (2001, 2001), (2002, 2002)
ACL_FLAGS = FLAGS | {"acl_xattr"}


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


def descriptor(*aces: Ace) -> SecurityDescriptor:
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, Acl(aces))


def test_ids_and_sids() -> None:
    idmap = IdMap((1, 2, 3))
    for number in (0, 1, 1000, 65534, 2**31 - 1):
        assert idmap.uid(idmap.user_sid(number)) == number and idmap.gid(idmap.user_sid(number)) is None
        assert idmap.gid(idmap.group_sid(number)) == number and idmap.uid(idmap.group_sid(number)) is None
    assert str(idmap.user_sid(1000)) == "S-1-5-21-1-2-3-3000"
    assert idmap.uid(UNIX_USERS.child(7)) == 7 and idmap.gid(UNIX_GROUPS.child(7)) == 7
    for text in ("S-1-5-21-9-9-9-3000", "S-1-1-0", "S-1-5-21-1-2-3-513", "S-1-5-32-544"):
        assert idmap.uid(sid_from_text(text)) is None and idmap.gid(sid_from_text(text)) is None


def test_tokens() -> None:
    idmap = IdMap((1, 2, 3))
    token = idmap.token(Identity("u", "", 5, 6, (7,)), 5, 6, (6, 7))
    assert token.user == idmap.user_sid(5)
    for sid in (EVERYONE, idmap.group_sid(6), idmap.group_sid(7), UNIX_USERS.child(5)):
        assert token.holds(sid)
    assert not token.privileges
    assert idmap.token(Identity("u", "", 5, 6, is_admin=True), 0, 0, ()).privileges
    guest = idmap.token(Identity("g", "", 5, 6, is_guest=True), 5, 6, ())
    assert not guest.holds(sid_from_text("S-1-5-11"))


def test_of_a_ticket_s_sids_other_domains_count() -> None:
    idmap = IdMap((1, 2, 3))
    sids = [sid_from_text(text) for text in (
        "S-1-5-21-9-9-9-1200", "S-1-5-21-1-2-3-1000", "S-1-5-32-544", "S-1-22-2-0", "S-1-22-1-0", "S-1-5-88-2-0",
        "S-1-18-1",
    )]  # fmt: skip
    identity = Identity("u", "", 5, 6, sids=tuple(sids))
    token = idmap.token(identity, 5, 6, ())
    assert [token.holds(sid) for sid in sids] == [True, False, False, False, False, False, False]
    forced = idmap.token(identity, 8, 6, ())
    assert not any(forced.holds(sid) for sid in sids), "with `force user` everybody is that one"


def test_the_mode_in_a_sid() -> None:
    """As cifs.ko sends it with `modefromsid`: a mode for the client, and everything for everybody who logged on."""
    aces = (
        Ace(ACCESS_ALLOWED, 0, 0, sid_from_text(f"S-1-5-88-3-{0o6750}")),
        Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, sid_from_text("S-1-5-11")),
    )
    assert posix_acl.from_dacl(Acl(aces), 1, 2, IdMap((1, 2, 3))) == posix_acl.minimal(0o750)


def test_rights_of_modes(share: Share) -> None:
    file = share.open("f")
    assert share.volume.maximal_access() == c.FILE_ALL_ACCESS
    for mode, refused, granted in ((0o400, c.FILE_WRITE_DATA, c.FILE_READ_DATA), (0o200, c.FILE_READ_DATA, c.DELETE)):
        mask = posix_acl.rights(mode >> 6, False, False)
        owner = share.files.idmap.user_sid(file.info().uid)
        new = descriptor(Ace(ACCESS_ALLOWED, 0, mask, owner))
        file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, new.encode())
        assert file.info().mode & 0o777 == mode
        if not share.volume.place.access.root:
            maximum = file.maximal_access()
            assert not maximum & refused and maximum & granted and maximum & c.WRITE_DAC
            assert status_of(lambda: share.create("f", access=refused)) == s.STATUS_ACCESS_DENIED  # noqa: B023


def test_changing_an_acl_needs_the_right(share: Share) -> None:
    share.open("f")
    file = share.open("f", access=c.FILE_GENERIC_READ)
    new = descriptor(Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, EVERYONE)).encode()
    for part in (c.DACL_SECURITY_INFORMATION, c.OWNER_SECURITY_INFORMATION, c.SACL_SECURITY_INFORMATION):
        assert status_of(lambda: file.set_security_descriptor(part, new)) == s.STATUS_ACCESS_DENIED  # noqa: B023
    assert status_of(lambda: file.set_security_descriptor(4, b"garbage")) == s.STATUS_INVALID_SECURITY_DESCR


@pytest.mark.usefixtures("files")
class TestAsTwoUsers:
    pytestmark = root

    def test_files_belong_to_their_maker(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE)
        info = alice.open("a").info()
        assert (info.uid, info.gid) == ALICE
        os.chmod(alice.path, 0o777)
        bob = make_share(user=BOB)
        info = bob.open("b").info()
        assert (info.uid, info.gid) == BOB
        assert alice.open("c").info().uid == ALICE[0]

    def test_what_the_kernel_refuses_is_refused(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE), make_share(user=BOB)
        alice.open("private").close()
        os.chmod(alice.path / "private", 0o640)
        alice.mkdir("dir").close()
        os.chmod(alice.path / "dir", 0o700)
        (alice.path / "dir" / "f").touch()
        for access in (c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.DELETE, c.WRITE_DAC, c.FILE_WRITE_ATTRIBUTES):
            assert status_of(lambda: bob.create("private", access=access)) == s.STATUS_ACCESS_DENIED  # noqa: B023
        assert bob.open("private", access=c.FILE_READ_ATTRIBUTES).info().uid == ALICE[0]
        read = c.FILE_READ_ATTRIBUTES
        assert status_of(lambda: bob.create("dir\\f", access=read, disposition=c.FILE_OPEN)) == s.STATUS_ACCESS_DENIED
        assert status_of(lambda: bob.create("dir\\F", access=read, disposition=c.FILE_OPEN)) == s.STATUS_ACCESS_DENIED
        assert status_of(lambda: bob.create("new")) == s.STATUS_ACCESS_DENIED
        assert status_of(lambda: bob.mkdir("new")) == s.STATUS_ACCESS_DENIED
        member = make_share(user=(*BOB, ALICE[1]))
        assert member.open("private", access=c.FILE_READ_DATA).read(0, 1) == b""
        assert status_of(lambda: member.create("private", access=c.FILE_WRITE_DATA)) == s.STATUS_ACCESS_DENIED

    def test_full_permissions_do_not_give_ownership(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE), make_share(user=BOB)
        alice.open("f").close()
        os.chmod(alice.path / "f", 0o777)
        file = bob.open("f")
        new = descriptor(Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, EVERYONE)).encode()
        assert status_of(lambda: file.set_security_descriptor(4, new)) == s.STATUS_ACCESS_DENIED
        assert status_of(file.check_delete) == s.STATUS_ACCESS_DENIED
        assert status_of(file.unlink) == s.STATUS_ACCESS_DENIED
        assert status_of(lambda: file.rename("g", False)) == s.STATUS_ACCESS_DENIED

    def test_delete_on_close_is_for_who_may_delete(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE), make_share(user=BOB)
        alice.open("f").close()
        alice.mkdir("d").close()
        os.chmod(alice.path / "f", 0o777)
        asked: dict[str, Any] = {"access": c.DELETE, "disposition": c.FILE_OPEN, "options": c.FILE_DELETE_ON_CLOSE}
        assert bob.create("f", access=c.DELETE, disposition=c.FILE_OPEN).deletable is False
        assert status_of(lambda: bob.create("f", **asked)) == s.STATUS_ACCESS_DENIED
        opened = alice.create("f", **asked)
        assert opened.deletable
        opened.file.check_delete()
        assert not alice.create("d", **asked).deletable, "it may have entries"

    def test_sticky_directories(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE), make_share(user=BOB)
        alice.open("f").close()
        credentials.as_server()
        os.chmod(alice.path / "f", 0o666)
        os.chmod(alice.path, 0o1777)
        os.chown(alice.path, 0, 0)
        assert status_of(lambda: bob.create("f", access=c.DELETE)) == s.STATUS_ACCESS_DENIED
        alice.open("f", access=c.DELETE).check_delete()
        credentials.as_server()
        os.chmod(alice.path, 0o777)
        bob.open("f", access=c.DELETE).unlink()

    def test_force_user_inherit_owner_and_administrators(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=BOB, force_uid=ALICE[0], force_gid=ALICE[1])
        assert (alice.open("f").info().uid, alice.open("f").info().gid) == ALICE
        os.chmod(alice.path, 0o777)
        bob = make_share(user=BOB, inherit_owner="windows and unix")
        assert bob.open("mine").info().uid == ALICE[0]
        assert bob.mkdir("dir").info().uid == ALICE[0]
        administrator = make_share(user=BOB, admin=True)
        os.chmod(alice.path / "f", 0)
        administrator.open("f").write(0, b"x")
        made = administrator.open("of-admin").info()
        assert (made.uid, made.gid) == (0, BOB[1])  # root in the user's place; the groups stay the user's

    def test_unix_alone_gives_the_file_to_the_owner_of_its_folder(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE)
        os.chmod(alice.path, 0o777)
        bob = make_share(user=BOB, inherit_owner="unix only", flags=FLAGS | {"acl_xattr"})
        for made in (bob.open("f"), bob.mkdir("d")):
            owner = parse_security_descriptor(made.security_descriptor(c.OWNER_SECURITY_INFORMATION)).owner
            assert owner == bob.files.idmap.user_sid(BOB[0]) and made.info().uid == ALICE[0]
        assert bob.open("f", access=c.WRITE_DAC).granted_access == c.WRITE_DAC

    def test_who_may_write_changes_permissions_with_dos_filemode_alone(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE)
        alice.open("f").close()
        os.chmod(alice.path, 0o777)
        os.chmod(alice.path / "f", 0o6766)
        everybody = Acl((Ace(ACCESS_ALLOWED, 0, c.FILE_GENERIC_READ, EVERYONE),))
        new = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, everybody).encode()
        plain, filemode = make_share(user=BOB), make_share(user=BOB, dos_filemode=True)
        with pytest.raises(NtStatusError):
            plain.open("f", access=c.WRITE_DAC)
        filemode.open("f", access=c.WRITE_DAC).set_security_descriptor(c.DACL_SECURITY_INFORMATION, new)
        stat = os.stat(alice.path / "f")
        assert (stat.st_mode & 0o7777, stat.st_uid) == (0o444, ALICE[0])  # the set-id bits go
        credentials.as_server()
        os.chmod(alice.path / "f", 0o755)
        with pytest.raises(NtStatusError):
            filemode.open("f", access=c.WRITE_DAC)

    def test_attributes_are_kept_where_the_user_may_not_write(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE)
        alice.open("f").close()
        os.chmod(alice.path / "f", 0o444)
        file = alice.open("f", access=c.FILE_WRITE_ATTRIBUTES | c.FILE_READ_ATTRIBUTES)
        file.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_HIDDEN)
        assert file.info().attributes == c.FILE_ATTRIBUTE_HIDDEN

    def test_other_threads_keep_their_rights(self) -> None:
        """setgroups of libc would change all threads."""
        seen: list[str] = []
        proc = os.open("/proc", os.O_PATH)
        credentials.assume(Credentials(2001, 2001, (2001, 2002)))

        def look() -> None:
            with open(os.open("thread-self/status", os.O_RDONLY, dir_fd=proc)) as file:
                seen.append(file.read())

        look()
        with credentials.privileged():
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        look()
        credentials.as_server()
        look()
        os.close(proc)
        fields = [{line.split(":")[0]: line.split()[1:] for line in text.splitlines()} for text in seen]
        assert [entry["Uid"][3] for entry in fields] == ["2001", "0", "2001", "0"]
        assert fields[0]["Groups"] == fields[2]["Groups"] == ["2001", "2002"]
        assert fields[1]["Groups"] == fields[3]["Groups"] == [str(group) for group in SERVER.groups]
        assert all(entry["Uid"][0] == "0" for entry in fields)

    def test_hide_unreadable(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE)
        for name, mode in (("open", 0o644), ("closed", 0o600)):
            alice.open(name).close()
            os.chmod(alice.path / name, mode)
        bob = make_share(user=BOB, flags=FLAGS | {"hide_unreadable"})
        assert bob.names() == ["open"]
        assert alice.names() == ["closed", "open"]


class TestStoredAcls:
    pytestmark = root

    def allow(self, share: Share, uid: int, mask: int, flags: int = 0, kind: int = ACCESS_ALLOWED) -> Ace:
        return Ace(kind, flags, mask, share.files.idmap.user_sid(uid))

    def test_what_a_client_sets_counts_and_comes_back(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE, flags=ACL_FLAGS), make_share(user=BOB, flags=ACL_FLAGS)
        file = alice.open("f")
        new = descriptor(
            self.allow(alice, ALICE[0], c.FILE_ALL_ACCESS), self.allow(alice, BOB[0], c.FILE_GENERIC_READ)
        )
        file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, new.encode())
        back = parse_security_descriptor(file.security_descriptor(7))
        assert back.dacl == new.dacl and back.owner == alice.files.idmap.user_sid(ALICE[0])
        granted = bob.create("f", access=c.MAXIMUM_ALLOWED).granted_access
        assert granted & c.FILE_GENERIC_READ == c.FILE_GENERIC_READ and not granted & c.FILE_WRITE_DATA
        assert bob.open("f", access=c.FILE_READ_DATA).read(0, 1) == b""
        assert status_of(lambda: bob.create("f", access=c.FILE_WRITE_DATA)) == s.STATUS_ACCESS_DENIED
        stored = ntacl.decode(os.getxattr(alice.path / "f", "security.NTACL"))
        assert stored is not None and stored.version == 4
        assert parse_security_descriptor(stored.descriptor).owner == UNIX_USERS.child(ALICE[0])

    def test_what_a_file_is_like_for_who_may_list_its_folder(self, make_share: Callable[..., Share]) -> None:
        """By the folder's descriptor, where it has one, and not by the Unix permissions alone."""
        alice, bob = make_share(user=ALICE, flags=ACL_FLAGS), make_share(user=BOB, flags=ACL_FLAGS)
        folder = alice.mkdir("d")
        file = alice.open("d\\f")
        file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, descriptor().encode())
        for mask, may in ((c.FILE_GENERIC_READ, True), (c.FILE_TRAVERSE | c.FILE_WRITE_DATA, False)):
            new = descriptor(
                self.allow(alice, ALICE[0], c.FILE_ALL_ACCESS), self.allow(alice, BOB[0], mask | c.FILE_EXECUTE)
            )
            folder.set_security_descriptor(c.DACL_SECURITY_INFORMATION, new.encode())
            with credentials.privileged():  # a local administrator lets everybody list it, and the descriptor stays
                stored = os.getxattr(alice.path / "d", "security.NTACL")
                kept = ntacl.decode(stored)
                assert kept is not None
                os.removexattr(alice.path / "d", "system.posix_acl_access")
                os.chmod(alice.path / "d", 0o777)
                fd = os.open(alice.path / "d", os.O_RDONLY)
                blob = posix_acl.blob(fd, False, stat_fd(fd))
                os.setxattr(fd, "security.NTACL", ntacl.encode(kept.descriptor, blob, 1))
                os.close(fd)
            if may:
                assert bob.create("d\\f", access=c.FILE_READ_ATTRIBUTES).granted_access == c.FILE_READ_ATTRIBUTES
            else:
                refused = status_of(lambda: bob.create("d\\f", access=c.FILE_READ_ATTRIBUTES))
                assert refused == s.STATUS_ACCESS_DENIED

    def test_a_denial_counts(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        file = alice.open("f")
        new = descriptor(
            self.allow(alice, ALICE[0], c.FILE_WRITE_DATA, kind=ACCESS_DENIED),
            self.allow(alice, ALICE[0], c.FILE_ALL_ACCESS),
        )
        file.set_security_descriptor(4, new.encode())
        assert status_of(lambda: alice.create("f", access=c.FILE_WRITE_DATA)) == s.STATUS_ACCESS_DENIED
        alice.open("f", access=c.FILE_READ_DATA | c.WRITE_DAC)

    def test_a_local_chmod_ends_it(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        file = alice.open("f")
        new = descriptor(self.allow(alice, ALICE[0], c.FILE_GENERIC_READ | c.WRITE_DAC))
        file.set_security_descriptor(4, new.encode())
        assert parse_security_descriptor(file.security_descriptor(4)).dacl == new.dacl
        os.chmod(alice.path / "f", 0o711)
        assert parse_security_descriptor(file.security_descriptor(4)).dacl != new.dacl

    def test_inheritance(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        directory = alice.mkdir("d")
        both = OBJECT_INHERIT | CONTAINER_INHERIT
        dacl = descriptor(
            self.allow(alice, ALICE[0], c.FILE_ALL_ACCESS, both), self.allow(alice, BOB[0], c.FILE_GENERIC_READ, both)
        )
        directory.set_security_descriptor(4, dacl.encode())
        for child in (alice.open("d\\f"), alice.mkdir("d\\sub"), alice.open("d\\sub\\deep")):
            aces = parse_security_descriptor(child.security_descriptor(4)).dacl
            assert aces is not None
            found = {(ace.sid, ace.mask) for ace in aces.aces}
            assert (alice.files.idmap.user_sid(BOB[0]), c.FILE_GENERIC_READ) in found
            assert not any(ace.flags & INHERITED_ACE for ace in aces.aces)

    def test_a_descriptor_given_with_create(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        given = descriptor(self.allow(alice, ALICE[0], c.FILE_GENERIC_READ | c.WRITE_DAC))
        file = alice.open("f", security_descriptor=given.encode())
        assert parse_security_descriptor(file.security_descriptor(4)).dacl == given.dacl
        assert status_of(lambda: alice.create("f", access=c.FILE_WRITE_DATA)) == s.STATUS_ACCESS_DENIED

    def test_the_directorys_acl_guards_new_names(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        directory = alice.mkdir("d")
        mask = c.FILE_ALL_ACCESS & ~c.FILE_ADD_FILE
        directory.set_security_descriptor(4, descriptor(self.allow(alice, ALICE[0], mask)).encode())
        assert status_of(lambda: alice.create("d\\f")) == s.STATUS_ACCESS_DENIED
        alice.mkdir("d\\sub")
        outside = alice.open("f")
        assert status_of(lambda: outside.rename("d\\f", False)) == s.STATUS_ACCESS_DENIED

    def test_ownership_is_taken_not_given(self, make_share: Callable[..., Share]) -> None:
        alice, bob = make_share(user=ALICE, flags=ACL_FLAGS), make_share(user=BOB, flags=ACL_FLAGS)
        file = alice.open("f")
        idmap = alice.files.idmap
        give = replace(descriptor(), owner=idmap.user_sid(BOB[0]))
        assert status_of(lambda: file.set_security_descriptor(1, give.encode())) == s.STATUS_INVALID_OWNER
        file.set_security_descriptor(4, descriptor(self.allow(alice, BOB[0], c.FILE_ALL_ACCESS)).encode())
        bob.open("f").set_security_descriptor(1, give.encode())
        assert os.stat(alice.path / "f").st_uid == BOB[0]

    def test_who_may_add_to_a_folder_may_go_into_it(self, make_share: Callable[..., Share]) -> None:
        """Windows' users need no FILE_TRAVERSE; to the kernel w without x is nothing."""
        alice, bob = make_share(user=ALICE, flags=ACL_FLAGS), make_share(user=BOB, flags=ACL_FLAGS)
        directory = alice.mkdir("d")
        mask = c.FILE_ADD_FILE | c.FILE_READ_ATTRIBUTES
        directory.set_security_descriptor(
            4, descriptor(self.allow(alice, ALICE[0], mask), self.allow(alice, BOB[0], mask)).encode()
        )
        assert status_of(lambda: alice.create("d", access=c.FILE_LIST_DIRECTORY)) == s.STATUS_ACCESS_DENIED
        assert alice.open("d\\a").info().uid == ALICE[0]
        assert bob.open("d\\b").info().uid == BOB[0]
        assert stat_fd(directory.fd).mode & 0o777 == 0o730  # the group's bits are the mask: bob has wx

    def test_flags_of_inheritance_as_they_come(self, make_share: Callable[..., Share]) -> None:
        """`acl flag inherited canonicalization = no`; with yes AUTO_INHERITED is for who asks for it."""
        auto = descriptor(Ace(ACCESS_ALLOWED, INHERITED_ACE, c.FILE_ALL_ACCESS, EVERYONE))
        auto = replace(auto, control=auto.control | SE_DACL_AUTO_INHERITED)
        for canonicalize in (True, False):
            alice = make_share(user=ALICE, flags=ACL_FLAGS, acl_flag_inherited_canonicalization=canonicalize)
            file = alice.open(f"f{canonicalize}")
            file.set_security_descriptor(4, auto.encode())
            given = alice.open(f"g{canonicalize}", security_descriptor=auto.encode())
            for one in (file, given):
                control = parse_security_descriptor(one.security_descriptor(4)).control
                assert bool(control & SE_DACL_AUTO_INHERITED) is not canonicalize

    def test_an_attribute_of_another_name(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS, acl_xattr_security_acl_name="user.hackme")
        file = alice.open("f")
        new = descriptor(self.allow(alice, ALICE[0], c.FILE_GENERIC_READ | c.WRITE_DAC))
        file.set_security_descriptor(4, new.encode())
        assert "user.hackme" in os.listxattr(alice.path / "f")
        assert parse_security_descriptor(file.security_descriptor(4)).dacl == new.dacl
        assert file.extended_attributes() == []
        with pytest.raises(NtStatusError):
            file.set_extended_attributes([("hackme", 0, b"x")])

    def test_a_damaged_attribute_is_none(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        alice.open("f").close()
        credentials.as_server()
        for damaged in (b"", b"\4\0\4\0", bytes(200), b"\4\0\4\0\0\0\2\0\4\0\2\0\1\0" + bytes(160)):
            os.setxattr(alice.path / "f", "security.NTACL", damaged)
            alice.open("f").close()
            credentials.as_server()

    def test_posix_acls_follow(self, make_share: Callable[..., Share]) -> None:
        alice = make_share(user=ALICE, flags=ACL_FLAGS)
        file = alice.open("f")
        new = descriptor(
            self.allow(alice, ALICE[0], c.FILE_ALL_ACCESS), self.allow(alice, BOB[0], c.FILE_GENERIC_READ)
        )
        file.set_security_descriptor(4, new.encode())
        entries = posix_acl.read(file.fd, False)
        assert entries is not None
        assert posix_acl.Entry(posix_acl.USER, 4, BOB[0]) in entries
        assert stat_fd(file.fd).mode & 0o007 == 0
