# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of srvsvc about who is connected (MS-SRVS 3.1.4.1 to 3.1.4.6): sessions, tree connects and open files,
listed and closed. All of it is for administrators."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from mountd.rpc.enumeration import EnumRequest, read_enum, write_enum, write_enum_error, write_info
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.rows import FILES_OF_PIPES, FileInfo, SessionInfo, TreeInfo, file_number, tree_number
from mountd.rpc.service import Caller, Win32

STYPE_DISKTREE: Final = 0x00000000
STYPE_IPC: Final = 0x00000003
SESS_GUEST: Final = 0x00000001
PERM_FILE_READ, PERM_FILE_WRITE, PERM_FILE_CREATE = 0x01, 0x02, 0x04
"""MS-SRVS 2.2.2.4."""
_READS: Final = 0x000000A9
"""The rights to read (MS-SMB2 2.2.13.1.1): data, extended attributes, execute, attributes."""
_WRITES: Final = 0x00000156
"""The rights to write: data, append, extended attributes, delete a child, attributes."""

T = TypeVar("T")
Writes = Callable[[NdrWriter, T], None]


def _refusal(caller: Caller, request: EnumRequest, levels: Mapping[int, Writes[T]]) -> Win32 | None:
    if request.level not in levels:
        return Win32.INVALID_LEVEL
    return None if caller.is_admin else Win32.ACCESS_DENIED


# --------------------------------------------------------------------------------------------------------- sessions


def _session_0(writer: NdrWriter, session: SessionInfo) -> None:
    writer.string_pointer(session.address)


def _session_10(writer: NdrWriter, session: SessionInfo) -> None:
    writer.string_pointer(session.address)
    writer.string_pointer(session.account)
    writer.u32(_seconds_since(session.connected))
    writer.u32(int(session.idle))


def _session_1(writer: NdrWriter, session: SessionInfo) -> None:
    writer.string_pointer(session.address)
    writer.string_pointer(session.account)
    writer.u32(session.opens)
    writer.u32(_seconds_since(session.connected))
    writer.u32(int(session.idle))
    writer.u32(SESS_GUEST if session.guest else 0)


def _session_2(writer: NdrWriter, session: SessionInfo) -> None:
    _session_1(writer, session)
    writer.string_pointer("")  # client type: SMB2 clients do not say (MS-SRVS 2.2.4.14)


def _session_502(writer: NdrWriter, session: SessionInfo) -> None:
    _session_2(writer, session)
    writer.string_pointer("\\Device\\NetbiosSmb")  # transport (MS-SRVS 2.2.4.15)


_SESSION_LEVELS: Final[Mapping[int, Writes[SessionInfo]]] = {
    0: _session_0,
    1: _session_1,
    2: _session_2,
    10: _session_10,
    502: _session_502,
}


def _seconds_since(moment: float) -> int:
    return max(0, int(time.time() - moment))


def _client(name: str | None) -> str:
    """The address of a client that is named with two backslashes before it."""
    return (name or "").lstrip("\\").casefold()


def net_session_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrSessionEnum, opnum 12 (MS-SRVS 3.1.4.5)."""
    reader.unique_string()
    client, user = _client(reader.unique_string()), (reader.unique_string() or "").casefold()
    request = read_enum(reader)
    refusal = _refusal(caller, request, _SESSION_LEVELS)
    if refusal is not None:
        write_enum_error(writer, request, refusal)
        return
    sessions = [
        session
        for session in caller.names.sessions()
        if not client or session.address.casefold() == client
        if not user or session.account.casefold() == user
    ]
    write_enum(writer, request, sessions, _SESSION_LEVELS[request.level])


def net_session_del(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrSessionDel, opnum 13 (MS-SRVS 3.1.4.6): all sessions of a client, of a user, or of this user from there."""
    reader.unique_string()
    client, user = _client(reader.unique_string()), reader.unique_string() or ""
    if not caller.is_admin:
        status: int | None = Win32.ACCESS_DENIED
    elif not client and not user:
        status = Win32.INVALID_PARAMETER
    else:
        status = caller.names.act({"do": "close sessions", "address": client, "account": user})
    writer.u32(Win32.GEN_FAILURE if status is None else status)


# ----------------------------------------------------------------------------------------------------- tree connects


def _connection_0(writer: NdrWriter, tree: TreeInfo) -> None:
    writer.u32(tree_number(tree))


def _connection_1(writer: NdrWriter, tree: TreeInfo) -> None:
    writer.u32(tree_number(tree))
    writer.u32(STYPE_IPC if tree.share.casefold() == "ipc$" else STYPE_DISKTREE)
    writer.u32(tree.opens)
    writer.u32(1)  # users: a tree connect has one
    writer.u32(_seconds_since(tree.connected))
    writer.string_pointer(tree.account)
    writer.string_pointer(tree.share)


