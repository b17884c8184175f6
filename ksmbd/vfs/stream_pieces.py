# SPDX-License-Identifier: GPL-2.0-or-later
"""Spreads the data of a named stream over extended attributes, in the layout of Samba 4.24's streams_xattr.

The first attribute, user.DosStream.NAME:$DATA, holds data and one byte behind it: 0 where that is all, else how many
further attributes there are. Those, user.DosStreamExt.1.NAME:$DATA and so on, hold data alone. What fits one attribute
is stored as older versions do it.

A change is ordered so that a crash between two attributes leaves the old data, the new data, or, where more than one
attribute changes, some attributes of either, as the blocks of a file. The length is then one between the old and the
new one, and never counts what is not there: attributes beyond those that the first one counts belong to nothing, so a
longer stream is written from its end and a shorter one from its start.
"""
from __future__ import annotations

import errno
import logging
import os
from typing import Final

from ksmbd.kernel.xattr import attribute_size, get_attribute, list_size
from ksmbd.smb.status import STATUS_DISK_FULL, STATUS_FILE_SYSTEM_LIMITATION, NtStatusError
from ksmbd.vfs.attributes import EXTENT_PREFIX, STREAM_PREFIX, xattr_target
from ksmbd.vfs.errors import to_status

logger = logging.getLogger("ksmbd.vfs")

MOST: Final = 16
"""Attributes of one stream at most, as Samba has it."""
LARGEST: Final = 65536
"""XATTR_SIZE_MAX, and the longest list of names (XATTR_LIST_MAX)."""
_SIZES: Final = (LARGEST, 15872, 3840)
"""Bytes of one attribute to try: what Linux allows, what btrfs does with nodes of 16 KiB and with ones of 4 KiB."""
_NO_ROOM: Final = (errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT)
_PREFIX: Final = STREAM_PREFIX.encode()
_EXTENT: Final = EXTENT_PREFIX.encode()
_NAME_MAX: Final = 255

Pieces = list[bytes]
"""The data of each attribute, without the byte behind the first one's."""


def maximum_size(most: int) -> int:
    """Bytes that a stream of `most` attributes can have."""
    return most * LARGEST - 1


def extent(first: bytes, number: int) -> bytes:
    """The name of a further attribute, from 1 on, of the stream whose first attribute is `first`."""
    return b"%s%d.%s" % (_EXTENT, number, first.removeprefix(_PREFIX))


def load(fd: int, path_only: bool, first: bytes, end: int = -1) -> Pieces | None:
    """The pieces of a stream, with `end` only those that hold its first `end` bytes; None where it does not exist.
    Raises OSError."""
    value = get_attribute(fd, first, path_only, LARGEST)
    if value is None:
        return None
    pieces = [value[:-1]]
    have = len(pieces[0])
    for number in range(1, min(value[-1] if value else 0, MOST - 1) + 1):
        if 0 <= end <= have:
            break
        piece = get_attribute(fd, extent(first, number), path_only, LARGEST)
        if not piece:
            break  # it was being written when the server, or another program, stopped
        pieces.append(piece)
        have += len(piece)
    return pieces


def size(fd: int, path_only: bool, first: bytes) -> int | None:
    """The size of a stream in bytes; None where it does not exist. Raises OSError."""
    value = get_attribute(fd, first, path_only, LARGEST)
    if value is None:
        return None
    total = max(len(value) - 1, 0)
    for number in range(1, min(value[-1] if value else 0, MOST - 1) + 1):
        more = attribute_size(fd, extent(first, number), path_only)
        if more <= 0:
            break
        total += more
    return total


def split(data: bytes | bytearray, largest: int) -> Pieces:
    """Divide data into pieces for attributes of at most `largest` bytes."""
    ends = range(largest - 1, len(data), largest)
    return [bytes(data[: largest - 1]), *(bytes(data[start : start + largest]) for start in ends)]


