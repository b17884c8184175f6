# SPDX-License-Identifier: GPL-2.0-or-later
"""Renaming and linking: who may replace what, and that a request which is refused or fails changes nothing
(MS-FSA 2.1.5.15.6, 2.1.5.15.11)."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import FLAGS, USER, Share

from ksmbd.kernel import credentials
from ksmbd.kernel.files import rename
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import UNIX_USERS
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import moving

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
OTHER = 2002
SHARED = {"flags": FLAGS | {"acl_xattr"}, "directory_mask": 0o777, "create_mask": 0o666}
LOOK = c.FILE_GENERIC_READ
ADD = c.FILE_ADD_FILE | c.FILE_ADD_SUBDIRECTORY | c.FILE_LIST_DIRECTORY | c.FILE_TRAVERSE | LOOK


def status_of(call: Callable[[], Any]) -> int:
    """The status that a call fails with, 0 where it does not."""
    try:
        call()
    except NtStatusError as error:
        return error.status
    return 0


def allow(file: Any, others: int) -> None:
    """All for the owner, `others` for the other user."""
    masks = ((USER, c.FILE_ALL_ACCESS), (OTHER, others))
    aces = [Ace(0, 0, mask, UNIX_USERS.child(uid)) for uid, mask in masks if mask]
    descriptor = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, Acl(tuple(aces)))
    file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, descriptor.encode())


def content(share: Share, name: str) -> bytes:
    credentials.as_server()
    return (share.path / name).read_bytes()


@ROOT
@pytest.mark.parametrize("how", ["rename", "posix", "link"])
@pytest.mark.parametrize(
    ("folder", "file", "expected"),
    [
        (ADD, LOOK, s.STATUS_ACCESS_DENIED), (ADD, 0, s.STATUS_ACCESS_DENIED),
        (LOOK | c.FILE_TRAVERSE, c.FILE_ALL_ACCESS, s.STATUS_ACCESS_DENIED),  # nothing may be added
        (ADD | c.FILE_DELETE_CHILD, LOOK, 0), (ADD, LOOK | c.DELETE, 0),
    ],
)  # fmt: skip
def test_replacing_asks_what_it_destroys(
    make_share: Callable[..., Share], how: str, folder: int, file: int, expected: int
) -> None:
    owner = make_share(**SHARED)
    other = make_share(**SHARED, user=(OTHER, OTHER))
    box, target = owner.mkdir("box"), owner.open("box\\target")
    target.write(0, b"precious")
    allow(box, c.FILE_ALL_ACCESS)
    mine = other.open("box\\mine")
    mine.write(0, b"other")
    allow(target, file)
    allow(box, folder)
    if how == "link":
        found = status_of(lambda: mine.link("box\\target", True))
    else:
        found = status_of(lambda: mine.rename("box\\target", True, how == "posix"))
    assert found == expected
    assert content(owner, "box/target") == (b"precious" if expected else b"other")
    left = ["target"] if not expected and how != "link" else ["mine", "target"]
    assert sorted(os.listdir(owner.path / "box")) == left


@ROOT
@pytest.mark.parametrize("how", ["rename", "link"])
def test_a_sticky_folder_keeps_what_is_others(make_share: Callable[..., Share], how: str) -> None:
    owner, other = make_share(directory_mask=0o777), make_share(user=(OTHER, OTHER))
    owner.mkdir("box", posix_mode=0o1777)
    owner.open("box\\target", posix_mode=0o666).write(0, b"precious")
    mine = other.open("box\\mine")
    change = mine.link if how == "link" else mine.rename
    assert status_of(lambda: change("box\\target", True)) == s.STATUS_ACCESS_DENIED
    assert content(owner, "box/target") == b"precious"
    assert sorted(os.listdir(owner.path / "box")) == ["mine", "target"]


@pytest.mark.parametrize("how", ["rename", "link"])
@pytest.mark.parametrize("failing", [1, 2])
def test_what_fails_half_way_is_taken_back(
    share: Share, monkeypatch: pytest.MonkeyPatch, how: str, failing: int
) -> None:
    """The target is spelled otherwise, so that more than one step is needed."""
    share.open("Target").write(0, b"precious")
    mine = share.open("mine")
    mine.write(0, b"other")
    calls = []
    really = rename

    def fail(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "full")
        really(*arguments)

    monkeypatch.setattr(moving, "rename", fail)
    change = mine.link if how == "link" else mine.rename
    assert status_of(lambda: change("TARGET", True)) == s.STATUS_DISK_FULL
    assert share.on_disk() == ["Target", "mine"]
    assert (content(share, "Target"), content(share, "mine")) == (b"precious", b"other")
    assert mine.path == "mine"
    calls.clear()
    monkeypatch.setattr(moving, "rename", really)
    change("TARGET", True)
    assert content(share, "TARGET") == b"other" and "Target" not in share.on_disk()


@ROOT
def test_a_link_to_somebody_else_s_file_in_a_sticky_folder(make_share: Callable[..., Share]) -> None:
    """The temporary name could neither be moved nor removed again."""
    share = make_share()
    share.open("mine").close()
    with credentials.privileged():
        os.chown(share.path, OTHER, OTHER)
        os.chmod(share.path, 0o1777)
        (share.path / "theirs").touch()
        os.chown(share.path / "theirs", OTHER, OTHER)
        os.chmod(share.path / "theirs", 0o666)
    file = share.open("theirs", access=c.FILE_GENERIC_READ | c.FILE_GENERIC_WRITE)
    before = os.stat(share.path / "mine").st_ino
    assert status_of(lambda: file.link("mine", True)) == s.STATUS_ACCESS_DENIED
    assert share.on_disk() == ["mine", "theirs"] and os.stat(share.path / "mine").st_ino == before


def test_a_link_takes_the_place_of_a_file_in_one_step(share: Share) -> None:
    share.open("target").write(0, b"old")
    mine = share.open("mine")
    mine.write(0, b"new")
    mine.link("target", True)
    assert share.on_disk() == ["mine", "target"]
    assert content(share, "target") == b"new" and (share.path / "mine").stat().st_nlink == 2
    mine.link("target", True)  # it has that name already
    assert share.on_disk() == ["mine", "target"]


def test_a_name_over_another_one_of_the_same_file(share: Share) -> None:
    """MS-FSA 2.1.5.15.11, TargetExistsSameFile: the old name goes; rename(2) does nothing."""
    a = share.open("a")
    os.link(share.path / "a", share.path / "B")
    assert status_of(lambda: a.rename("b", False)) == s.STATUS_OBJECT_NAME_COLLISION
    a.rename("b", True)
    assert share.on_disk() == ["b"] and a.path == "b"
    os.link(share.path / "b", share.path / "c")
    posix = share.open("b", posix_mode=0)
    posix.rename("c", True, True)
    assert share.on_disk() == ["b", "c"] and posix.path == "b"


@pytest.mark.parametrize("how", ["rename", "link"])
def test_who_was_quicker_is_replaced_too(share: Share, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A file that appears, or goes, between the look and the change, is no collision for who asked to replace."""
    mine = share.open("mine")
    mine.write(0, b"mine")
    check = moving._check_room
    steps = iter(("make", "remove", "make"))

    def swapped(*arguments: Any) -> None:
        step = next(steps, None)
        if step == "remove":
            os.unlink(share.path / "target")
        check(*arguments)
        if step == "make":
            (share.path / "target").write_bytes(b"quicker")

    monkeypatch.setattr(moving, "_check_room", swapped)
    change = mine.link if how == "link" else mine.rename
    change("target", True)
    assert content(share, "target") == b"mine"


