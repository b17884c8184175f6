# SPDX-License-Identifier: GPL-2.0-or-later
"""netdfs, the management of DFS namespaces (MS-DFSNM): which roots and links there are. Links are made and removed on
the disk, so whoever asks for that here is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from ksmbd.smb import dfs
from ksmbd.smb.status import WireError
from mountd.rpc.enumeration import fitting, write_info
from mountd.rpc.facts import ShareFacts
from mountd.rpc.names import DfsLink
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import write_counted
from mountd.rpc.pdu import Syntax
from mountd.rpc.service import Caller, Interface, Operation, Win32

VERSION: Final = 1
"""NetrDfsManagerGetVersion (MS-DFSNM 3.1.4.1.2): the calls of Windows NT 4.0; what later versions add is refused."""
STATE_OK: Final = 0x1
FLAVOR_STANDALONE: Final = 0x100
"""MS-DFSNM 2.2.2.13: DFS_VOLUME_STATE_OK, and DFS_VOLUME_FLAVOR_STANDALONE of roots."""
STORAGE_ONLINE: Final = 0x2
"""MS-DFSNM 2.2.2.5."""
STORAGES: Final = (3, 4)
"""Levels with a list of targets."""
_LATER: Final = (4, 5)
"""Levels with time-out and GUID."""


class Entry(NamedTuple):
    """A root or a link. `targets`: server, and share with the path below it."""

    path: str
    comment: str
    targets: tuple[tuple[str, str], ...]
    is_root: bool = False

    @property
    def state(self) -> int:
        """State (MS-DFSNM 2.2.2.13)."""
        return STATE_OK | (FLAVOR_STANDALONE if self.is_root else 0)


# ----------------------------------------------------------------------------------------------------------- finding


def _roots(caller: Caller) -> list[ShareFacts]:
    return [share for key, share in caller.facts().shares.items() if share.is_dfs_root and key not in caller.hidden]


def _root(caller: Caller, share: ShareFacts) -> Entry:
    host = caller.facts().netbios_name
    return Entry(f"\\\\{host}\\{share.name}", share.comment, ((host, share.name),), is_root=True)


def _split(target: str) -> tuple[str, str]:
    server, *rest = dfs.components(target)
    return server, "\\".join(rest)


def _link(path: str, link: DfsLink) -> Entry:
    return Entry(path, "", tuple(map(_split, link.targets)))


def _namespace(caller: Caller, share: ShareFacts) -> list[Entry]:
    """A root, and the links in its folder. Raises Unanswered."""
    root = _root(caller, share)
    return [root, *(_link(f"{root.path}\\{link.name}", link) for link in caller.names.links(share.name))]


def _named(caller: Caller, path: str) -> tuple[ShareFacts | None, list[str]]:
    """The root that a path names (`\\\\server\\root\\...`), whatever the server is called there, and what is below
    it."""
    parts = dfs.components(path)
    name = parts[1].casefold() if len(parts) > 1 else ""
    return next((share for share in _roots(caller) if share.name.casefold() == name), None), parts[2:]


# ----------------------------------------------------------------------------------------------------------- writing


def _write_storage(writer: NdrWriter, target: tuple[str, str]) -> None:
    """DFS_STORAGE_INFO (MS-DFSNM 2.2.2.6)."""
    writer.u32(STORAGE_ONLINE)
    for text in target:
        writer.string_pointer(text)


def _write_entry(level: int, writer: NdrWriter, entry: Entry) -> None:
    """DFS_INFO_1 to DFS_INFO_5, DFS_INFO_100 and DFS_INFO_300 (MS-DFSNM 2.2.3)."""
    if level == 300:
        writer.u32(FLAVOR_STANDALONE)
    writer.string_pointer(entry.comment if level == 100 else entry.path)
    if level in (1, 100, 300):
        return
    writer.string_pointer(entry.comment)
    writer.u32(entry.state)
    if level in _LATER:
        writer.u32(dfs.TIME_TO_LIVE)
        writer.align(4)
        writer.raw(uuid.uuid5(uuid.NAMESPACE_URL, entry.path.casefold()).bytes_le)
    if level == 5:
        writer.u32(0)  # PropertyFlags
        writer.u32(0)  # MetadataSize
    if level in STORAGES:
        write_counted(writer, entry.targets, _write_storage)
    else:
        writer.u32(len(entry.targets))


def get_version(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrDfsManagerGetVersion, opnum 0 (MS-DFSNM 3.1.4.1.2); 0 where the server is none of DFS."""
    writer.u32(VERSION if caller.facts().dfs else 0)


