# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder's list is passed on below it: to the files of the tree, and to no other."""
from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from vfs_share import StillClock

from ksmbd.kernel import openat
from ksmbd.kernel.credentials import SERVER
from ksmbd.kernel.stat import stat_fd
from ksmbd.smb.acl import ACCESS_ALLOWED, CONTAINER_INHERIT, INHERITED_ACE, OBJECT_INHERIT, Ace, Acl
from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.ports import Identity, ShareConfig
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_DACL_PROTECTED,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
)
from ksmbd.smb.sid import EVERYONE, Sid, sid_from_text
from ksmbd.vfs import acl_tree
from ksmbd.vfs.access import Access
from ksmbd.vfs.acl_tree import CHANGED, FAILED, PROTECTED, SKIPPED, UNCHANGED, NoList, NotKept, Outcome, Propagation
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import ShareOptions, VfsSettings

NAME = "user.NTACL"
"""An attribute that needs no privilege."""
DOMAIN = (1, 2, 3)
BOTH = OBJECT_INHERIT | CONTAINER_INHERIT
USERS = sid_from_text("S-1-5-11")


def an_access(former: Iterable[FormerUser] = ()) -> Access:
    share = ShareConfig("", "", acl_xattr=True, acl_xattr_security_acl_name=NAME)
    idmap = IdMap(DOMAIN, former)
    token = idmap.token(Identity("root", "", 0, 0, is_admin=True), 0, 0, ())
    return Access(ShareOptions.of(share, VfsSettings(DOMAIN)), idmap, token, SERVER, StillClock())


def give(path: Path, *aces: Ace, control: int = 0) -> None:
    """Store a list with a file."""
    fd = os.open(path, os.O_RDONLY)
    stat = stat_fd(fd)
    idmap = IdMap(DOMAIN)
    new = SecurityDescriptor(
        SE_SELF_RELATIVE | SE_DACL_PRESENT | control, idmap.user_sid(stat.uid), idmap.group_sid(stat.gid), Acl(aces)
    )
    an_access().replace_lists(fd, False, new, True)
    os.close(fd)


def has(path: Path) -> tuple[Ace, ...] | None:
    """The entries that are stored with a file and count."""
    fd = os.open(path, os.O_RDONLY)
    found = an_access().stored(fd, False, stat_fd(fd))
    os.close(fd)
    assert found is None or found.dacl is not None
    return found.dacl.aces if found is not None and found.dacl is not None else None


def allow(flags: int, sid: Sid = EVERYONE) -> Ace:
    return Ace(ACCESS_ALLOWED, flags, 0x1F01FF, sid)


INHERITED = allow(BOTH | INHERITED_ACE)
"""What a folder gets of the top."""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """d/e/f and d/p/f, where p is protected, and g, below a folder that passes an entry on."""
    share = tmp_path / "share"
    top = share / "top"
    for folder in ("d/e", "d/p"):
        (top / folder).mkdir(parents=True)
        (top / folder / "f").write_text("x")
    (top / "g").write_text("x")
    try:
        os.setxattr(top, NAME, b"")
        os.removexattr(top, NAME)
    except OSError:
        pytest.skip("no user attributes here")
    give(top, allow(BOTH), allow(0, USERS))
    give(top / "d/p", allow(BOTH, USERS), control=SE_DACL_PROTECTED)
    give(top / "d/e/f", allow(0, USERS), allow(INHERITED_ACE, USERS))
    return top


def run(top: Path, *, dry_run: bool = False) -> dict[str, Outcome]:
    outcomes = list(Propagation(DOMAIN, NAME, dry_run=dry_run).run(bytes(top.parent), os.fsencode(top.name)))
    found = {os.fsdecode(outcome.path): outcome for outcome in outcomes}
    assert len(found) == len(outcomes)
    return found


def what(found: dict[str, Outcome]) -> dict[str, str]:
    return {path: outcome.what for path, outcome in found.items()}


def whole(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a run may change."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_ctime_ns, *sorted(os.listxattr(path, follow_symlinks=False)))
        for path in sorted(top.rglob("*"))
    }


def test_all_below_gets_it_and_a_protected_folder_passes_on_its_own(top: Path) -> None:
    names = ("d", "d/e", "d/e/f", "d/p/f", "g")
    before = whole(top)
    expected = {**dict.fromkeys(names, CHANGED), "d/p": PROTECTED}
    assert what(run(top, dry_run=True)) == expected
    assert whole(top) == before
    found = run(top)
    assert what(found) == expected
    assert sorted(path for path, outcome in found.items() if outcome.is_directory) == ["d", "d/e", "d/p"]
    assert has(top) == (allow(BOTH), allow(0, USERS))
    assert has(top / "d/p") == (allow(BOTH, USERS),)
    assert (has(top / "d/p/f") or ())[-1] == allow(INHERITED_ACE, USERS)
    assert has(top / "d/e/f") == (allow(0, USERS), allow(INHERITED_ACE))
    for folder in ("d", "d/e"):  # without a list before: what its permissions say is its own
        assert (has(top / folder) or ())[-1] == INHERITED
    assert what(run(top)) == {**dict.fromkeys(names, UNCHANGED), "d/p": PROTECTED}


def test_the_users_of_a_former_server_stay_who_they_are(top: Path) -> None:
    """The owner is an SID of that server, and the file another user's meanwhile: the SID stands for its own user."""
    otto = sid_from_text("S-1-5-21-7-8-9-1001")
    fd = os.open(top / "g", os.O_RDONLY)
    new = SecurityDescriptor(
        SE_SELF_RELATIVE | SE_DACL_PRESENT, otto, IdMap(DOMAIN).group_sid(stat_fd(fd).gid), Acl((allow(0, otto),))
    )
    an_access().replace_lists(fd, False, new, True)
    former = [FormerUser(otto, None, stat_fd(fd).uid + 1)]
    list(Propagation(DOMAIN, NAME, former=former).run(bytes(top.parent), b"top"))
    found = an_access(former).stored(fd, False, stat_fd(fd))
    os.close(fd)
    assert found is not None and found.owner == otto and found.dacl is not None
    assert found.dacl.aces == (allow(0, otto), allow(INHERITED_ACE))


