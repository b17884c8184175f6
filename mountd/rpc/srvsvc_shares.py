# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of srvsvc about shares (MS-SRVS 3.1.4.7 to 3.1.4.14): listed to all, changed by administrators."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ksmbd.smb.status import WireError
from mountd.rpc.enumeration import read_enum, write_enum, write_enum_error, write_info
from mountd.rpc.facts import ShareFacts
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Win32
from mountd.rpc.srvsvc_sessions import STYPE_DISKTREE, STYPE_IPC

STYPE_SPECIAL: Final = 0x80000000
UNLIMITED_USES: Final = 0xFFFFFFFF
SHI1005_FLAGS_DFS: Final = 0x01
SHI1005_FLAGS_DFS_ROOT: Final = 0x02
"""MS-SRVS 2.2.4.29."""
SERVER_ALL: Final = "*"
"""MS-SRVS 2.2.4.27: the share is not scoped to a server name."""
TYPE_PARMNUM, REMARK_PARMNUM, MAX_USES_PARMNUM, PATH_PARMNUM, SECURITY_PARMNUM = 3, 4, 6, 8, 501
"""What ParmErr names (MS-SRVS 2.2.2.11)."""


# ---------------------------------------------------------------------------------------------------------- reading


def _kind(share: ShareFacts) -> int:
    return STYPE_IPC | STYPE_SPECIAL if share.is_ipc else STYPE_DISKTREE


def _windows_path(share: ShareFacts) -> str:
    """MS-SRVS wants a drive's path; the root file system is C:, as with Samba."""
    return "" if share.is_ipc else "C:" + share.path.replace("/", "\\")


def _max_uses(share: ShareFacts) -> int:
    return UNLIMITED_USES if share.is_ipc or share.unlimited else share.max_connections


def _visible(caller: Caller) -> list[ShareFacts]:
    shown = [
        share for key, share in caller.facts().shares.items()
        if share.is_ipc or (share.browseable and share.served and key not in caller.hidden)
    ]
    return shown if caller.home is None else [*shown, caller.home]


def _find(caller: Caller, name: str) -> ShareFacts | None:
    share = caller.facts().shares.get(name.casefold())
    if share is None and caller.home is not None and caller.home.name.casefold() == name.casefold():
        share = caller.home
    return share if share is not None and share.served else None


def _share_0(writer: NdrWriter, share: ShareFacts) -> None:
    writer.string_pointer(share.name)


def _share_1(writer: NdrWriter, share: ShareFacts) -> None:
    writer.string_pointer(share.name)
    writer.u32(_kind(share))
    writer.string_pointer(share.comment)


def _share_2(writer: NdrWriter, share: ShareFacts) -> None:
    _share_1(writer, share)
    writer.u32(0)  # permissions: of share-level security alone
    writer.u32(_max_uses(share))
    writer.u32(share.uses)
    writer.string_pointer(_windows_path(share))
    writer.string_pointer(None)  # passwd: never sent


def _share_501(writer: NdrWriter, share: ShareFacts) -> None:
    _share_1(writer, share)
    writer.u32(0)  # flags: manual caching (MS-SRVS 2.2.4.29)


def _security(writer: NdrWriter, share: ShareFacts) -> None:
    """The length of the security descriptor, and a pointer to its bytes; null for all but administrators."""
    data = base64.b64decode(share.security)

    def content() -> None:
        writer.u32(len(data))
        writer.raw(data)

    writer.u32(len(data))
    writer.pointer(content if data else None)


def _share_502(writer: NdrWriter, share: ShareFacts) -> None:
    _share_2(writer, share)
    _security(writer, share)


def _share_503(writer: NdrWriter, share: ShareFacts) -> None:
    _share_2(writer, share)
    writer.string_pointer(SERVER_ALL)
    _security(writer, share)


def _share_1004(writer: NdrWriter, share: ShareFacts) -> None:
    writer.string_pointer(share.comment)


def _share_1005(writer: NdrWriter, share: ShareFacts) -> None:
    writer.u32(SHI1005_FLAGS_DFS | SHI1005_FLAGS_DFS_ROOT if share.is_dfs_root else 0)  # and manual caching


def _share_1006(writer: NdrWriter, share: ShareFacts) -> None:
    writer.u32(_max_uses(share))


