# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses the names that clients send: MS-FSCC 2.1.5 (path names and streams), MS-SMB2 3.3.5.9, MS-FSA 2.1.5.1."""
from __future__ import annotations

import re
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.smb.ports import QUOTA_STREAM
from ksmbd.smb.posix_names import posix_path
from ksmbd.smb.status import (
    STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_PATH_SYNTAX_BAD,
    NtStatusError,
)

MAX_COMPONENT: Final = limits.COMPONENT.value
"""Longest component or stream name, in UTF-16 code units (MS-FSCC 2.1.5.2, 2.1.5.3)."""
MAX_PATH: Final = limits.PATH.value
"""Longest path name, in UTF-16 code units (MS-FSCC 2.1.5)."""

DATA_TYPE: Final = "$DATA"
INDEX_TYPE: Final = "$INDEX_ALLOCATION"
_INDEX_STREAM: Final = "$I30"
"""The only stream of type $INDEX_ALLOCATION: a directory's entries (MS-FSCC 2.1.5.3)."""

_QUOTA_FILE: Final = rf"$EXTEND\$QUOTA:{QUOTA_STREAM}"
"""A volume's quotas (MS-FSA 2.1.1.1, Volume.QuotaFile), which no folder lists."""

_CONTROL: Final = frozenset(map(chr, range(0x20)))
_ILLEGAL: Final = frozenset('"*/:<>?|') | _CONTROL


_new: Final = tuple.__new__
# Most names consist of such components, to which none of the rules below applies.
_PLAIN_COMPONENT: Final = r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,254}"
_PLAIN: Final = re.compile(rf"{_PLAIN_COMPONENT}(?:\\{_PLAIN_COMPONENT})*")


class Name(NamedTuple):
    """A parsed path name."""

    path: str
    """The path below the share: components joined by `\\`; '' is the share's root."""
    stream: str = ""
    """The stream name; '' is the default data stream."""
    must_be_directory: bool = False
    """The name has a trailing separator or the type $INDEX_ALLOCATION."""
    must_be_file: bool = False
    """The name ends in `::$DATA`, the data of a file, which a directory has not."""


def _units(text: str) -> int:
    return len(text) + sum(1 for character in text if character > "\uffff")


def parse_name(name: str, posix: bool = False) -> Name:
    """Check and split the name of a CREATE (MS-SMB2 2.2.13) or the new name of a rename. `..` removes the component
    before it, without a look at the disk. Repeated separators count as one.

    Raises STATUS_INVALID_PARAMETER for a leading separator (MS-SMB2 3.3.5.9), STATUS_OBJECT_PATH_SYNTAX_BAD for a `..`
    that leads above the share, STATUS_OBJECT_NAME_INVALID for any other error. `posix`: only `/` separates, there are
    no streams, and the characters that Windows reserves are allowed (see posix_names)."""
    if not name:
        return Name("")
    if posix:
        name = posix_path(name)
    elif "/" in name:
        name = name.replace("/", "\\")  # as Samba and KSMBD do; no file here can have a slash in its name
    if name[0] == "\\":
        raise NtStatusError(STATUS_INVALID_PARAMETER, "leading separator")
    if _PLAIN.fullmatch(name) and len(name) <= MAX_PATH:
        return _new(Name, (name, "", False, False))
    if name.upper() == _QUOTA_FILE:
        return Name(name.partition(":")[0], QUOTA_STREAM)
    if _units(name) > MAX_PATH:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "path too long")
    components = name.split("\\")
    trailing = components[-1] == ""
    if "" in components:
        components = [component for component in components if component]  # repeated separators are one
    stream, is_index, is_data = "", False, False
    if ":" in components[-1]:
        components[-1], stream, is_index, is_data = _split_stream(components[-1])
    at_root = len(components) == 1 and components[0] == ""
    if not (at_root and (stream or is_index or is_data)):
        for component in components:
            _check_component(component)
    if trailing and (stream or is_data):
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "a stream with a trailing separator")
    if ".." in components:
        components = _climb(components)
    return Name("\\".join(components), stream, trailing or is_index, is_data)


def _climb(components: list[str]) -> list[str]:
    path: list[str] = []
    for component in components:
        if component != "..":
            path.append(component)
        elif path:
            path.pop()
        else:
            raise NtStatusError(STATUS_OBJECT_PATH_SYNTAX_BAD, "above the share")
    return path


def _check_component(component: str) -> None:
    if component in ("", ".") or len(component) > MAX_COMPONENT or _units(component) > MAX_COMPONENT:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, component[:32])
    if not _ILLEGAL.isdisjoint(component):
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, component)


def _split_stream(component: str) -> tuple[str, str, bool, bool]:
    """`file:stream:type` -> (file, stream, is a directory's index, is the default data stream by name)."""
    file, _, rest = component.partition(":")
    stream, separator, kind = rest.partition(":")
    kind = kind.upper()
    if separator and kind not in (DATA_TYPE, INDEX_TYPE):
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "stream type")
    if kind == INDEX_TYPE:
        if stream and stream.upper() != _INDEX_STREAM:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "a named index")
        return file, "", True, False
    check_stream(stream, bool(separator))
    return file, stream, False, not stream


def check_stream(stream: str, may_be_empty: bool) -> None:
    """Check a stream name (MS-FSCC 2.1.5.3): at most 255 UTF-16 code units, without separators, `:` and NUL. Raises
    STATUS_OBJECT_NAME_INVALID."""
    if not stream and not may_be_empty:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no stream name")
    if _units(stream) > MAX_COMPONENT or not frozenset("\\/:\0").isdisjoint(stream):
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "stream name")


def pipe_name(name: str) -> str:
    """The name of a pipe on IPC$: `srvsvc`, `\\srvsvc`, `\\pipe\\srvsvc` and `PIPE\\srvsvc` all give `srvsvc`."""
    folded = name.lower().lstrip("\\")
    return folded.removeprefix("pipe\\")