def test_a_run_that_stops_leaves_each_file_whole(top: Path) -> None:
    give(top / "g", allow(INHERITED_ACE, USERS))
    count = len(run(top, dry_run=True))
    for stop in range(1, count):
        give(top / "g", allow(INHERITED_ACE, USERS))
        running = Propagation(DOMAIN, NAME).run(bytes(top.parent), b"top")
        for _ in range(stop):
            next(running)
        running.close()
        assert has(top / "g") in ((allow(INHERITED_ACE, USERS),), (allow(INHERITED_ACE),))
    run(top)
    assert has(top / "g") == (allow(INHERITED_ACE),)


def test_links_and_what_is_no_file_stay(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x")
    (outside / "two").write_text("x")
    before = whole(outside)
    (top / "link").symlink_to(outside)
    (top / "to-file").symlink_to(outside / "f")
    os.mkfifo(top / "pipe")
    found = run(top)
    assert {path: outcome.why for path, outcome in found.items() if outcome.what == SKIPPED} == {
        "link": "a symbolic link", "to-file": "a symbolic link", "pipe": "a special file",
    }  # fmt: skip
    assert whole(outside) == before and not any(path.startswith("link/") for path in found)
    os.link(outside / "two", top / "second")  # another name of a file outside
    before = whole(outside)
    assert run(top)["second"][1:] == (SKIPPED, False, "the file has 2 names")
    assert whole(outside) == before


@pytest.mark.parametrize("old", [False, True])
def test_a_link_that_takes_a_name_meanwhile_leads_nowhere(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """A user swaps an entry after it was listed, before it is opened; `old`: a kernel without openat2."""
    if not old and openat.MISSING:
        pytest.skip(openat.MISSING)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("x")
    before = whole(outside)
    if old:
        monkeypatch.setattr(openat, "MISSING", "tried")
    swaps = {b"g": outside / "f", b"e": outside}
    opens = acl_tree._open

    def racing(folder: int, name: bytes) -> int:
        if name in swaps:
            os.rename(name, name + b".was", src_dir_fd=folder, dst_dir_fd=folder)
            os.symlink(swaps[name], name, dir_fd=folder)
        return opens(folder, name)

    monkeypatch.setattr(acl_tree, "_open", racing)
    found = run(top)
    assert found["g"].why == found["d/e"].why == "a symbolic link"
    assert whole(outside) == before


class Stand:
    """Stands for an Access, of which no class made here can inherit where it is compiled."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.access = Access(*arguments, **options)

    def __getattr__(self, name: str) -> object:
        return getattr(self.access, name)


def test_what_is_open_is_changed_whatever_has_its_name(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    before = other.lstat().st_mode

    class Racing(Stand):
        def replace_lists(self, fd: int, path_only: bool, descriptor: SecurityDescriptor, dacl_changes: bool) -> None:
            if stat_fd(fd).ino == (top / "g").lstat().st_ino:
                os.rename(top / "g", top / "was")
                os.link(other, top / "g")
            self.access.replace_lists(fd, path_only, descriptor, dacl_changes)

    monkeypatch.setattr(acl_tree, "Access", Racing)
    list(Propagation(DOMAIN, NAME).run(bytes(top.parent), b"top"))
    assert (top / "g").samefile(other) and (has(top / "was") or ())[-1] == allow(INHERITED_ACE)
    assert other.lstat().st_mode == before and os.listxattr(other) == []


def test_the_folder_that_is_named(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "way").symlink_to(top / "d")
    (top / "d" / "up").symlink_to("..")
    propagation = Propagation(DOMAIN, NAME)
    for missing in (False, True):
        if missing:
            monkeypatch.setattr(openat, "MISSING", "tried")
        for below in (b"top/way", b"top/d/up/d", b"top/nowhere", b"top/g"):
            with pytest.raises(OSError):
                list(propagation.run(bytes(top.parent), below))
        with pytest.raises(NoList):
            list(propagation.run(bytes(top.parent), b"top/d"))
        with pytest.raises(NoList):
            list(propagation.run(bytes(top.parent), b"."))


def test_a_chmod_since_takes_the_list_away(top: Path) -> None:
    os.chmod(top, 0o500)
    with pytest.raises(NoList):
        run(top)


def test_a_system_that_keeps_no_list_ends_the_run(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object, name: bytes, value: bytes) -> None:
        if os.fsdecode(name) == NAME:
            raise PermissionError(1, "Operation not permitted")
        sets(path, name, value)  # type: ignore[arg-type]

    sets = os.setxattr
    monkeypatch.setattr(os, "setxattr", refused)
    with pytest.raises(NotKept):
        run(top)


def test_a_failure_is_told_and_the_rest_goes_on(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    class Refusing(Stand):
        def replace_lists(self, fd: int, path_only: bool, descriptor: SecurityDescriptor, dacl_changes: bool) -> None:
            if stat_fd(fd).ino == (top / "g").lstat().st_ino:
                raise PermissionError(1, "Operation not permitted")
            self.access.replace_lists(fd, path_only, descriptor, dacl_changes)

    monkeypatch.setattr(acl_tree, "Access", Refusing)
    found = run(top)
    assert found["g"].what == FAILED and found["g"].why == "Operation not permitted"
    assert found["d/e/f"].what == CHANGED