_SHARE_LEVELS: Final[Mapping[int, Callable[[NdrWriter, ShareFacts], None]]] = {
    0: _share_0,
    1: _share_1,
    2: _share_2,
    501: _share_501,
    502: _share_502,
    503: _share_503,
}
_STICKY_LEVELS: Final = {level: write for level, write in _SHARE_LEVELS.items() if level != 501}
_INFO_LEVELS: Final[Mapping[int, Callable[[NdrWriter, ShareFacts], None]]] = {
    **_SHARE_LEVELS,
    1004: _share_1004,
    1005: _share_1005,
    1006: _share_1006,
    1501: _security,
}
_OPEN_LEVELS: Final = (0, 1, 501, 1004, 1005)
"""What guests may ask too: no paths, no counts (MS-SRVS 3.1.4.8, 3.1.4.10)."""
_ADMINISTRATORS_LEVELS: Final = (1501,)


def _refusal(caller: Caller, level: int) -> bool:
    return (caller.restricted and level not in _OPEN_LEVELS) or (
        level in _ADMINISTRATORS_LEVELS and not caller.is_admin
    )


def net_share_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareEnum, opnum 15 (MS-SRVS 3.1.4.8)."""
    _enumerate(caller, reader, writer, _SHARE_LEVELS)


def net_share_enum_sticky(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareEnumSticky, opnum 36 (MS-SRVS 3.1.4.9), which has no level 501: all of our shares outlive a restart."""
    _enumerate(caller, reader, writer, _STICKY_LEVELS)


def _enumerate(
    caller: Caller, reader: NdrReader, writer: NdrWriter, levels: Mapping[int, Callable[[NdrWriter, ShareFacts], None]]
) -> None:
    reader.unique_string()
    request = read_enum(reader)
    entry = levels.get(request.level)
    if entry is None:
        write_enum_error(writer, request, Win32.INVALID_LEVEL)
    elif _refusal(caller, request.level):
        write_enum_error(writer, request, Win32.ACCESS_DENIED)
    else:
        write_enum(writer, request, _visible(caller), entry)


def net_share_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareGetInfo, opnum 16 (MS-SRVS 3.1.4.10). Also of shares that enumerations hide."""
    reader.unique_string()
    name, level = reader.string(), reader.u32()
    entry = _INFO_LEVELS.get(level)
    share = _find(caller, name)
    if entry is None:
        write_info(writer, level, None, Win32.INVALID_LEVEL)
    elif _refusal(caller, level):
        write_info(writer, level, None, Win32.ACCESS_DENIED)
    elif share is None:
        write_info(writer, level, None, Win32.NERR_NET_NAME_NOT_FOUND)
    else:
        found, write = share, entry
        write_info(writer, level, lambda: write(writer, found), Win32.SUCCESS)


def net_share_check(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareCheck, opnum 20 (MS-SRVS 3.1.4.13): whether a folder is shared, and as what."""
    reader.unique_string()
    device = reader.string().rstrip("\\").casefold()
    shared = caller.is_admin and any(
        share.served and not share.is_ipc and _windows_path(share).rstrip("\\").casefold() == device
        for share in caller.facts().shares.values()
    )
    writer.u32(STYPE_DISKTREE)
    if not caller.is_admin:
        writer.u32(Win32.ACCESS_DENIED)
    else:
        writer.u32(Win32.SUCCESS if shared else Win32.NERR_DEVICE_NOT_SHARED)


# --------------------------------------------------------------------------------------------------------- changing


@dataclass
class _Given:
    """What a SHARE_INFO structure of a request says; None: it does not say it, or its pointer is null."""

    name: str | None = None
    type: int = STYPE_DISKTREE
    comment: str | None = None
    max_uses: int | None = None
    path: str | None = None
    security: bytes | None = None


def _read_security(reader: NdrReader, length: int) -> bytes:
    count = reader.u32()
    if count != length:
        raise WireError(f"a descriptor of {length} bytes in {count}")
    return reader.raw(count)


def _read_full(reader: NdrReader, level: int) -> _Given:
    """SHARE_INFO_2_I, 502_I and 503_I (MS-SRVS 2.2.4.24, 2.2.4.26, 2.2.4.27)."""
    given = _Given()
    name, given.type, comment = reader.pointer(), reader.u32(), reader.pointer()
    reader.u32()  # permissions: of share-level security alone
    given.max_uses = reader.u32()
    reader.u32()  # current uses
    path, password = reader.pointer(), reader.pointer()
    server = reader.pointer() if level == 503 else False
    length = reader.u32() if level != 2 else 0
    security = reader.pointer() if level != 2 else False
    given.name = reader.string() if name else None
    given.comment = reader.string() if comment else None
    given.path = reader.string() if path else None
    for there in (password, server):
        if there:
            reader.string()
    given.security = _read_security(reader, length) if security else None
    return given


