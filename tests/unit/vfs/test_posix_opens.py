# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens with the POSIX create context on the disk: links that their client follows, special files, modes, chmod."""
from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import FLAGS, Share

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.acl import Ace, Acl
from ksmbd.smb.ports import NO_POSIX_MODE
from ksmbd.smb.posix import posix_mode
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import NFS_MODE
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs.reparse import IO_REPARSE_TAG_NFS, decode_symlink, encode_symlink

SYMLINK = 0xA000000C
FOLLOWING = {"flags": FLAGS | {"follow_symlinks"}}


def listed(share: Share, posix: bool = True) -> dict[str, Any]:
    folder = share.open("", posix_mode=0) if posix else share.open("")
    return {entry.name: entry.info for entry in folder.list_directory()}


def test_a_link_of_the_disk_is_the_clients_to_follow(make_share: Callable[..., Share]) -> None:
    share = make_share(**FOLLOWING)
    share.open("file").write(0, b"12345")
    os.symlink("file", share.path / "link")
    with pytest.raises(NtStatusError) as caught:
        share.open("link", posix_mode=0, disposition=c.FILE_OPEN)
    assert caught.value.status == s.STATUS_STOPPED_ON_SYMLINK
    data = caught.value.data
    assert data is not None and decode_symlink(bytes(data[16:])) == ("file", True)
    assert share.open("link", disposition=c.FILE_OPEN).info().end_of_file == 5  # others are led there
    link = share.open("link", posix_mode=0, access=c.FILE_READ_ATTRIBUTES | c.DELETE, disposition=c.FILE_OPEN,
                      options=c.FILE_OPEN_REPARSE_POINT)  # fmt: skip
    assert posix_mode(link.info()) >> 12 == 2
    shown = listed(share)["link"]
    assert (shown.reparse_tag, posix_mode(shown) >> 12) == (SYMLINK, 2)
    assert listed(share, posix=False)["link"].end_of_file == 5
    link.unlink()
    assert share.on_disk() == ["file"]


def test_links_that_posix_clients_make(make_share: Callable[..., Share]) -> None:
    share = make_share(**FOLLOWING)
    share.mkdir("d")
    for name, target, relative, on_disk in (
        ("d\\in", "../a/b\\c", True, "../a/b\\c"), ("out", "../../x", True, None), ("abs", "etc/passwd", False, None),
    ):  # fmt: skip
        file = share.open(name, posix_mode=0o777)
        file.set_reparse_point(SYMLINK, encode_symlink(target, relative))
        path = share.path / name.replace("\\", "/")
        assert (os.readlink(path) if path.is_symlink() else None) == on_disk
        tag, data = file.reparse_point()
        text, shown_relative = decode_symlink(data)
        expected = {"d\\in": "../a/b\\c", "out": "../../x", "abs": "/etc/passwd"}[name]
        assert (tag, text, shown_relative) == (SYMLINK, expected, relative)
        plain = share.open(name, access=c.FILE_READ_ATTRIBUTES, options=c.FILE_OPEN_REPARSE_POINT)
        assert decode_symlink(plain.reparse_point()[1])[0] == {
            "d\\in": "..\\a\\b\uf026c", "out": "..\\..\\x", "abs": "\\etc\\passwd"
        }[name]
    shown = listed(share)
    assert {name: posix_mode(shown[name]) >> 12 for name in ("out", "abs")} == {"out": 2, "abs": 2}


@pytest.mark.parametrize(
    ("tag", "data", "kind"),
    [
        (SYMLINK, encode_symlink("..\\out", True), 2), (IO_REPARSE_TAG_NFS, b"FIFO\0\0\0\0", 5),
        (IO_REPARSE_TAG_NFS, b"CHR\0\0\0\0\0" + struct.pack("<II", 1, 3), 3), (IO_REPARSE_TAG_NFS, b"SOCK\0\0\0\0", 6),
        (IO_REPARSE_TAG_NFS, b"BLK\0\0\0\0\0" + struct.pack("<II", 8, 0), 4), (0x80000024, b"", 5),
        (0x9000001A, b"x", 0),
    ],
)  # fmt: skip
def test_special_files_are_told_apart(share: Share, tag: int, data: bytes, kind: int) -> None:
    """In listings of all clients, too: there the tag stands in the place of the size of the EAs (MS-FSCC 2.4.8)."""
    file = share.open("special", posix_mode=0o640)
    file.set_reparse_point(tag, data)
    assert (file.info().reparse_tag, posix_mode(file.info())) == (tag, kind << 12 | 0o640)
    for posix in (True, False):
        shown = listed(share, posix)["special"]
        assert (shown.reparse_tag, posix_mode(shown)) == (tag, kind << 12 | 0o640)


def test_a_link_takes_no_others_file(make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write an empty file and not delete it does not put a link in its place."""
    share = make_share(**FOLLOWING)
    file = share.open("file")
    monkeypatch.setattr(type(share.volume.place.access), "may_unlink", lambda *arguments: False)
    file.set_reparse_point(SYMLINK, encode_symlink("x", True))
    assert not (share.path / "file").is_symlink()
    assert file.reparse_point()[0] == SYMLINK


def test_a_client_without_a_mode_gets_the_shares(make_share: Callable[..., Share]) -> None:
    share = make_share(create_mask=0o640, directory_mask=0o750)
    share.open("file", posix_mode=NO_POSIX_MODE)
    share.mkdir("dir", posix_mode=NO_POSIX_MODE)
    assert [stat.S_IMODE((share.path / name).stat().st_mode) for name in ("file", "dir")] == [0o640, 0o750]


def test_chmod_shuts_nobody_out(make_share: Callable[..., Share]) -> None:
    """cifs.ko sends a mode as the one entry of a list; kept as a list it would let nobody in."""
    share = make_share(flags=FLAGS | {"acl_xattr"})
    file = share.open("file", posix_mode=0o644)
    for mode in (0o755, 0o600):
        mode_alone = Acl((Ace(0, 0, 0, NFS_MODE.child(mode)),))
        descriptor = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, mode_alone)
        file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, descriptor.encode())
        assert stat.S_IMODE((share.path / "file").stat().st_mode) == mode
        assert share.open("file", access=c.FILE_READ_DATA | c.FILE_WRITE_DATA, disposition=c.FILE_OPEN)
