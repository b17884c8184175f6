# SPDX-License-Identifier: GPL-2.0-or-later
"""Reparse points (MS-FSCC 2.1.2): symbolic links of the disk, and other tags kept in an extended attribute.

`data` is what follows the 8-byte header of REPARSE_DATA_BUFFER. user.SmbReparse holds the buffer with its header, as
newer
versions of Samba do. A symbolic link that stays inside the share becomes one on the disk; any other is kept in the
attribute, where nothing but a client can follow it.
"""
from __future__ import annotations

import errno
import os
import secrets
from struct import Struct
from typing import TYPE_CHECKING, Final

from ksmbd.kernel.files import exchange, get_attribute
from ksmbd.kernel.stat import S_IFLNK, S_IFMT, S_IFREG, stat_at, stat_fd
from ksmbd.smb.constants import DELETE, FILE_ATTRIBUTE_REPARSE_POINT
from ksmbd.smb.ports import FileInfo
from ksmbd.smb.posix_names import from_path, posix_path
from ksmbd.smb.reader import Reader, decode_utf16, encode_utf16
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DIRECTORY_NOT_EMPTY,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_IO_REPARSE_DATA_INVALID,
    STATUS_IO_REPARSE_TAG_INVALID,
    STATUS_IO_REPARSE_TAG_MISMATCH,
    STATUS_NOT_A_REPARSE_POINT,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_STOPPED_ON_SYMLINK,
    NtStatusError,
)
from ksmbd.vfs.attributes import IO_REPARSE_TAG_SYMLINK, REPARSE_NAME, SPECIAL_TAGS, target_of
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.names import check, to_client, to_disk

if TYPE_CHECKING:
    from ksmbd.vfs.file import LocalFile
    from ksmbd.vfs.metadata import LocalMetadata

SYMLINK_FLAG_RELATIVE: Final = 1
IO_REPARSE_TAG_NFS: Final = 0x80000014
_NFS_KINDS: Final = {
    b"LNK\0\0\0\0\0": S_IFLNK, b"CHR\0\0\0\0\0": 0o020000, b"BLK\0\0\0\0\0": 0o060000,
    b"FIFO\0\0\0\0": 0o010000, b"SOCK\0\0\0\0": 0o140000,
}  # fmt: skip
"""MS-FSCC 2.1.2.6: the type of the file in Network File System reparse data."""
_HEADER: Final = Struct("<IHH")
_SYMLINK: Final = Struct("<HHHHI")
_ERROR: Final = Struct("<IIIHH")
"""SymLinkLength, SymLinkErrorTag, ReparseTag, ReparseDataLength, UnparsedPathLength; the rest is as in _SYMLINK."""
_ERROR_TAG: Final = 0x4C4D5953
_MAXIMUM: Final = 16384
"""MAXIMUM_REPARSE_DATA_BUFFER_SIZE (MS-FSCC 2.1.2.2)."""


def encode_symlink(target: str, relative: bool) -> bytes:
    """Symbolic Link Reparse Data Buffer (MS-FSCC 2.1.2.4) without the header; `target` with backslashes."""
    name = encode_utf16(target)
    flags = SYMLINK_FLAG_RELATIVE if relative else 0
    return _SYMLINK.pack(0, len(name), len(name), len(name), flags) + name + name


def decode_symlink(data: bytes) -> tuple[str, bool]:
    """(target, whether relative); STATUS_IO_REPARSE_DATA_INVALID where the offsets lie."""
    reader = Reader(data, status=STATUS_IO_REPARSE_DATA_INVALID)
    offset, length, _, _, flags = reader.unpack(_SYMLINK)
    text = decode_utf16(reader.at(_SYMLINK.size + offset, length), STATUS_IO_REPARSE_DATA_INVALID)
    return text, bool(flags & SYMLINK_FLAG_RELATIVE)


def _stored(fd: int, path_only: bool) -> tuple[int, bytes] | None:
    try:
        value = get_attribute(fd, REPARSE_NAME.encode(), path_only, _MAXIMUM + 8)
    except OSError:
        return None
    if value is None or len(value) < _HEADER.size:
        return None
    tag, length, _ = Reader(value).unpack(_HEADER)
    return tag, value[_HEADER.size : _HEADER.size + length]


