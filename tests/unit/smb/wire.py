# SPDX-License-Identifier: GPL-2.0-or-later
"""Request bodies laid out by hand from MS-SMB2 section 2.2, for the tests of command modules."""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from ksmbd.smb.model import Open
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import NtStatusError, status_name

NO_ID = 0xFFFFFFFFFFFFFFFF


def ids(open_: Open | None) -> tuple[int, int]:
    """The FileId of an open; all ones for None."""
    return (open_.persistent_id, open_.volatile_id) if open_ is not None else (NO_ID, NO_ID)


def query_info(
    open_: Open | None, info_type: int, info_class: int, limit: int = 65536, data: bytes = b"", additional: int = 0,
    flags: int = 0,
) -> bytes:  # fmt: skip
    """2.2.37, the input behind the fixed part."""
    return struct.pack(
        "<HBBIHHIIIQQ", 41, info_type, info_class, limit, 104 if data else 0, 0, len(data), additional, flags,
        *ids(open_),
    ) + data  # fmt: skip


def set_info(open_: Open | None, info_type: int, info_class: int, data: bytes, additional: int = 0) -> bytes:
    """2.2.39."""
    return struct.pack("<HBBIHHIQQ", 33, info_type, info_class, len(data), 96, 0, additional, *ids(open_)) + data


def query_directory(
    open_: Open | None, info_class: int = 37, pattern: str = "*", flags: int = 0, limit: int = 65536
) -> bytes:
    """2.2.33."""
    name = pattern.encode("utf-16-le", "surrogatepass")
    return struct.pack("<HBBIQQHHI", 33, info_class, flags, 0, *ids(open_), 96, len(name), limit) + name


def ioctl(open_: Open | None, code: int, data: bytes = b"", limit: int = 65536, flags: int = 1) -> bytes:
    """2.2.31."""
    return struct.pack(
        "<HHIQQIIIIIIII", 57, 0, code, *ids(open_), 120 if data else 0, len(data), 0, 0, 0, limit, flags, 0
    ) + data  # fmt: skip


def raises(status: int, call: Callable[..., Any], *arguments: Any) -> NtStatusError:
    """`call(*arguments)` fails with this NTSTATUS."""
    with pytest.raises(NtStatusError) as caught:
        call(*arguments)
    assert caught.value.status == status, f"{caught.value} where {status_name(status)} belongs"
    return caught.value


def output(reply: Reply, head: int = 8) -> bytes:
    """The output buffer of a reply whose fixed part has `head` bytes: by its own offset and length."""
    from bench import body_of

    body = body_of(reply)
    if head == 8:
        size, offset, length = struct.unpack_from("<HHI", body)
        assert size == 9
    else:
        (size,) = struct.unpack_from("<H", body)
        assert size == 49
        offset, length = struct.unpack_from("<II", body, 32)
    assert offset == 64 + head
    assert len(body) == head + max(length, 1)
    return body[head : head + length]


def raw(request: Request) -> bytes:
    """The whole message."""
    return bytes(request.message)