def get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrDfsGetInfo, opnum 4 (MS-DFSNM 3.1.4.1.6), levels 1 to 5 and 100."""
    path = reader.string()
    reader.unique_string()  # a target: none of the levels is about one
    reader.unique_string()
    level = reader.u32()
    entry: Entry | None = None
    share, below = _named(caller, path)
    if caller.restricted:
        status = Win32.ACCESS_DENIED
    elif level not in (1, 2, 3, 4, 5, 100):
        status = Win32.INVALID_PARAMETER
    elif share is None:
        status = Win32.NERR_DFS_NO_SUCH_SERVER
    else:
        entry = _below(caller, share, below) if below else _root(caller, share)
        status = Win32.SUCCESS if entry is not None else Win32.NERR_DFS_NO_SUCH_VOLUME
    write_info(writer, level, partial(_write_entry, level, writer, entry) if entry is not None else None, status)


def _below(caller: Caller, share: ShareFacts, below: list[str]) -> Entry | None:
    found = caller.names.links("\\".join((share.name, *below)))
    return _link("\\".join((_root(caller, share).path, *below)), found[0]) if found else None


# ------------------------------------------------------------------------------------------------------- enumerations


class _Wanted(NamedTuple):
    """Level, PrefMaxLen and ResumeHandle of an enumeration. `there`: there is a DfsEnum to fill."""

    level: int
    preferred: int
    there: bool
    resume: int | None


def _read_wanted(reader: NdrReader) -> _Wanted:
    """The parameters of an enumeration; its DFS_INFO_ENUM_STRUCT is empty."""
    level, preferred = reader.u32(), reader.u32()
    there = reader.pointer()
    if there:
        inner, tag = reader.u32(), reader.u32()
        if inner != tag or inner != level:
            raise WireError(f"level {level}, DfsEnum of {inner}, union of {tag}")
        if reader.pointer():
            count = reader.u32()
            if reader.pointer() and (reader.u32() or count):
                raise WireError("entries in an enumeration's request")
    return _Wanted(level, preferred, there, reader.unique_u32())


def enumerate_all(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrDfsEnum, opnum 5 (MS-DFSNM 3.1.4.1.7): all roots and their links, levels 1 to 5; level 300: the roots."""
    _answer(caller, _read_wanted(reader), writer, lambda: _roots(caller))


def enumerate_one(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrDfsEnumEx, opnum 21 (MS-DFSNM 3.1.4.2.3): a root and its links, levels 1 to 5; level 300: the roots of the
    server."""
    path = reader.string()
    wanted = _read_wanted(reader)

    def of_path() -> list[ShareFacts] | None:
        if wanted.level == 300:
            return _roots(caller)
        share, _ = _named(caller, path)
        return None if share is None else [share]

    _answer(caller, wanted, writer, of_path)


def _answer(
    caller: Caller, wanted: _Wanted, writer: NdrWriter, chosen: Callable[[], list[ShareFacts] | None]
) -> None:
    """Write an enumeration of the roots that `chosen` gives. Raises Unanswered."""
    if caller.restricted:
        _write_page(wanted, writer, [], 0, Win32.ACCESS_DENIED)
        return
    if not wanted.there or wanted.level not in (1, 2, 3, 4, 5, 300):
        _write_page(wanted, writer, [], 0, Win32.INVALID_PARAMETER)
        return
    roots = chosen()
    if roots is None:
        _write_page(wanted, writer, [], 0, Win32.NOT_FOUND)
        return
    if wanted.level == 300:
        entries = [_root(caller, share) for share in roots]
    else:
        entries = [entry for share in roots for entry in _namespace(caller, share)]
    start = min(wanted.resume or 0, len(entries))
    if start and start == len(entries):
        _write_page(wanted, writer, [], start, Win32.NO_MORE_ITEMS)
        return
    count = fitting(entries[start:], wanted.preferred, partial(_write_entry, wanted.level))
    unsaid = wanted.resume is None and start + count < len(entries)
    status = Win32.MORE_DATA if unsaid else Win32.SUCCESS
    _write_page(wanted, writer, entries[start : start + count], start + count, status)


def _write_page(wanted: _Wanted, writer: NdrWriter, page: list[Entry], resume: int, status: Win32) -> None:
    def container() -> None:
        write_counted(writer, page, partial(_write_entry, wanted.level))

    def filled() -> None:
        writer.u32(wanted.level)
        writer.u32(wanted.level)
        writer.pointer(container if status in (Win32.SUCCESS, Win32.MORE_DATA) else None)

    writer.pointer(filled if wanted.there else None)
    writer.flush()
    writer.unique_u32(None if wanted.resume is None else resume)
    writer.u32(status)


def refuse(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """The calls that change a namespace and return a status alone: NetrDfsAdd, NetrDfsRemove, NetrDfsSetInfo,
    NetrDfsAddStdRoot, NetrDfsRemoveStdRoot, NetrDfsManagerInitialize, NetrDfsAddStdRootForced, NetrDfsAddRootTarget,
    NetrDfsRemoveRootTarget (MS-DFSNM 3.1.4)."""
    writer.u32(Win32.ACCESS_DENIED)


CHANGES: Final[Mapping[int, Operation]] = dict.fromkeys((1, 2, 3, 12, 13, 14, 15, 23, 24), refuse)
INTERFACE: Final = Interface(
    pipe="netdfs",
    syntax=Syntax(uuid.UUID("4fc742e0-4a10-11cf-8273-00aa004ae673"), 3),
    operations={0: get_version, 4: get_info, 5: enumerate_all, 21: enumerate_one, **CHANGES},
)