def describe(info: FileInfo, fd: int, path_only: bool) -> None:
    """Complete what is said of a file with FILE_ATTRIBUTE_REPARSE_POINT whose reparse point is kept in the attribute:
    its tag, and the type of file that it stands for."""
    found = _stored(fd, path_only)
    if found is not None:
        info.reparse_tag = found[0]
        kind = _kind(*found)
        if kind:
            info.mode = info.mode & 0o7777 | kind


def describe_at(info: FileInfo, directory: int, name: bytes) -> None:
    """The same for an entry of a directory."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return
    try:
        describe(info, fd, True)
    finally:
        os.close(fd)


def _kind(tag: int, data: bytes) -> int:
    """S_IFMT of the special file that a reparse point stands for, 0 for none."""
    if tag == IO_REPARSE_TAG_NFS:
        return _NFS_KINDS.get(data[:8], 0)
    return next((kind for kind, known in SPECIAL_TAGS.items() if known == tag), 0)


def stop_at(directory: int, name: bytes) -> NtStatusError:
    """As `stop`, for a link of the disk that its client follows itself: what is to be raised. Raises OSError."""
    return _stopped(_encoded(*_target(os.readlink(name, dir_fd=directory))))


def _encoded(target: str, relative: bool) -> bytes:
    """A link's data for a POSIX client, which wants the target as it is."""
    return encode_symlink(from_path(target), relative)


def _target(target: bytes) -> tuple[str, bool]:
    """(text with backslashes, whether relative) of a link on the disk."""
    text = "\\".join(to_client(part) if part else "" for part in target.split(b"/"))
    return text, not target.startswith(b"/")


def _stopped(data: bytes) -> NtStatusError:
    tag = IO_REPARSE_TAG_SYMLINK
    answer = _ERROR.pack(_ERROR.size - 4 + len(data), _ERROR_TAG, tag, len(data), 0) + data
    return NtStatusError(STATUS_STOPPED_ON_SYMLINK, "a link that the client has to follow", answer)


def stop(fd: int, path_only: bool, posix: bool) -> None:
    """An open that is not of the link itself: where a symbolic link is kept in the attribute, it is the client's to
    follow. STATUS_STOPPED_ON_SYMLINK with the Symbolic Link Error Response (MS-SMB2 2.2.2.2.1) tells it where to."""
    found = _stored(fd, path_only)
    if found is None or found[0] != IO_REPARSE_TAG_SYMLINK:
        return
    target = decode_symlink(found[1])  # a local process may have written it
    raise _stopped(_encoded(*target) if posix else found[1])


def get(file: LocalMetadata) -> tuple[int, bytes]:
    """FSCTL_GET_REPARSE_POINT (MS-FSCC 2.3.29)."""
    if file.kind == S_IFLNK:
        with os_errors:
            target = os.readlink(b"", dir_fd=file.fd)
        text = _target(target)
        return IO_REPARSE_TAG_SYMLINK, _encoded(*text) if file.posix else encode_symlink(*text)
    found = _stored(file.fd, file.path_only)
    if found is not None:
        if file.posix and found[0] == IO_REPARSE_TAG_SYMLINK:
            return found[0], _encoded(*decode_symlink(found[1]))
        return found
    tag = SPECIAL_TAGS.get(file.kind)
    if tag is not None:
        return tag, b""
    raise NtStatusError(STATUS_NOT_A_REPARSE_POINT)


def set_(file: LocalFile, tag: int, data: bytes) -> None:
    """FSCTL_SET_REPARSE_POINT (MS-FSA 2.1.5.10.37)."""
    if tag in (0, 1) or len(data) > _MAXIMUM - _HEADER.size:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_INVALID if tag in (0, 1) else STATUS_IO_REPARSE_DATA_INVALID)
    if file.kind == S_IFLNK:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH if tag != IO_REPARSE_TAG_SYMLINK else STATUS_ACCESS_DENIED)
    existing = _stored(file.fd, file.path_only)
    if existing is not None and existing[0] != tag:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH)
    if file.is_directory:
        with os_errors:
            if not file.is_empty():
                raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY)
    if tag == IO_REPARSE_TAG_SYMLINK:
        text, relative = decode_symlink(data)
        if file.posix:
            text = posix_path(text)
            if not relative and text[:1] != "\\":
                text = "\\" + text  # cifs.ko leaves it out
            data = encode_symlink(text, relative)
        target = _inside(file, text, relative)
        options = file.local_volume.options
        # With `wide links` what a client makes could be moved to where it leads out of the share.
        if target is not None and file.names and options.follow_symlinks and not options.wide_links:
            if _replace(file, target):
                return
    try:
        os.setxattr(target_of(file.fd, file.path_only), REPARSE_NAME, _HEADER.pack(tag, len(data), 0) + data)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG):
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "no room for a reparse point") from error
        raise NtStatusError(STATUS_ACCESS_DENIED) from error
    try:
        file.mark(FILE_ATTRIBUTE_REPARSE_POINT, 0)
    except NtStatusError:
        _put_back(file, existing)
        raise


