# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of srvsvc on names (MS-SRVS 3.1.4.32 to 3.1.4.34): is one valid, how is it written in canonical form,
and are two the same?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Win32
from mountd.rpc.srvsvc_paths import read_outbuf_len, write_outbuf

_FORBIDDEN: Final = frozenset('"/\\[]:|<>+=;,*?' + "".join(map(chr, range(32))))
OLD_NAMES: Final = 0x80000000
"""Flags: names as LAN Manager 2.0 allows them, which are shorter."""


class _Kind(NamedTuple):
    """The longest name of a type in characters, and that with OLD_NAMES."""

    longest: int
    old: int


KINDS: Final[Mapping[int, _Kind]] = {
    1: _Kind(256, 20),  # user
    2: _Kind(256, 14),  # password
    3: _Kind(256, 20),  # group
    4: _Kind(15, 15),  # computer
    5: _Kind(16, 16),  # event
    6: _Kind(15, 15),  # domain
    7: _Kind(80, 15),  # service
    8: _Kind(259, 259),  # net
    9: _Kind(80, 12),  # share
    10: _Kind(259, 259),  # message
    11: _Kind(259, 259),  # message destination
    12: _Kind(8, 8),  # password of a share
    13: _Kind(15, 15),  # workgroup
}
"""NAMETYPE_USER to NAMETYPE_WORKGROUP (MS-SRVS 2.2.2.9)."""
_PASSWORDS: Final = (2, 12)
_NETBIOS: Final = (4, 6, 8, 10, 11, 13)
"""Types whose names are written in upper case: computers, domains, workgroups, and receivers of messages."""
WHOLE_BUFFER: Final = 0x1
"""Flags: the buffer must have room for the longest name of the type."""


def _problem(name: str, kind: int, flags: int) -> Win32:
    known = KINDS.get(kind)
    if known is None or flags & ~OLD_NAMES:
        return Win32.INVALID_PARAMETER
    longest = known.old if flags else known.longest
    if len(name) > longest or (not name and kind not in _PASSWORDS):
        return Win32.INVALID_NAME
    if kind not in _PASSWORDS and not _FORBIDDEN.isdisjoint(name):
        return Win32.INVALID_NAME
    return Win32.SUCCESS


def net_name_validate(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprNameValidate, opnum 33 (MS-SRVS 3.1.4.32)."""
    reader.unique_string()
    name, kind, flags = reader.string(), reader.u32(), reader.u32()
    writer.u32(_problem(name, kind, flags))


def net_name_canonicalize(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprNameCanonicalize, opnum 34 (MS-SRVS 3.1.4.33). OutbufLen counts characters."""
    reader.unique_string()
    name, size, kind, flags = reader.string(), read_outbuf_len(reader), reader.u32(), reader.u32()
    status, content = _problem(name, kind, flags & ~WHOLE_BUFFER), b""
    if status is Win32.SUCCESS:
        upper = kind not in _PASSWORDS and (kind in _NETBIOS or bool(flags & OLD_NAMES))
        canonical = (name.upper() if upper else name) + "\0"
        encoded = canonical.encode("utf-16-le", "surrogatepass")
        known = KINDS[kind]
        longest = known.old if flags & OLD_NAMES else known.longest
        if len(encoded) > 2 * size or (flags & WHOLE_BUFFER and size < longest + 1):
            status = Win32.NERR_BUF_TOO_SMALL
        else:
            content = encoded
    write_outbuf(writer, size, 2 * size, content)
    writer.u32(status)


def net_name_compare(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprNameCompare, opnum 35 (MS-SRVS 3.1.4.34): 0 for names that are the same, else 1 or an error. Case counts in
    passwords alone."""
    reader.unique_string()
    one, other, kind, flags = reader.string(), reader.string(), reader.u32(), reader.u32() & ~1
    problem = _problem(one, kind, flags) or _problem(other, kind, flags)
    if problem:
        writer.u32(problem)
    elif kind in _PASSWORDS:
        writer.u32(one != other)
    else:
        writer.u32(one.casefold() != other.casefold())