_CONNECTION_LEVELS: Final[Mapping[int, Writes[TreeInfo]]] = {0: _connection_0, 1: _connection_1}


def net_connection_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrConnectionEnum, opnum 8 (MS-SRVS 3.1.4.1); the qualifier is a share, or a client with two backslashes."""
    reader.unique_string()
    qualifier = reader.unique_string() or ""
    request = read_enum(reader)
    refusal = _refusal(caller, request, _CONNECTION_LEVELS)
    if refusal is None and not qualifier:
        refusal = Win32.INVALID_PARAMETER
    if refusal is not None:
        write_enum_error(writer, request, refusal)
        return
    of_client = qualifier.startswith("\\\\")
    wanted = _client(qualifier) if of_client else qualifier.casefold()
    trees = [
        tree
        for tree in caller.names.tree_connects()
        if (tree.address if of_client else tree.share).casefold() == wanted
    ]
    write_enum(writer, request, trees, _CONNECTION_LEVELS[request.level])


# ------------------------------------------------------------------------------------------------------------- files


def _file_2(writer: NdrWriter, entry: tuple[FileInfo, str]) -> None:
    writer.u32(file_number(entry[0].id))


def _file_3(writer: NdrWriter, entry: tuple[FileInfo, str]) -> None:
    file, path = entry
    writer.u32(file_number(file.id))
    writer.u32(_permissions(file))
    writer.u32(file.locks)
    writer.string_pointer(path)
    writer.string_pointer(file.account)


_FILE_LEVELS: Final[Mapping[int, Writes[tuple[FileInfo, str]]]] = {2: _file_2, 3: _file_3}


def _permissions(file: FileInfo) -> int:
    """fi3_permissions. Who may add a file to a folder has the right to create."""
    access = int(file.access, 16)
    granted = (PERM_FILE_READ if access & _READS else 0) | (PERM_FILE_WRITE if access & _WRITES else 0)
    return granted | (PERM_FILE_CREATE if file.kind == "directory" and access & 0x06 else 0)


def _path(caller: Caller, file: FileInfo) -> str:
    """fi3_pathname: the path on the server, whose root file system is C:, as with Samba."""
    if file.kind == FILES_OF_PIPES:
        return f"\\PIPE\\{file.path}"
    share = caller.facts().shares.get(file.share.casefold())
    folder = share.path if share is not None else f"/{file.share}"
    path = f"{folder.rstrip('/')}/{file.path}" if file.path else folder
    return "C:" + path.replace("/", "\\") + (f":{file.stream}" if file.stream else "")


def net_file_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrFileEnum, opnum 9 (MS-SRVS 3.1.4.2): those below a path, and those of a user, where they are given."""
    reader.unique_string()
    base, user = (reader.unique_string() or "").casefold(), (reader.unique_string() or "").casefold()
    request = read_enum(reader)
    refusal = _refusal(caller, request, _FILE_LEVELS)
    if refusal is not None:
        write_enum_error(writer, request, refusal)
        return
    entries = [(file, _path(caller, file)) for file in caller.names.files()]
    wanted = [
        (file, path)
        for file, path in entries
        if not base or path.casefold().startswith(base)
        if not user or (file.address if user.startswith("\\\\") else file.account).casefold() == user.lstrip("\\")
    ]
    write_enum(writer, request, wanted, _FILE_LEVELS[request.level])


def net_file_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrFileGetInfo, opnum 10 (MS-SRVS 3.1.4.3)."""
    reader.unique_string()
    number, level = reader.u32(), reader.u32()
    write = _FILE_LEVELS.get(level)
    if write is None:
        write_info(writer, level, None, Win32.INVALID_LEVEL)
    elif not caller.is_admin:
        write_info(writer, level, None, Win32.ACCESS_DENIED)
    else:
        found = next((file for file in caller.names.files() if file_number(file.id) == number), None)
        if found is None:
            write_info(writer, level, None, Win32.NERR_FILE_ID_NOT_FOUND)
        else:
            entry, content = (found, _path(caller, found)), write
            write_info(writer, level, lambda: content(writer, entry), Win32.SUCCESS)


def net_file_close(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrFileClose, opnum 11 (MS-SRVS 3.1.4.4)."""
    reader.unique_string()
    number = reader.u32()
    if not caller.is_admin:
        status: int | None = Win32.ACCESS_DENIED
    else:
        status = caller.names.act({"do": "close file", "number": number})
    writer.u32(Win32.GEN_FAILURE if status is None else status)
