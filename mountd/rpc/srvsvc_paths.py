# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of srvsvc on paths (MS-SRVS 3.1.4.29 to 3.1.4.31): of what type is one, how is it written in canonical
form, and are two the same? They look at the text alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from ksmbd.smb.status import WireError
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Win32

PATH_MAX: Final = 259
OLD_PATH_MAX: Final = 127
_COMPONENT_MAX: Final = 255
OUTBUF_MAX: Final = 64000
"""MS-SRVS 3.1.4.30, 3.1.4.33: the range of OutbufLen."""
OLD_STYLE: Final = 0x1
"""Flags of NetprPathType: names as MS-DOS has them."""
CANONICAL: Final = 0x1
"""Flags of NetprPathCompare: both paths are canonical already."""
_FORBIDDEN: Final = frozenset('"<>|:' + "".join(map(chr, range(32))))
_OLD: Final = re.compile(r"[^.]{1,8}(\.[^.]{0,3})?")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class PathType(IntEnum):
    """MS-SRVS 2.2.2.9."""

    UNC_COMPNAME = 0x1030
    UNC_WC = 0x1031
    UNC = 0x1000
    PATH_RELND = 0x2000
    PATH_ABSND = 0x2002
    PATH_RELD = 0x2004
    PATH_ABSD = 0x2006
    DEVICE_DISK = 0x4000
    DEVICE_LPT = 0x4010
    DEVICE_COM = 0x4020
    DEVICE_CON = 0x4040
    DEVICE_NUL = 0x4050


WILDCARDS: Final = 0x1
"""Set in the type of a path whose last component has ? or *."""
_SYSTEM: Final[Mapping[str, int]] = {
    "MAILSLOT": 0x0800, "SEM": 0x0900, "SHAREMEM": 0x0A00, "PIPE": 0x0B00, "COMM": 0x0C00, "PRINT": 0x0D00,
    "QUEUES": 0x0E00,
}  # fmt: skip
"""What a first component adds to the type: ITYPE_PATH_SYS_*, and ITYPE_UNC_SYS_* but for COMM and PRINT."""
_LOCAL_ONLY: Final = ("COMM", "PRINT")
_ITSELF: Final = 0x8000
"""Of a system name without a path behind it (ITYPE_PATH_SYS_*_M)."""
_DEVICES: Final = (
    (re.compile(r"(LPT[1-9]|PRN):?", re.IGNORECASE), PathType.DEVICE_LPT),
    (re.compile(r"(COM[1-9]|AUX):?", re.IGNORECASE), PathType.DEVICE_COM),
    (re.compile(r"CON:?", re.IGNORECASE), PathType.DEVICE_CON),
    (re.compile(r"NUL:?", re.IGNORECASE), PathType.DEVICE_NUL),
    (_DRIVE, PathType.DEVICE_DISK),
)


class Path(NamedTuple):
    """A valid path: its type, and its canonical form."""

    type: int
    text: str


class InvalidPathError(ValueError):
    """The text is no path: ERROR_INVALID_NAME."""


def parse(text: str, old_style: bool = False) -> Path:
    """Read a path. Slashes are separators, too. Raises InvalidPathError."""
    text = text.replace("/", "\\")
    if not text or len(text) > (OLD_PATH_MAX if old_style else PATH_MAX):
        raise InvalidPathError
    if (device := _device(text)) is not None:
        return device
    if text.startswith("\\\\"):
        return _unc(text[2:].split("\\"), old_style)
    drive = text[:2].upper() if _DRIVE.match(text) else ""
    rest = text[len(drive) :]
    absolute = rest.startswith("\\")
    parts = rest.removeprefix("\\").split("\\")
    if parts[-1] == "":
        parts.pop()
    wild = _check(parts, old_style)
    if absolute and not drive and parts and parts[0].upper() in _SYSTEM:
        system = PathType.PATH_ABSND | _SYSTEM[parts[0].upper()]
        return Path(system if len(parts) > 1 else system | _ITSELF, "\\" + "\\".join(_resolved(parts)))
    kinds = {
        (False, False): PathType.PATH_RELND, (True, False): PathType.PATH_ABSND,
        (False, True): PathType.PATH_RELD, (True, True): PathType.PATH_ABSD,
    }  # fmt: skip
    canonical = drive + ("\\" if absolute else "") + "\\".join(_resolved(parts))
    return _device(canonical) or Path(kinds[absolute, bool(drive)] | wild, canonical)


def _device(text: str) -> Path | None:
    """The device that a path names, such as A: or LPT1."""
    for pattern, kind in _DEVICES:
        if pattern.fullmatch(text):
            return Path(kind, text.upper() if kind is PathType.DEVICE_DISK else text.upper().rstrip(":"))
    return None