def delete(file: LocalFile, tag: int) -> None:
    """FSCTL_DELETE_REPARSE_POINT (MS-FSA 2.1.5.10.3)."""
    if file.kind == S_IFLNK:
        if tag != IO_REPARSE_TAG_SYMLINK:
            raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH)
        raise NtStatusError(STATUS_ACCESS_DENIED, "a link of the disk is deleted as a file")
    found = _stored(file.fd, file.path_only)
    if found is None:
        raise NtStatusError(STATUS_NOT_A_REPARSE_POINT)
    if found[0] != tag:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH)
    with os_errors:
        os.removexattr(target_of(file.fd, file.path_only), REPARSE_NAME)
    try:
        file.mark(0, FILE_ATTRIBUTE_REPARSE_POINT)
    except NtStatusError:
        _put_back(file, found)
        raise


def _put_back(file: LocalFile, before: tuple[int, bytes] | None) -> None:
    target = target_of(file.fd, file.path_only)
    with os_errors:
        if before is None:
            os.removexattr(target, REPARSE_NAME)
        else:
            os.setxattr(target, REPARSE_NAME, _HEADER.pack(before[0], len(before[1]), 0) + before[1])


def _inside(file: LocalFile, target: str, relative: bool) -> bytes | None:
    """The link's target on disk, None where it would lead out of the share or is no relative path."""
    if not relative or not target or target.startswith("\\"):
        return None
    depth = len(file.names) - 1
    parts = []
    for part in target.split("\\"):
        if part in ("", "."):
            continue
        if part == "..":
            depth -= 1
            if depth < 0:
                return None
            parts.append(b"..")
            continue
        try:
            check(part)
        except NtStatusError:
            return None
        depth += 1
        parts.append(to_disk(part))
    return b"/".join(parts) or None


def _remove(file: LocalFile, directory: int, name: bytes) -> None:
    """Remove what had the link's place, if it still is the file, and empty. Raises OSError, NtStatusError."""
    stat = stat_at(directory, name)
    if (stat.dev, stat.ino) != file.key:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "moved or removed")
    if file.is_directory:
        os.rmdir(name, dir_fd=directory)
    elif stat.mode & S_IFMT == S_IFREG and stat.size:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "the file has data")
    else:
        os.unlink(name, dir_fd=directory)


def _replace(file: LocalFile, target: bytes) -> bool:
    """Put a symbolic link in the place of an empty file or directory; this open then is the link. False where the file
    system cannot do that at once, and where the user may not delete what is in its place."""
    if file.kind == S_IFREG and file.stat().size:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "the file has data")
    resolver = file.local_volume.resolver
    directory, name = file.entry()
    try:
        with os_errors:
            by_itself = bool(file.granted_access & DELETE)
            if not file.local_volume.access.may_unlink(directory, file.stat(), by_itself):
                return False
            file.still(directory, name)
            temporary = b".ksmbd-link-" + secrets.token_hex(8).encode()
            os.symlink(target, temporary, dir_fd=directory)
            try:
                exchange(directory, temporary, name)
            except OSError as error:
                os.unlink(temporary, dir_fd=directory)
                if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    return False
                raise
            try:
                _remove(file, directory, temporary)
            except (OSError, NtStatusError):
                exchange(directory, temporary, name)
                os.unlink(temporary, dir_fd=directory)
                raise
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        resolver.release(directory)
    file.become_link(fd, stat_fd(fd))
    return True
