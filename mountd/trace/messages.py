# SPDX-License-Identifier: GPL-2.0-or-later
"""What a line tells of an SMB2 message: names, FileIds, sizes (MS-SMB2 2.2). One function a command and direction.

Peer data is read through ksmbd.smb.reader; what is cut off or malformed leaves fields empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ksmbd.auth.ntlm_messages import parse_authenticate
from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import NtStatusError, WireError
from mountd.trace.names import FSCTLS, INFO_TYPES, INFORMATION

RELATED: Final = b"\xff" * 16
"""The FileId of a related operation: that of the one before (MS-SMB2 3.2.4.1.4)."""
_NTLM_AUTHENTICATE: Final = b"NTLMSSP\0\3\0\0\0"
_NTLM_UNICODE: Final = 1
_KERBEROS: Final = bytes.fromhex("2a864886f712010202")
"""The mechanism's object identifier (RFC 4121 1)."""


@dataclass(slots=True)
class Told:
    """What a message tells."""

    name: str = ""
    """A file's name, or a share's path."""
    file_id: bytes = b""
    size: int | None = None
    """Bytes of data: wanted, or transferred."""
    offset: int | None = None
    user: str = ""
    what: str = ""
    """What else counts: the information class, the FSCTL, what was granted."""


_CREATE: Final = Struct("<HBBIQQIIIIIHH")
_CREATED: Final = Struct("<HBBIQQQQQQII16s")
_FILE_ID: Final = Struct("<16s")
_READ: Final = Struct("<HBBIQ16s")
_READ_REPLY: Final = Struct("<HBBI")
_WRITE: Final = Struct("<HHIQ16s")
_WRITTEN: Final = Struct("<HHI")
_IOCTL: Final = Struct("<HHI16sIII")
_QUERY_DIRECTORY: Final = Struct("<HBBI16sHH")
_QUERY_INFO: Final = Struct("<HBBIHHIII16s")
_SET_INFO: Final = Struct("<HBBIHHI16s")
_NOTIFY: Final = Struct("<HHI16sI")
_SESSION_SETUP: Final = Struct("<HBBIIHHQ")
_TREE: Final = Struct("<HHHH")
_TREE_REPLY: Final = Struct("<HBBIII")
_NEGOTIATED: Final = Struct("<HHH")
_RPC: Final = Struct("<BBBBIHHIIHH")
_PDUS: Final = {0: "request", 11: "bind", 14: "alter context", 16: "auth3", 18: "cancel", 19: "orphaned"}
_DISPOSITIONS: Final = ("supersede", "open", "create", "open_if", "overwrite", "overwrite_if")
_ACTIONS: Final = ("superseded", "opened", "created", "overwritten")
_SHARES: Final = {1: "disk", 2: "pipe", 3: "printer"}
_DIALECTS: Final = {**c.DIALECT_NAMES, c.DIALECT_WILDCARD: "2.x"}


def _rpc(body: Reader, at: int, size: int) -> str:
    """What a PDU of DCE/RPC is (C706 12.6.3, 12.6.4); '' where data is none."""
    if size < _RPC.size:
        return ""
    try:
        version, minor, kind, _, _, length, _, _, _, context, operation = body.unpack_at(_RPC, at)
    except WireError:
        return ""
    if version != 5 or minor > 1 or kind not in _PDUS or not _RPC.size <= length <= size:
        return ""
    return f"RPC {_PDUS[kind]}" + (f" {operation} of context {context}" if kind == 0 else "")


def _create(body: Reader) -> Told:
    fields = body.unpack(_CREATE)
    name = body.restrict(fields[11], fields[12]).utf16(fields[12]) if fields[12] else ""
    disposition = fields[9]
    what = _DISPOSITIONS[disposition] if disposition < len(_DISPOSITIONS) else f"disposition {disposition:#x}"
    return Told(name=name, what=what)


def _created(body: Reader) -> Told:
    fields = body.unpack(_CREATED)
    action = _ACTIONS[fields[3]] if fields[3] < len(_ACTIONS) else ""
    granted = _oplock(fields[1]) if fields[1] != c.OPLOCK_LEVEL_NONE else ""
    return Told(file_id=fields[12], what=" ".join(filter(None, (action, granted))))


def _oplock(level: int) -> str:
    name = c.OPLOCK_NAMES.get(level, hex(level))
    return name if level == c.OPLOCK_LEVEL_LEASE else f"oplock {name}"


def _file_id_at(offset: int) -> Callable[[Reader], Told]:
    return lambda body: Told(file_id=body.unpack_at(_FILE_ID, HEADER_SIZE + offset)[0])


def _read(body: Reader) -> Told:
    _, _, _, size, offset, file_id = body.unpack(_READ)
    return Told(file_id=file_id, size=size, offset=offset)


def _read_reply(body: Reader) -> Told:
    return Told(size=body.unpack(_READ_REPLY)[3])


def _write(body: Reader) -> Told:
    _, at, size, offset, file_id = body.unpack(_WRITE)
    return Told(file_id=file_id, size=size, offset=offset, what=_rpc(body, at, size))


def _written(body: Reader) -> Told:
    return Told(size=body.unpack(_WRITTEN)[2])