def _read_1(reader: NdrReader, level: int) -> _Given:
    name, kind, comment = reader.pointer(), reader.u32(), reader.pointer()
    return _Given(
        reader.string() if name else None, kind, reader.string() if comment else None
    )


def _read_1004(reader: NdrReader, level: int) -> _Given:
    return _Given(comment=reader.unique_string())


def _read_1005(reader: NdrReader, level: int) -> _Given:
    reader.u32()  # caching is the client's matter, and DFS the configuration's
    return _Given()


def _read_1006(reader: NdrReader, level: int) -> _Given:
    return _Given(max_uses=reader.u32())


def _read_1501(reader: NdrReader, level: int) -> _Given:
    length = reader.u32()
    return _Given(security=_read_security(reader, length) if reader.pointer() else None)


_ADD_LEVELS: Final = {2: _read_full, 502: _read_full, 503: _read_full}
_SET_LEVELS: Final = {
    1: _read_1, 2: _read_full, 502: _read_full, 503: _read_full, 1004: _read_1004, 1005: _read_1005, 1006: _read_1006,
    1501: _read_1501,
}  # fmt: skip


def _read_given(
    reader: NdrReader, level: int, levels: Mapping[int, Callable[[NdrReader, int], _Given]]
) -> _Given | None:
    """The structure of a request behind its union, and ParmErr; None where the level is none of `levels`."""
    if reader.u32() != level:
        raise WireError("a union of another level")
    read = levels.get(level)
    if read is None:
        return None
    given = read(reader, level) if reader.pointer() else None
    reader.unique_u32()
    if given is None:
        raise WireError("no structure")
    return given


def _act(given: _Given, action: str, name: str) -> dict[str, object]:
    """The act for mountd."""
    act: dict[str, object] = {"do": action, "name": name}
    if given.comment is not None:
        act["comment"] = given.comment
    if given.max_uses is not None:
        act["max uses"] = given.max_uses
    if given.path is not None and action == "add share":
        act["path"] = given.path
    if given.security is not None:
        act["security"] = base64.b64encode(given.security).decode("ascii")
    return act


def _done(caller: Caller, act: dict[str, object]) -> int:
    code = caller.names.act(act)
    return Win32.GEN_FAILURE if code is None else code


def _write_parm_err(writer: NdrWriter, parameter: int, code: int) -> None:
    writer.unique_u32(parameter)
    writer.u32(code)


def net_share_add(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareAdd, opnum 14 (MS-SRVS 3.1.4.7)."""
    reader.unique_string()
    level = reader.u32()
    given = _read_given(reader, level, _ADD_LEVELS)
    if given is None:
        _write_parm_err(writer, 0, Win32.INVALID_LEVEL)
    elif not caller.is_admin:
        _write_parm_err(writer, 0, Win32.ACCESS_DENIED)
    elif given.type != STYPE_DISKTREE:
        _write_parm_err(writer, TYPE_PARMNUM, Win32.INVALID_PARAMETER)
    elif not given.name:
        _write_parm_err(writer, 0, Win32.INVALID_NAME)
    elif not given.path:
        _write_parm_err(writer, PATH_PARMNUM, Win32.INVALID_PARAMETER)
    else:
        _write_parm_err(writer, 0, _done(caller, _act(given, "add share", given.name)))


def net_share_set_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareSetInfo, opnum 17 (MS-SRVS 3.1.4.11): the comment, the number of uses and the security descriptor; the
    rest of a share's structure is ignored, as the section says."""
    reader.unique_string()
    name, level = reader.string(), reader.u32()
    given = _read_given(reader, level, _SET_LEVELS)
    if given is None:
        _write_parm_err(writer, 0, Win32.INVALID_LEVEL)
    elif not caller.is_admin:
        _write_parm_err(writer, 0, Win32.ACCESS_DENIED)
    elif _find(caller, name) is None:
        _write_parm_err(writer, 0, Win32.NERR_NET_NAME_NOT_FOUND)
    elif level == 1501 and given.security is None:
        _write_parm_err(writer, SECURITY_PARMNUM, Win32.INVALID_PARAMETER)
    else:
        act = _act(given, "set share", name)
        _write_parm_err(writer, 0, _done(caller, act) if len(act) > 2 else Win32.SUCCESS)


def net_share_del(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareDel, opnum 18 (MS-SRVS 3.1.4.12)."""
    reader.unique_string()
    name = reader.string()
    reader.u32()  # reserved
    if not caller.is_admin:
        writer.u32(Win32.ACCESS_DENIED)
    else:
        writer.u32(_done(caller, {"do": "delete share", "name": name}))
