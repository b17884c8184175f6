# SPDX-License-Identifier: GPL-2.0-or-later
"""What the clients of a Stage send and get, as far as a script looks at it."""
from __future__ import annotations

from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import NamedTuple

from playbook import unknown
from scripted_files import ScriptedFile

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb.ports import (
    LeaseGrant,
    OpenRef,
)

UNASKED = 0xFFFFFFFFFFFFFFFF


class FileId(NamedTuple):
    """MS-SMB2 2.2.14.1."""

    persistent: int
    volatile: int

    @classmethod
    def unknown(cls, name: str = "FileId") -> FileId:
        """One that the server is to choose."""
        return cls(unknown(int, f"{name}.Persistent"), unknown(int, f"{name}.Volatile"))

    def ref(self, file: ScriptedFile) -> OpenRef:
        """How the open table knows this open."""
        return OpenRef(file.key, file.stream, self.persistent)

    def again(self, name: str = "FileId") -> FileId:
        """The same open once it is reclaimed: the volatile half is new."""
        return FileId(self.persistent, unknown(int, f"{name}.Volatile again"))


@dataclass(slots=True)
class Created:
    """What matters of a CREATE Response (MS-SMB2 2.2.14)."""

    level: int
    action: int
    file_id: FileId
    lease: LeaseGrant | None = None
    durable: tuple[int, ...] | None = None
    """() of the first version, (timeout, flags) of the second; None where it is not durable."""
    others: tuple[bytes, ...] = ()
    """Names of further contexts."""


@dataclass(slots=True)
class OplockBreak:
    """A notification, or the Acknowledgment's answer, of an oplock (MS-SMB2 2.2.23.1, 2.2.25.1)."""

    level: int
    file_id: FileId


@dataclass(slots=True)
class LeaseBreak:
    """A notification of a lease (MS-SMB2 2.2.23.2)."""

    key: bytes
    current: int
    new: int
    epoch: int
    acknowledge: bool


@dataclass(slots=True)
class LeaseState:
    """The answer to a Lease Break Acknowledgment (MS-SMB2 2.2.25.2)."""

    key: bytes
    state: int


Context = tuple[bytes, tuple[bytes | FileId, ...]]
"""Of a CREATE: its name, and its data in parts, of which FileIds may be unknown yet."""
Answer = Created | OplockBreak | LeaseBreak | LeaseState


@dataclass(slots=True)
class Message:
    """What a client gets."""

    command: int
    status: int
    message_id: int = UNASKED
    body: Answer | None = None
    sealed: bool = False
    async_id: int = field(default_factory=lambda: unknown(int))


def data_of(part: bytes | FileId) -> bytes:
    return part if isinstance(part, bytes) else pack("<QQ", *part)


def decode(command: int, body: bytes) -> Answer | None:
    if command == c.CREATE:
        level, action = body[2], unpack_from("<I", body, 4)[0]
        created = Created(level, action, FileId(*unpack_from("<QQ", body, 64)))
        offset, length = unpack_from("<II", body, 80)
        if length:
            decode_contexts(created, body[offset - 64 : offset - 64 + length])
        return created
    if command == c.OPLOCK_BREAK:
        if body[0] == 24:
            return OplockBreak(body[2], FileId(*unpack_from("<QQ", body, 8)))
        if body[0] == 36:
            return LeaseState(*unpack_from("<16sI", body, 8))
        epoch, flags, key, current, new = unpack_from("<HI16sII", body, 2)
        return LeaseBreak(key, current, new, epoch, bool(flags & 1))
    return None


def decode_contexts(created: Created, chain: bytes) -> None:
    while True:
        following, name_offset, name_length, _, offset, length = unpack_from("<IHHHHI", chain)
        name, data = chain[name_offset : name_offset + name_length], chain[offset : offset + length]
        if name == ctx.RQLS:
            key, state, flags, _ = unpack_from("<16sIIQ", data)
            version = 1 if length == 32 else 2
            parent, epoch = unpack_from("<16sH", data, 32) if version == 2 else (b"", 0)
            created.lease = LeaseGrant(key, state, version, flags, parent if any(parent) else b"", epoch)
        elif name == ctx.DHNQ:
            created.durable = ()
        elif name == ctx.DH2Q:
            created.durable = unpack_from("<II", data)
        else:
            created.others += (name,)
        if not following:
            return
        chain = chain[following:]
