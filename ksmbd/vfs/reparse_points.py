# SPDX-License-Identifier: GPL-2.0-or-later
"""Gets, sets and deletes the reparse point of an open file (FSCTL_GET_, SET_ and DELETE_REPARSE_POINT, MS-FSCC 2.3)."""
from __future__ import annotations

import errno
import os
import secrets

from ksmbd.kernel.files import exchange
from ksmbd.kernel.stat import S_IFLNK, S_IFMT, S_IFREG, stat_at, stat_fd
from ksmbd.smb.constants import DELETE, FILE_ATTRIBUTE_REPARSE_POINT
from ksmbd.smb.posix_names import posix_path
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DIRECTORY_NOT_EMPTY,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_IO_REPARSE_DATA_INVALID,
    STATUS_IO_REPARSE_TAG_INVALID,
    STATUS_IO_REPARSE_TAG_MISMATCH,
    STATUS_NOT_A_REPARSE_POINT,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs.attributes import IO_REPARSE_TAG_SYMLINK, REPARSE_NAME, SPECIAL_TAGS, xattr_target
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.metadata import LocalMetadata
from ksmbd.vfs.names import check, to_disk
from ksmbd.vfs.reparse import HEADER, MAXIMUM, decode_symlink, encode_symlink, encoded, link_target, stored


def get(file: LocalMetadata) -> tuple[int, bytes]:
    """(tag, data) of the reparse point (FSCTL_GET_REPARSE_POINT, MS-FSCC 2.3.29). Raises
    STATUS_NOT_A_REPARSE_POINT."""
    if file.kind == S_IFLNK:
        with os_errors:
            target = os.readlink(b"", dir_fd=file.fd)
        text = link_target(target)
        return IO_REPARSE_TAG_SYMLINK, encoded(*text) if file.posix else encode_symlink(*text)
    found = stored(file.fd, file.path_only)
    if found is not None:
        if file.posix and found[0] == IO_REPARSE_TAG_SYMLINK:
            return found[0], encoded(*decode_symlink(found[1]))
        return found
    tag = SPECIAL_TAGS.get(file.kind)
    if tag is not None:
        return tag, b""
    raise NtStatusError(STATUS_NOT_A_REPARSE_POINT)


def set_(file: LocalMetadata, tag: int, data: bytes) -> None:
    """Set the reparse point (FSCTL_SET_REPARSE_POINT, MS-FSA 2.1.5.10.37). Raises NtStatusError."""
    if tag in (0, 1) or len(data) > MAXIMUM - HEADER.size:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_INVALID if tag in (0, 1) else STATUS_IO_REPARSE_DATA_INVALID)
    if file.kind == S_IFLNK:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH if tag != IO_REPARSE_TAG_SYMLINK else STATUS_ACCESS_DENIED)
    existing = stored(file.fd, file.path_only)
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
                text = "\\" + text  # cifs.ko omits the leading separator
            data = encode_symlink(text, relative)
        target = _inside(file, text, relative)
        options = file.place.options
        # With `wide links` a client could move such a link to where it leads out of the share.
        if target is not None and file.names and options.follow_symlinks and not options.wide_links:
            if _replace(file, target):
                return
    try:
        os.setxattr(xattr_target(file.fd, file.path_only), REPARSE_NAME, HEADER.pack(tag, len(data), 0) + data)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG):
            raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST, "no room for a reparse point") from error
        raise NtStatusError(STATUS_ACCESS_DENIED) from error
    try:
        file.mark(FILE_ATTRIBUTE_REPARSE_POINT, 0)
    except NtStatusError:
        _put_back(file, existing)
        raise


def delete(file: LocalMetadata, tag: int) -> None:
    """Delete the reparse point (FSCTL_DELETE_REPARSE_POINT, MS-FSA 2.1.5.10.3). Raises NtStatusError."""
    if file.kind == S_IFLNK:
        if tag != IO_REPARSE_TAG_SYMLINK:
            raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH)
        raise NtStatusError(STATUS_ACCESS_DENIED, "a link of the disk is deleted as a file")
    found = stored(file.fd, file.path_only)
    if found is None:
        raise NtStatusError(STATUS_NOT_A_REPARSE_POINT)
    if found[0] != tag:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_MISMATCH)
    with os_errors:
        os.removexattr(xattr_target(file.fd, file.path_only), REPARSE_NAME)
    try:
        file.mark(0, FILE_ATTRIBUTE_REPARSE_POINT)
    except NtStatusError:
        _put_back(file, found)
        raise


def _put_back(file: LocalMetadata, before: tuple[int, bytes] | None) -> None:
    target = xattr_target(file.fd, file.path_only)
    with os_errors:
        if before is None:
            os.removexattr(target, REPARSE_NAME)
        else:
            os.setxattr(target, REPARSE_NAME, HEADER.pack(before[0], len(before[1]), 0) + before[1])


def _inside(file: LocalMetadata, target: str, relative: bool) -> bytes | None:
    """The target of a link in the form for the disk; None where it is absolute or leads out of the share."""
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


def _remove(file: LocalMetadata, directory: int, name: bytes) -> None:
    """Remove the file or directory that the link has replaced, if it still is this file and has no data. Raises
    OSError, NtStatusError."""
    stat = stat_at(directory, name)
    if (stat.dev, stat.ino) != file.key:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "moved or removed")
    if file.is_directory:
        os.rmdir(name, dir_fd=directory)
    elif stat.mode & S_IFMT == S_IFREG and stat.size:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "the file has data")
    else:
        os.unlink(name, dir_fd=directory)


def _replace(file: LocalMetadata, target: bytes) -> bool:
    """Replace an empty file or directory by a symbolic link; the open then stands for the link. False where the file
    system cannot exchange names atomically, and where the user may not delete the file. Raises NtStatusError."""
    if file.kind == S_IFREG and file.stat().size:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "the file has data")
    resolver = file.place.resolver
    directory, name = file.entry()
    try:
        with os_errors:
            by_itself = bool(file.granted_access & DELETE)
            if not file.place.access.may_unlink(directory, file.stat(), by_itself):
                return False
            file.verify_entry(directory, name)
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
