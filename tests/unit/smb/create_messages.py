# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests laid out by hand from the specification, for the tests of CREATE and of what works on opens."""
from __future__ import annotations

from struct import pack

from ksmbd.smb import constants as c

NAME_OFFSET = 64 + 56


def context(name: bytes, data: bytes = b"", next_offset: int = 0) -> bytes:
    """One SMB2_CREATE_CONTEXT (MS-SMB2 2.2.13.2)."""
    data_offset = (16 + len(name) + 7) & ~7
    head = pack("<IHHHHI", next_offset, 16, len(name), 0, data_offset if data else 0, len(data)) + name
    return head + bytes(data_offset - len(head)) + data if data else head


def chain(*contexts: tuple[bytes, bytes]) -> bytes:
    """(name, data) pairs, padded and linked."""
    out = b""
    for index, (name, data) in enumerate(contexts):
        one = context(name, data)
        if index < len(contexts) - 1:
            one += bytes(-len(one) % 8)
            one = context(name, data, len(one)) + bytes(len(one) - len(context(name, data)))
        out += one
    return out


def create(
    name: str | bytes = "",
    access: int = c.FILE_ALL_ACCESS,
    disposition: int = c.FILE_OPEN,
    options: int = 0,
    contexts: bytes = b"",
    oplock: int = 0,
    share: int = 7,
    attributes: int = 0,
    impersonation: int = 2,
) -> bytes:
    """The body of a CREATE (MS-SMB2 2.2.13)."""
    raw = name.encode("utf-16-le", "surrogatepass") if isinstance(name, str) else name
    buffer = raw
    contexts_offset = 0
    if contexts:
        buffer += bytes(-len(buffer) % 8)
        contexts_offset = NAME_OFFSET + len(buffer)
        buffer += contexts
    return pack(
        "<HBBIQQIIIIIHHII", 57, 0, oplock, impersonation, 0, 0, access, attributes, share, disposition, options,
        NAME_OFFSET, len(raw), contexts_offset, len(contexts),
    ) + buffer  # fmt: skip


def close(persistent: int, volatile: int, flags: int = 0) -> bytes:
    """MS-SMB2 2.2.15."""
    return pack("<HHIQQ", 24, flags, 0, persistent, volatile)


def read(
    persistent: int, volatile: int, offset: int, length: int, minimum: int = 0, channel: int = 0
) -> bytes:
    """MS-SMB2 2.2.19."""
    return pack("<HBBIQQQIIIHHB", 49, 0x50, 0, length, offset, persistent, volatile, minimum, channel, 0, 0, 0, 0)


def write(
    persistent: int, volatile: int, offset: int, data: bytes, flags: int = 0, data_offset: int = 112, channel: int = 0,
    length: int | None = None,
) -> bytes:  # fmt: skip
    """MS-SMB2 2.2.21."""
    size = len(data) if length is None else length
    head = pack("<HHIQQQIIHHI", 49, data_offset, size, offset, persistent, volatile, channel, 0, 0, 0, flags)
    return head + bytes(max(0, data_offset - 112)) + data


def lock(persistent: int, volatile: int, *elements: tuple[int, int, int], sequence: int = 0) -> bytes:
    """MS-SMB2 2.2.26; elements are (offset, length, flags)."""
    body = pack("<HHIQQ", 48, len(elements), sequence, persistent, volatile)
    return body + b"".join(pack("<QQII", offset, length, flags, 0) for offset, length, flags in elements)


def notify(persistent: int, volatile: int, length: int = 4096, completion: int = 1, flags: int = 0) -> bytes:
    """MS-SMB2 2.2.35."""
    return pack("<HHIQQII", 32, flags, length, persistent, volatile, completion, 0)
