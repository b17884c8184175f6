# SPDX-License-Identifier: GPL-2.0-or-later
"""DFS (MS-DFSC): paths with server and share before them, the targets of a link, and referrals. Pure functions.

A link is, as with Samba, a symbolic link on a share with `msdfs root`, with a text like
`msdfs:server\\share,server2\\share`.
"""
from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.reader import Buffer, Reader, decode_utf16, encode_utf16
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, NtStatusError, WireError

PREFIX: Final = "msdfs:"
TIME_TO_LIVE: Final = 600
"""Seconds for which a client keeps a referral."""
IO_REPARSE_TAG_DFS: Final = 0x8000000A
_HEADER: Final = Struct("<HHI")
"""PathConsumed, NumberOfReferrals, ReferralHeaderFlags (MS-DFSC 2.2.4)."""
REFERRAL_SERVERS: Final = 0x1
STORAGE_SERVERS: Final = 0x2
_V2: Final = Struct("<HHHHIIHHH")
"""VersionNumber, Size, ServerType, ReferralEntryFlags, Proximity, TimeToLive, three offsets (2.2.5.2)."""
_V3: Final = Struct("<HHHHIHHH16s")
"""VersionNumber, Size, ServerType, ReferralEntryFlags, TimeToLive, three offsets, a GUID (2.2.5.3, 2.2.5.4)."""
_TARGET_SET_BOUNDARY: Final = 0x4
_HIGHEST: Final = 4
_EXTENDED: Final = Struct("<HHI")
"""MaxReferralLevel, RequestFlags, RequestDataLength (2.2.3)."""


class Link(NamedTuple):
    """A link on the way of a path: how many components of the path below the share lead to it, and its targets."""

    depth: int
    targets: tuple[str, ...]
    """`\\server\\share` or longer, at least one."""


class Referral(NamedTuple):
    """The answer to a request for referrals."""

    consumed: str
    """The part of the requested path that the targets stand for."""
    targets: tuple[str, ...]
    is_root: bool
    """The path is a DFS root, and not a link below one."""


def targets_of(text: str) -> tuple[str, ...]:
    """The targets that a list names, each with one backslash before it; those that are no path of a share are left
    out."""
    found: list[str] = []
    for each in text.split(","):
        parts = components(each)
        if len(parts) >= 2 and len(found) < limits.DFS_TARGETS.value:
            found.append("\\" + "\\".join(parts))
    return tuple(found)


def link_targets(text: str) -> tuple[str, ...]:
    """The targets of a symbolic link with this text; none: it is not DFS's."""
    return targets_of(text[len(PREFIX) :]) if text[: len(PREFIX)].lower() == PREFIX else ()


def components(path: str) -> list[str]:
    """The components of a path, whose separators may be slashes, too."""
    return [part for part in path.strip().replace("/", "\\").split("\\") if part]


def local_name(name: str, share: str) -> str:
    """The name below the share in a request with FLAGS_DFS_OPERATIONS, whose names begin with server and share (MS-SMB2
    3.3.5.9). One that does not begin so stays: clients set the flag on local names as well."""
    parts = name.lstrip("\\").split("\\", 2)
    if len(parts) < 2 or parts[1].casefold() != share.casefold():
        return name
    return parts[2] if len(parts) == 3 else ""


# ------------------------------------------------------------------------------------------------------ referrals


def read_request(data: Buffer, extended: bool) -> tuple[int, str]:
    """(MaxReferralLevel, RequestFileName) of REQ_GET_DFS_REFERRAL, or of REQ_GET_DFS_REFERRAL_EX (MS-DFSC 2.2.2,
    2.2.3). Raises STATUS_INVALID_PARAMETER."""
    reader = Reader(data)
    if extended:
        level, _, length = reader.unpack(_EXTENDED)
        if length > reader.remaining:
            raise WireError("RequestDataLength")
        size = reader.u16()
        name = reader.bytes(size)
    else:
        level = reader.u16()
        name = reader.bytes(reader.remaining & ~1)
    if level < 1:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "MaxReferralLevel")
    return level, decode_utf16(name).partition("\0")[0]


def consumed(path: str, count: int) -> str:
    """The beginning of a path up to its component number `count`, as the client has written it."""
    position, found = 0, 0
    while position < len(path) and found < count:
        while path[position : position + 1] == "\\":
            position += 1
        end = path.find("\\", position)
        position = len(path) if end < 0 else end
        found += 1
    return path[:position]


def encode(level: int, referral: Referral) -> bytes:
    """RESP_GET_DFS_REFERRAL (MS-DFSC 2.2.4) at most of the version that the client knows."""
    version = min(level, _HIGHEST)
    if version == 1:
        entries = b"".join(_version_1(target, referral.is_root) for target in referral.targets)
    else:
        entries = _entries(version, referral)
    flags = STORAGE_SERVERS | (REFERRAL_SERVERS if referral.is_root else 0)
    return _HEADER.pack(len(encode_utf16(referral.consumed)), len(referral.targets), flags) + entries


def _version_1(target: str, is_root: bool) -> bytes:
    """DFS_REFERRAL_V1 (2.2.5.1)."""
    name = encode_utf16(target) + b"\0\0"
    return b"".join(value.to_bytes(2, "little") for value in (1, 8 + len(name), int(is_root), 0)) + name


def _entries(version: int, referral: Referral) -> bytes:
    layout = _V2 if version == 2 else _V3
    fixed, path = layout.size, encode_utf16(referral.consumed) + b"\0\0"
    strings = path * 2
    heads = b""
    for index, target in enumerate(referral.targets):
        start = fixed * (len(referral.targets) - index)  # from this entry to the strings
        offsets = (start, start + len(path), start + len(strings))
        flags = _TARGET_SET_BOUNDARY if version == _HIGHEST and not index else 0
        kind = int(referral.is_root)
        if version == 2:
            heads += layout.pack(version, fixed, kind, flags, 0, TIME_TO_LIVE, *offsets)
        else:
            heads += layout.pack(version, fixed, kind, flags, TIME_TO_LIVE, *offsets, bytes(16))
        strings += encode_utf16(target) + b"\0\0"
    return heads + strings


def last_offset_fits(referral: Referral) -> bool:
    """Whether the 16-bit offsets of entries reach all strings."""
    size = sum(len(encode_utf16(text)) + 2 for text in (referral.consumed, referral.consumed, *referral.targets))
    return size + len(referral.targets) * _V3.size < 0x10000
