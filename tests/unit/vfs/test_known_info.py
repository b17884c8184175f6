# SPDX-License-Identifier: GPL-2.0-or-later
"""What a listing says of a file, and what an open says of it at once, is what File.info says."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from vfs_share import FLAGS, Share

from ksmbd.smb import constants as c
from ksmbd.vfs import dosattrib

OLD = 116_444_736_000_000_000 - 10_000_000
"""A second before 1970."""


def furnish(share: Share) -> list[str]:
    """Entries of all sorts; their names."""
    share.open("plain.txt").write(0, bytes(5000))
    for name, attributes in (
        ("hidden", c.FILE_ATTRIBUTE_HIDDEN), ("system", c.FILE_ATTRIBUTE_SYSTEM | c.FILE_ATTRIBUTE_READONLY),
        ("temporary", c.FILE_ATTRIBUTE_TEMPORARY), ("normal", c.FILE_ATTRIBUTE_NORMAL),
    ):  # fmt: skip
        share.open(name).set_basic(0, 0, 0, 0, attributes)
    share.open("old").set_basic(OLD, OLD, OLD, 0, 0)
    share.open("sparse").set_sparse(True)
    share.open(".dot")
    share.open("space and.dots.x y")
    share.open("\u00fcml\u00e4ut")
    folder = share.mkdir("folder")
    folder.set_basic(0, 0, 0, 0, c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_DIRECTORY)
    local = share.path / "local"
    local.write_bytes(b"x" * 10)
    os.link(local, share.path / "link")
    (share.path / "localdir").mkdir()
    (share.path / "ends with dot.").write_bytes(b"")
    damaged = share.path / "damaged"
    damaged.write_bytes(b"")
    os.setxattr(damaged, dosattrib.NAME, b"nonsense")
    older = share.path / "older"
    older.write_bytes(b"")
    os.setxattr(older, dosattrib.NAME, b"0x22\0")
    for path in share.path.iterdir():
        os.chmod(path, 0o777)
    return sorted(os.listdir(share.path))


@pytest.mark.parametrize("flags", [FLAGS, FLAGS - {"store_dos_attributes"}, FLAGS - {"hide_dot_files"}])
@pytest.mark.parametrize("options", [{}, {"hide_files": ("plain*", "folder")}])
def test_a_listing(
    make_share: Callable[..., Share], flags: frozenset[str], options: dict[str, tuple[str, ...]]
) -> None:
    share = make_share(flags=flags, **options)
    names = furnish(share)
    listed = {entry.name: entry.info for entry in share.open("").list_directory()}
    assert len(listed) == len(names) + 2
    hidden = 0
    for name, info in listed.items():
        if name not in (".", ".."):
            known = share.open(name, access=c.FILE_READ_ATTRIBUTES, disposition=c.FILE_OPEN).info()
            assert info == replace(known, ea_size=0), name
            hidden += bool(info.attributes & c.FILE_ATTRIBUTE_HIDDEN)
    assert hidden


def test_a_listing_beside_change_times(share: Share) -> None:
    """ChangeTime as a client set it is what all ways of asking say."""
    names = furnish(share)
    share.open("plain.txt").set_basic(0, 0, 0, 132_000_000_000_000_000, 0)
    listed = {entry.name: entry.info for entry in share.open("").list_directory()}
    assert listed["plain.txt"].change_time == 132_000_000_000_000_000
    assert len(listed) == len(names) + 2


def test_an_open(share: Share) -> None:
    furnish(share)
    told = 0
    for entry in list(share.open("").list_directory()):
        if entry.name in (".", ".."):
            continue
        for access in (c.FILE_READ_ATTRIBUTES, c.FILE_READ_DATA, c.MAXIMUM_ALLOWED):
            result = share.create(entry.name, access=access, disposition=c.FILE_OPEN)
            assert result.info in (None, replace(result.file.info(), ea_size=0)), entry.name
            told += result.info is not None
    assert told > 20


@pytest.mark.parametrize("attributes", [0, c.FILE_ATTRIBUTE_HIDDEN, c.FILE_ATTRIBUTE_READONLY])
@pytest.mark.parametrize("flags", [FLAGS, FLAGS - {"store_dos_attributes"}])
def test_a_creation(make_share: Callable[..., Share], attributes: int, flags: frozenset[str]) -> None:
    share = make_share(flags=flags)
    for name, options in (("new", 0), (".new", 0), ("folder", c.FILE_DIRECTORY_FILE)):
        result = share.create(name, disposition=c.FILE_CREATE, options=options, attributes=attributes)
        assert result.info == replace(result.file.info(), ea_size=0)
    result = share.create("eas", disposition=c.FILE_CREATE, extended_attributes=[("A", 0, b"value")])
    assert result.info is not None and result.info == replace(result.file.info(), ea_size=0)


def test_what_is_overwritten_is_asked_again(share: Share) -> None:
    share.open("f").write(0, b"data")
    assert share.create("f", disposition=c.FILE_OVERWRITE_IF).info is None