def _ioctl(body: Reader) -> Told:
    _, _, code, file_id, at, size, _ = body.unpack(_IOCTL)
    rpc = _rpc(body, at, size) if code == c.FSCTL_PIPE_TRANSCEIVE else ""
    return Told(file_id=file_id, size=size, what=f"{FSCTLS.get(code, f'{code:#010x}')} {rpc}".rstrip())


def _ioctl_reply(body: Reader) -> Told:
    body.skip(_IOCTL.size)  # to OutputCount (2.2.32)
    return Told(size=body.u32())


def _query_directory(body: Reader) -> Told:
    _, level, _, _, file_id, at, size = body.unpack(_QUERY_DIRECTORY)
    pattern = body.restrict(at, size).utf16(size) if size else ""
    return Told(file_id=file_id, what=f"{INFORMATION.get((1, level), f'class {level}')} {pattern}".rstrip())


def _with_buffer(body: Reader) -> Told:
    """A reply with an offset of 16 and a length of 32 bits."""
    body.skip(4)
    return Told(size=body.u32())


def _query_info(body: Reader) -> Told:
    fields = body.unpack(_QUERY_INFO)
    return Told(file_id=fields[9], what=_class(fields[1], fields[2]))


def _set_info(body: Reader) -> Told:
    fields = body.unpack(_SET_INFO)
    return Told(file_id=fields[7], size=fields[3], what=_class(fields[1], fields[2]))


def _class(kind: int, level: int) -> str:
    return INFORMATION.get((kind, level)) or f"{INFO_TYPES.get(kind, kind)} {level}".rstrip(" 0")


def _notify(body: Reader) -> Told:
    return Told(file_id=body.unpack(_NOTIFY)[3])


def _session_setup(body: Reader) -> Told:
    fields = body.unpack(_SESSION_SETUP)
    token = bytes(body.at(fields[5], fields[6])) if fields[5] else b""
    what = "bind" if fields[1] & 1 else ""
    at = token.find(_NTLM_AUTHENTICATE)
    if at >= 0:
        message = parse_authenticate(token[at:], _NTLM_UNICODE)
        whole = "\\".join(filter(None, (message.domain, message.user))) or "nobody"
        return Told(user=message.user, what=f"NTLM {what} of {whole}".replace("  ", " "))
    mechanism = "NTLM" if b"NTLMSSP\0" in token else "Kerberos" if _KERBEROS in token else ""
    return Told(what=f"{mechanism} {what}".strip())


def _tree_connect(body: Reader) -> Told:
    _, _, at, size = body.unpack(_TREE)
    return Told(name=body.restrict(at, size).utf16(size))


def _tree_connected(body: Reader) -> Told:
    return Told(what=_SHARES.get(body.unpack(_TREE_REPLY)[1], ""))


def _negotiated(body: Reader) -> Told:
    dialect = body.unpack(_NEGOTIATED)[2]
    return Told(what=_DIALECTS.get(dialect, hex(dialect)))


_REQUESTS: Final[dict[int, Callable[[Reader], Told]]] = {
    c.SESSION_SETUP: _session_setup,
    c.TREE_CONNECT: _tree_connect,
    c.CREATE: _create,
    c.CLOSE: _file_id_at(8),
    c.FLUSH: _file_id_at(8),
    c.READ: _read,
    c.WRITE: _write,
    c.LOCK: _file_id_at(8),
    c.IOCTL: _ioctl,
    c.QUERY_DIRECTORY: _query_directory,
    c.CHANGE_NOTIFY: _notify,
    c.QUERY_INFO: _query_info,
    c.SET_INFO: _set_info,
}
_REPLIES: Final[dict[int, Callable[[Reader], Told]]] = {
    c.NEGOTIATE: _negotiated,
    c.TREE_CONNECT: _tree_connected,
    c.CREATE: _created,
    c.READ: _read_reply,
    c.WRITE: _written,
    c.IOCTL: _ioctl_reply,
    c.QUERY_DIRECTORY: _with_buffer,
    c.CHANGE_NOTIFY: _with_buffer,
    c.QUERY_INFO: _with_buffer,
}


def _told(message: bytes, command: int, table: dict[int, Callable[[Reader], Told]]) -> Told:
    function = table.get(command)
    if function is None:
        return Told()
    try:
        body = Reader(message)
        body.skip(HEADER_SIZE)
        return function(body)
    except (WireError, NtStatusError, UnicodeDecodeError):
        return Told()


def request(message: bytes, command: int) -> Told:
    """What a request tells."""
    return _told(message, command, _REQUESTS)


def reply(message: bytes, command: int) -> Told:
    """What a successful reply tells."""
    return _told(message, command, _REPLIES)


def oplock_break(message: bytes) -> Told:
    """What a notification or acknowledgment of a break tells (MS-SMB2 2.2.23, 2.2.24)."""
    try:
        body = Reader(message)
        body.skip(HEADER_SIZE)
        if body.u16() == 24:
            level = body.u8()
            return Told(file_id=body.unpack_at(_FILE_ID, HEADER_SIZE + 8)[0], what=_oplock(level))
        return Told(what="lease")
    except WireError:
        return Told()
