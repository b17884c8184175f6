# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of a file on the disk: an open stands for the one that it came by, whatever local processes do to the others
(MS-FSA 2.1.1.5, Link)."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import allocation, entry
from ksmbd.vfs.entry import LocalEntry


def status_of(call: Callable[[], Any]) -> int:
    """The status that a call fails with, 0 where it does not."""
    try:
        call()
    except NtStatusError as error:
        return error.status
    return 0


def test_the_name_that_was_opened_goes(share: Share) -> None:
    a = share.open("a")
    os.link(share.path / "a", share.path / "b")
    b = share.open("b", access=c.DELETE)
    assert (a.disk_name, b.disk_name) == (b"a", b"b")
    b.unlink()
    assert share.on_disk() == ["a"]
    b.unlink()  # another name is no reason to remove that one
    assert share.on_disk() == ["a"]


def test_a_name_that_moved_is_followed_past_one_that_took_its_place(share: Share) -> None:
    file = share.open("a")
    os.rename(share.path / "a", share.path / "moved")
    os.link(share.path / "moved", share.path / "a")
    file.unlink()
    assert share.on_disk() == ["a"] and file.path == "moved"


def test_a_name_that_was_made_again_is_as_good(share: Share) -> None:
    file = share.open("a")
    os.link(share.path / "a", share.path / "b")
    os.unlink(share.path / "a")
    os.link(share.path / "b", share.path / "a")
    file.unlink()
    assert share.on_disk() == ["b"]


def test_another_name_is_not_taken_for_one_that_is_gone(share: Share) -> None:
    file = share.open("a")
    os.link(share.path / "a", share.path / "b")
    os.unlink(share.path / "a")
    os.link(share.path / "b", share.path / "a (deleted)")  # as /proc shows the one that is gone
    assert status_of(file.unlink) in (0, s.STATUS_OBJECT_NAME_NOT_FOUND)
    assert share.on_disk() == ["a (deleted)", "b"]


def swap(share: Share) -> None:
    """A local process puts another file in the place of `a`."""
    os.rename(share.path / "a", share.path / "elsewhere")
    (share.path / "a").write_text("not mine")


@pytest.mark.skipif(not str(entry.__file__).endswith(".py"), reason="a compiled method stays; see below")
def test_the_last_look_is_just_before_the_change(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local process puts another file there after the entry was found."""
    file = share.open("a")
    find = LocalEntry.entry

    def swapped(self: LocalEntry) -> tuple[int, bytes]:
        found = find(self)
        swap(share)
        return found

    for change in (file.unlink, lambda: file.rename("new", False)):
        with monkeypatch.context() as patch:
            patch.setattr(LocalEntry, "entry", swapped)
            assert status_of(change) == s.STATUS_OBJECT_NAME_NOT_FOUND
        assert (share.path / "a").read_text() == "not mine" and "new" not in share.on_disk()
        os.rename(share.path / "elsewhere", share.path / "a")


def test_the_last_look_sees_another_file(share: Share) -> None:
    """What the change above looks at: both twins see it."""
    file = share.open("a")
    directory, name = file.entry()
    try:
        file.verify_entry(directory, name)
        swap(share)
        assert status_of(lambda: file.verify_entry(directory, name)) == s.STATUS_OBJECT_NAME_NOT_FOUND
        os.unlink(share.path / "a")
        assert status_of(lambda: file.verify_entry(directory, name)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    finally:
        file.place.resolver.release(directory)


def test_a_stream_lets_go_of_its_files_name(share: Share) -> None:
    share.open("a")
    os.link(share.path / "a", share.path / "b")
    stream = share.open("b", stream="s")
    stream.unlink_file()
    assert share.on_disk() == ["a"]
    assert share.open("a", stream="s", disposition=c.FILE_OPEN).stream == "S"


def test_a_renamed_name_takes_no_other_along(share: Share) -> None:
    a = share.open("a")
    os.link(share.path / "a", share.path / "b")
    b = share.open("b")
    b.rename("c", False)
    assert (a.path, b.path, share.on_disk()) == ("a", "c", ["a", "c"])
    a.unlink()
    assert share.on_disk() == ["c"]


def test_a_create_that_fails_takes_back_its_own_file_alone(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local process has put another file in the place of what was made a moment ago."""

    def fail(*arguments: Any) -> Any:
        os.rename(share.path / "new", share.path / "moved")
        (share.path / "new").write_text("not mine")
        raise NtStatusError(s.STATUS_DISK_FULL)

    monkeypatch.setattr(allocation, "reserve", fail)
    assert status_of(lambda: share.open("new", allocation_size=1)) == s.STATUS_DISK_FULL
    assert (share.path / "new").read_text() == "not mine"