def _unc(parts: list[str], old_style: bool) -> Path:
    server, *rest = parts
    if not rest:
        if server == "*":
            return Path(PathType.UNC_WC, "\\\\*")
        if _check([server], False):
            raise InvalidPathError
        return Path(PathType.UNC_COMPNAME, "\\\\" + server)
    if _check([server], False) or server in (".", ".."):
        raise InvalidPathError
    wild = _check(rest, old_style)
    if wild and len(rest) == 1:
        raise InvalidPathError  # a wildcard for shares
    kind: int = PathType.UNC | wild
    name = rest[0].upper()
    if name in _SYSTEM and name not in _LOCAL_ONLY and len(rest) > 1:
        kind = PathType.UNC | _SYSTEM[name]
    return Path(kind, "\\\\" + "\\".join([server, rest[0], *_resolved(rest[1:])]))


def _check(parts: list[str], old_style: bool) -> int:
    """Whether the last component has a wildcard (WILDCARDS). Raises InvalidPathError."""
    for part in parts:
        if not part or len(part) > _COMPONENT_MAX or not _FORBIDDEN.isdisjoint(part):
            raise InvalidPathError
        if old_style and part not in (".", "..") and not _OLD.fullmatch(part):
            raise InvalidPathError
    wild = [any(c in "?*" for c in part) for part in parts]
    if any(wild[:-1]):
        raise InvalidPathError
    return WILDCARDS if wild and wild[-1] else 0


def _resolved(parts: list[str]) -> list[str]:
    """Without `.` and `..`. Raises InvalidPathError for one that leads out of the path."""
    found: list[str] = []
    for part in parts:
        if part == "..":
            if not found:
                raise InvalidPathError
            found.pop()
        elif part != ".":
            found.append(part)
    return found


def _with_prefix(prefix: str, text: str) -> Path:
    """A relative path behind a prefix, any other as it is. Raises InvalidPathError."""
    path = parse(text)
    if not prefix or path.type & ~WILDCARDS != PathType.PATH_RELND:
        return path
    return parse(prefix.rstrip("\\/") + "\\" + text)


# -------------------------------------------------------------------------------------------------------- operations


def read_outbuf_len(reader: NdrReader) -> int:
    """OutbufLen. Raises WireError beyond its range."""
    size = reader.u32()
    if size > OUTBUF_MAX:
        raise WireError(f"OutbufLen {size}")
    return size


def write_outbuf(writer: NdrWriter, count: int, size: int, content: bytes) -> None:
    """Outbuf: a conformant array of `count` elements, `size` bytes, zeros behind the content."""
    writer.u32(count)
    writer.raw(content.ljust(size, b"\0"))


def net_path_type(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprPathType, opnum 30 (MS-SRVS 3.1.4.29)."""
    reader.unique_string()
    text, flags = reader.string(), reader.u32()
    kind, status = 0, Win32.SUCCESS
    try:
        if flags & ~OLD_STYLE:
            status = Win32.INVALID_PARAMETER
        else:
            kind = parse(text, bool(flags)).type
    except InvalidPathError:
        status = Win32.INVALID_NAME
    writer.u32(kind)
    writer.u32(status)


def net_path_canonicalize(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprPathCanonicalize, opnum 31 (MS-SRVS 3.1.4.30). OutbufLen counts bytes."""
    reader.unique_string()
    text, size, prefix = reader.string(), read_outbuf_len(reader), reader.string()
    kind, flags = reader.u32(), reader.u32()
    status, content = Win32.SUCCESS, b""
    try:
        path = _with_prefix(prefix, text)
        encoded = (path.text + "\0").encode("utf-16-le", "surrogatepass")
        if flags or kind not in (0, path.type):
            status = Win32.INVALID_PARAMETER
        elif len(encoded) > size:
            status = Win32.NERR_BUF_TOO_SMALL
        else:
            kind, content = path.type, encoded
    except InvalidPathError:
        status = Win32.INVALID_NAME
    write_outbuf(writer, size, size, content)
    writer.u32(kind)
    writer.u32(status)


def net_path_compare(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetprPathCompare, opnum 32 (MS-SRVS 3.1.4.31): 0, -1 or 1, or an error. Case does not count."""
    reader.unique_string()
    one, other, kind, flags = reader.string(), reader.string(), reader.u32(), reader.u32()
    if flags & ~CANONICAL:
        writer.u32(Win32.INVALID_PARAMETER)
        return
    if not flags:
        try:
            first, second = parse(one), parse(other)
        except InvalidPathError:
            writer.u32(Win32.INVALID_NAME)
            return
        if kind not in (0, first.type):
            writer.u32(Win32.INVALID_PARAMETER)
            return
        one, other = first.text, second.text
    one, other = one.casefold(), other.casefold()
    writer.u32((one > other) - (one < other))