def store(fd: int, path_only: bool, first: bytes, old: Pieces | None, data: bytes | bytearray, most: int) -> None:
    """Replace the pieces `old` of a stream, None where there is none, by `data` in at most `most` attributes.

    Raises STATUS_FILE_SYSTEM_LIMITATION for what is too long for attributes, STATUS_DISK_FULL where the file system has
    no room for them, NtStatusError. Then the stream is what it was."""
    if len(data) > maximum_size(most) or (len(data) >= LARGEST and len(extent(first, MOST - 1)) > _NAME_MAX):
        raise NtStatusError(STATUS_FILE_SYSTEM_LIMITATION, "longer than extended attributes can be")
    target = xattr_target(fd, path_only)
    full: OSError | None = None
    for largest in _sizes(old):
        if full is not None and len(data) < largest:
            break  # the same attribute again
        new = split(data, largest)
        if len(new) > most or (len(new) > 1 and len(extent(first, len(new) - 1)) > _NAME_MAX):
            break
        names = [first, *(extent(first, number) for number in range(1, len(new)))]
        if list_size(fd, path_only) + sum(len(name) + 1 for name in names[len(old or ()) :]) > LARGEST:
            raise NtStatusError(STATUS_DISK_FULL, "more attributes than can be listed")
        try:
            _replace(target, names, first, old or [], new)
            return
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise to_status(error) from error
            full = error
    raise NtStatusError(STATUS_DISK_FULL, "longer than extended attributes can be here") from full


def clear(fd: int, path_only: bool, first: bytes) -> bool:
    """Make a stream empty; False where it does not exist. Who may write it need not be able to read it. Raises OSError;
    then the stream is as before."""
    target = xattr_target(fd, path_only)
    try:
        os.setxattr(target, first, b"\0", os.XATTR_REPLACE)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return False
        raise
    for number in range(1, MOST):
        try:
            os.removexattr(target, extent(first, number))
        except OSError as error:
            if error.errno != errno.ENODATA:
                logger.warning("an attribute that belongs to no stream any more stays: %s", error.strerror)
            break
    return True


def _sizes(old: Pieces | None) -> tuple[int, ...]:
    """The sizes to try: a stream keeps those of its attributes, so that no trial changes them."""
    if old is not None and len(old) > 1 and len(old[0]) + 1 in _SIZES:
        return _SIZES[_SIZES.index(len(old[0]) + 1) :]
    return _SIZES


def _replace(target: int | str, names: list[bytes], first: bytes, old: Pieces, new: Pieces) -> None:
    """Write what differs, in the order that the module's text gives. Raises OSError; then the stream is as before."""
    changed = [number for number in range(len(new)) if number >= len(old) or new[number] != old[number]]
    if len(new) != len(old) and 0 not in changed:
        changed.append(0)  # its count changes
    longer = len(new) >= len(old)
    done: list[int] = []
    try:
        for number in sorted(changed, reverse=longer):
            os.setxattr(target, names[number], _value(new, number))
            done.append(number)
    except OSError:
        for number in reversed(done):
            _put_back(target, names[number], old, number)
        raise
    for number in range(len(new), len(old)):
        try:
            os.removexattr(target, extent(first, number))
        except OSError as error:
            logger.warning("an attribute that belongs to no stream any more stays: %s", error.strerror)


def _value(pieces: Pieces, number: int) -> bytes:
    return pieces[number] if number else pieces[0] + bytes((len(pieces) - 1,))


def _put_back(target: int | str, name: bytes, old: Pieces, number: int) -> None:
    try:
        if number < len(old):
            os.setxattr(target, name, _value(old, number))
        else:
            os.removexattr(target, name)
    except OSError as error:
        logger.warning("an extended attribute could not be put back: %s", error.strerror)


def remove(fd: int, path_only: bool, first: bytes) -> None:
    """Remove a stream. One that was removed already is no error. Raises OSError."""
    target = xattr_target(fd, path_only)
    for number in range(MOST):
        try:
            os.removexattr(target, extent(first, number) if number else first)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            if number:
                return