def test_folders_are_replaced_by_posix_clients_alone(share: Share) -> None:
    share.mkdir("empty")
    share.mkdir("full")
    share.open("full\\file")
    folder = share.mkdir("mine")
    assert status_of(lambda: folder.rename("empty", True)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: folder.rename("full", True)) == s.STATUS_DIRECTORY_NOT_EMPTY
    assert status_of(lambda: folder.rename("full", False)) == s.STATUS_OBJECT_NAME_COLLISION
    assert status_of(lambda: folder.rename("full", True, True)) == s.STATUS_DIRECTORY_NOT_EMPTY
    assert status_of(lambda: share.open("f").rename("empty", True, True)) == s.STATUS_FILE_IS_A_DIRECTORY
    assert status_of(lambda: folder.rename("f", True)) == s.STATUS_ACCESS_DENIED  # nor does one replace a file
    assert status_of(lambda: folder.rename("f", True, True)) == s.STATUS_NOT_A_DIRECTORY
    folder.rename("empty", True, True)
    assert share.on_disk() == ["empty", "f", "full"]


def test_a_folder_with_entries_is_said_to_be_so_everywhere(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems say EEXIST of it."""
    share.mkdir("full")
    folder = share.mkdir("mine")

    def refuse(*arguments: Any) -> None:
        raise FileExistsError(errno.EEXIST, "exists")

    monkeypatch.setattr(moving, "rename", refuse)
    assert status_of(lambda: folder.rename("full", True, True)) == s.STATUS_DIRECTORY_NOT_EMPTY
