# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes, decodes and reads reparse points (MS-FSCC 2.1.2): symbolic links on the disk, and other tags in an xattr.

`data` is what follows the 8-byte header of REPARSE_DATA_BUFFER. user.SmbReparse holds the buffer with its header, as
newer versions of Samba store it. A symbolic link whose target stays inside the share is stored as a symbolic link on
the disk. Any other is stored in the attribute, so that only clients can follow it.
"""
from __future__ import annotations

import os
from struct import Struct
from typing import Final

from ksmbd.kernel.stat import S_IFLNK
from ksmbd.kernel.xattr import get_attribute
from ksmbd.smb.ports import FileInfo
from ksmbd.smb.posix_names import from_path
from ksmbd.smb.reader import Reader, decode_utf16, encode_utf16
from ksmbd.smb.status import (
    STATUS_IO_REPARSE_DATA_INVALID,
    STATUS_STOPPED_ON_SYMLINK,
    NtStatusError,
)
from ksmbd.vfs.attributes import IO_REPARSE_TAG_SYMLINK, REPARSE_NAME, SPECIAL_TAGS
from ksmbd.vfs.names import to_client

SYMLINK_FLAG_RELATIVE: Final = 1
IO_REPARSE_TAG_NFS: Final = 0x80000014
_NFS_KINDS: Final = {
    b"LNK\0\0\0\0\0": S_IFLNK, b"CHR\0\0\0\0\0": 0o020000, b"BLK\0\0\0\0\0": 0o060000,
    b"FIFO\0\0\0\0": 0o010000, b"SOCK\0\0\0\0": 0o140000,
}  # fmt: skip
"""File types in Network File System reparse data (MS-FSCC 2.1.2.6)."""
HEADER: Final = Struct("<IHH")
_SYMLINK: Final = Struct("<HHHHI")
_ERROR: Final = Struct("<IIIHH")
"""SymLinkLength, SymLinkErrorTag, ReparseTag, ReparseDataLength, UnparsedPathLength; the rest is as in _SYMLINK."""
_ERROR_TAG: Final = 0x4C4D5953
MAXIMUM: Final = 16384
"""MAXIMUM_REPARSE_DATA_BUFFER_SIZE (MS-FSCC 2.1.2.2)."""


def encode_symlink(target: str, relative: bool) -> bytes:
    """Encode a Symbolic Link Reparse Data Buffer (MS-FSCC 2.1.2.4) without its header; `target` has backslashes."""
    name = encode_utf16(target)
    flags = SYMLINK_FLAG_RELATIVE if relative else 0
    return _SYMLINK.pack(0, len(name), len(name), len(name), flags) + name + name


def decode_symlink(data: bytes) -> tuple[str, bool]:
    """Decode to (target, whether it is relative). Raises STATUS_IO_REPARSE_DATA_INVALID for wrong offsets or names."""
    reader = Reader(data, status=STATUS_IO_REPARSE_DATA_INVALID)
    offset, length, _, _, flags = reader.unpack(_SYMLINK)
    text = decode_utf16(reader.at(_SYMLINK.size + offset, length), STATUS_IO_REPARSE_DATA_INVALID)
    return text, bool(flags & SYMLINK_FLAG_RELATIVE)


def stored(fd: int, path_only: bool) -> tuple[int, bytes] | None:
    """(tag, data) of the reparse point that is stored in the attribute; None where there is none. Never raises."""
    try:
        value = get_attribute(fd, REPARSE_NAME.encode(), path_only, MAXIMUM + 8)
    except OSError:
        return None
    if value is None or len(value) < HEADER.size:
        return None
    tag, length, _ = Reader(value).unpack(HEADER)
    return tag, value[HEADER.size : HEADER.size + length]


def describe(info: FileInfo, fd: int, path_only: bool) -> None:
    """Add the tag of a stored reparse point to `info`, and the type of special file that it stands for."""
    found = stored(fd, path_only)
    if found is not None:
        info.reparse_tag = found[0]
        kind = _kind(*found)
        if kind:
            info.mode = info.mode & 0o7777 | kind


def describe_at(info: FileInfo, directory: int, name: bytes) -> None:
    """As `describe`, for the entry `name` of an open directory."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return
    try:
        describe(info, fd, True)
    finally:
        os.close(fd)


def _kind(tag: int, data: bytes) -> int:
    """The S_IFMT bits of the special file that a reparse point stands for; 0 for none."""
    if tag == IO_REPARSE_TAG_NFS:
        return _NFS_KINDS.get(data[:8], 0)
    return next((kind for kind, known in SPECIAL_TAGS.items() if known == tag), 0)


def stop_at(directory: int, name: bytes) -> NtStatusError:
    """The error of `stop` for a symbolic link on the disk, which the client follows itself. Raises OSError."""
    return _stopped(encoded(*link_target(os.readlink(name, dir_fd=directory))))


def encoded(target: str, relative: bool) -> bytes:
    """A symbolic link's data for a POSIX client, which gets the target unmapped."""
    return encode_symlink(from_path(target), relative)


def link_target(target: bytes) -> tuple[str, bool]:
    """(target with backslashes, whether it is relative) of a symbolic link on the disk."""
    text = "\\".join(to_client(part) if part else "" for part in target.split(b"/"))
    return text, not target.startswith(b"/")


def _stopped(data: bytes) -> NtStatusError:
    tag = IO_REPARSE_TAG_SYMLINK
    answer = _ERROR.pack(_ERROR.size - 4 + len(data), _ERROR_TAG, tag, len(data), 0) + data
    return NtStatusError(STATUS_STOPPED_ON_SYMLINK, "a link that the client has to follow", answer)


def stop(fd: int, path_only: bool, posix: bool) -> None:
    """Stop an open at a symbolic link that is stored in the attribute: the client must follow it itself. Raises
    STATUS_STOPPED_ON_SYMLINK with the Symbolic Link Error Response (MS-SMB2 2.2.2.2.1); STATUS_IO_REPARSE_DATA_INVALID.

    Opens with FILE_OPEN_REPARSE_POINT do not call this."""
    found = stored(fd, path_only)
    if found is None or found[0] != IO_REPARSE_TAG_SYMLINK:
        return
    target = decode_symlink(found[1])  # a local process may have written it
    raise _stopped(encoded(*target) if posix else found[1])
