# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and finds named streams in extended attributes, in the layout of Samba's streams_xattr.

How the attributes hold the data, stream_pieces.py says.
"""
from __future__ import annotations

import os
from typing import Final

from ksmbd.kernel.xattr import attribute_size
from ksmbd.smb.ports import StreamInfo
from ksmbd.smb.status import STATUS_OBJECT_NAME_INVALID, NtStatusError
from ksmbd.vfs import stream_pieces
from ksmbd.vfs.attributes import EXTENT_PREFIX, STREAM_PREFIX, list_names, xattr_target
from ksmbd.vfs.errors import os_errors
from ksmbd.vfs.names import fold

SUFFIX: Final = ":$DATA"
MAXIMUM_SIZE: Final = stream_pieces.maximum_size(stream_pieces.MOST)
_FORBIDDEN: Final = frozenset("\0/:\\")


def check_name(name: str) -> None:
    """Raise STATUS_OBJECT_NAME_INVALID for a name that no stream can have (MS-FSCC 2.1.5.3)."""
    if not name or any(character in _FORBIDDEN for character in name) or len(name) > 255:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "stream name")
    if len(attribute(name)) > 255:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "stream name too long for an extended attribute")


def attribute(name: str) -> bytes:
    """The name of the extended attribute that holds a stream."""
    return (STREAM_PREFIX + name + SUFFIX).encode("utf-8", "surrogatepass")


def _stream_name(name: str) -> str | None:
    if not name.startswith(STREAM_PREFIX):
        return None
    found = os.fsencode(name[len(STREAM_PREFIX) :]).decode("utf-8", "replace")
    # With `streams_xattr:store_stream_type = no` Samba leaves the type out.
    found = found.removesuffix(SUFFIX)
    # An attribute whose name no client could send was made by a local process and is no stream.
    return found if found and _FORBIDDEN.isdisjoint(found) else None


def find(fd: int, path_only: bool, name: str) -> tuple[str, bytes] | None:
    """(name as stored, extended attribute) of a stream, found without regard to case; None where there is none. Raises
    NtStatusError."""
    exact = attribute(name)
    folded = fold(name)
    other = None
    for full in list_names(fd, path_only):
        stored = _stream_name(full)
        if stored is not None and fold(stored) == folded:
            disk = os.fsencode(full)
            if disk == exact:
                return stored, disk
            other = other or (stored, disk)
    return other


def listed(fd: int, path_only: bool) -> list[StreamInfo]:
    """The named streams, names without type. A stream that the user may not read is left out, as in Samba. Raises
    NtStatusError."""
    result = []
    names = list_names(fd, path_only)
    spread = {full for full in names if full.startswith(EXTENT_PREFIX)}
    for full in names:
        name = _stream_name(full)
        if name is not None:
            first = os.fsencode(full)
            try:
                if spread and os.fsdecode(stream_pieces.extent(first, 1)) in spread:
                    size = stream_pieces.size(fd, path_only, first)
                else:
                    size = attribute_size(fd, first, path_only)
                    size = None if size < 0 else max(size - 1, 0)
            except OSError:
                continue
            if size is not None:
                result.append(StreamInfo(name, size, allocation(size)))
    return result


def remove_all(fd: int, path_only: bool) -> None:
    """Remove every named stream, for overwrite and supersede. Raises NtStatusError."""
    target = xattr_target(fd, path_only)
    names = list_names(fd, path_only)
    for prefix in (STREAM_PREFIX, EXTENT_PREFIX):
        for full in names:
            if full.startswith(prefix):
                with os_errors:
                    os.removexattr(target, full)


def allocation(size: int) -> int:
    """The AllocationSize that is shown for a stream of `size` bytes."""
    return (size + 4095) & ~4095
