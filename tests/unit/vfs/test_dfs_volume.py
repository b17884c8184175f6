# SPDX-License-Identifier: GPL-2.0-or-later
"""DFS links on the disk: what they cover, how they are listed, and what other symbolic links are."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.dfs import IO_REPARSE_TAG_DFS, Link
from ksmbd.smb.status import NtStatusError

LINK = r"msdfs:server\share,other\share"
TARGETS = (r"\server\share", r"\other\share")


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


@pytest.fixture(params=[FLAGS, FLAGS | {"follow_symlinks"}], ids=["kept", "followed"])
def share(request: pytest.FixtureRequest, make_share: Callable[..., Share]) -> Share:
    made = make_share(flags=request.param, msdfs_root=True)
    os.symlink(LINK, made.path / "link")
    os.mkdir(made.path / "Sub")
    os.symlink(LINK, made.path / "Sub" / ".deep")
    os.symlink("file", made.path / "plain")
    (made.path / "file").write_text("x")
    return made


@pytest.mark.parametrize("name", ["link", "LINK", r"link\below", r"link\a\b", r"sub\.deep", r"Sub\.deep\x"])
@pytest.mark.parametrize("options", [0, c.FILE_OPEN_REPARSE_POINT, c.FILE_DIRECTORY_FILE])
@pytest.mark.parametrize("disposition", [c.FILE_OPEN, c.FILE_CREATE, c.FILE_OPEN_IF])
def test_what_a_link_covers(share: Share, name: str, options: int, disposition: int) -> None:
    found = status_of(lambda: share.create(name, c.FILE_READ_ATTRIBUTES, disposition, options))
    assert found == s.STATUS_PATH_NOT_COVERED
    assert os.readlink(share.path / "link") == LINK


def test_what_it_does_not(share: Share) -> None:
    share.open("file", c.FILE_READ_DATA, c.FILE_OPEN).close()
    assert status_of(lambda: share.create("none", c.FILE_READ_DATA, c.FILE_OPEN)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status_of(lambda: share.create(r"none\x", c.FILE_READ_DATA, c.FILE_OPEN)) == s.STATUS_OBJECT_PATH_NOT_FOUND


@pytest.mark.parametrize(("name", "found"), [
    ("link", Link(1, TARGETS)), (r"LINK\a\b", Link(1, TARGETS)), (r"sub\.deep\x", Link(2, TARGETS)), ("file", None),
    ("plain", None), ("none", None), (r"none\x", None), ("", None), (r"file\x", None),
])  # fmt: skip
def test_the_link_of_a_name(share: Share, name: str, found: Link | None) -> None:
    assert share.volume.dfs_link(name) == found


def listed(share: Share, name: str = "") -> dict[str, Any]:
    directory = share.open(name, c.FILE_LIST_DIRECTORY, c.FILE_OPEN, c.FILE_DIRECTORY_FILE)
    try:
        return {entry.name: entry.info for entry in directory.list_directory() if entry is not None}
    finally:
        directory.close()


def test_links_are_listed_as_directories(share: Share) -> None:
    found = listed(share)
    info = found["link"]
    assert info.attributes == c.FILE_ATTRIBUTE_DIRECTORY | c.FILE_ATTRIBUTE_REPARSE_POINT
    assert (info.reparse_tag, info.is_directory, info.end_of_file) == (IO_REPARSE_TAG_DFS, True, 0)
    assert found["plain"].reparse_tag != IO_REPARSE_TAG_DFS
    assert listed(share, "Sub")[".deep"].attributes & c.FILE_ATTRIBUTE_HIDDEN


def test_without_a_root_they_are_symbolic_links(make_share: Callable[..., Share]) -> None:
    made = make_share()
    os.symlink(LINK, made.path / "link")
    assert made.volume.dfs_link("link") is None
    assert listed(made)["link"].reparse_tag != IO_REPARSE_TAG_DFS
    assert status_of(lambda: made.create("link", c.FILE_READ_DATA, c.FILE_OPEN)) != s.STATUS_PATH_NOT_COVERED
