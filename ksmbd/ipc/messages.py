# SPDX-License-Identifier: GPL-2.0-or-later
"""The layouts of the messages between the engine and mountd: KSMBD's (ids 1 to 17), and additional ones from id 64 on.

A message is a netlink header, a generic-netlink header whose command is the message's id, and attributes. A KSMBD
message is one attribute whose type is the id and whose payload is a C structure; a response's id is the request's plus
one. Values that KSMBD's structures have no field for follow in additional attributes (constants.Attribute). Messages
with ids from 64 on consist of such attributes only.

All integers are in the host's byte order, as netlink has it. The layouts are written field by field, so that no
compiler's padding is implied; tests/unit/ipc/test_messages.py checks every size and offset.
"""
from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from ksmbd.ipc.constants import Event

GENL_VERSION: Final = 1
NLMSG_HEADER_SIZE: Final = 16
GENL_HEADER_SIZE: Final = 4
NLA_HEADER_SIZE: Final = 4
NLA_PAYLOAD_MAX: Final = 0xFFFF - NLA_HEADER_SIZE
"""An attribute's length is a 16-bit field."""
MESSAGE_TYPE: Final = 0x10
"""The nlmsg_type of every message (NLMSG_MIN_TYPE, the first one for protocols)."""
RPC_CHUNK: Final = 32 << 10
"""Bytes of pipe data in one message at most; longer writes are split, longer reads return MORE_DATA."""

ACCOUNT_SIZE: Final = 48
SHARE_NAME_SIZE: Final = 64
HASH_SIZE: Final = 18

# -------------------------------------------------------------------------------------------------------- structures


class Structure:
    """A C structure: its fields, each with a format of the module struct, one after the other without padding (`x`
    fields are the structure's own), followed, where `tail` is set, by any number of bytes (`payload`)."""

    def __init__(self, *fields: tuple[str, str], tail: bool = False) -> None:
        self.fields = (*fields, ("payload", "")) if tail else fields
        """(name, format) of all fields; `payload` has none."""
        self.tail = tail
        self._fixed = [(name, struct.Struct("=" + fmt), fmt) for name, fmt in fields]

    def fixed_size(self) -> int:
        """Bytes of the structure without `payload`."""
        return sum(layout.size for _, layout, _ in self._fixed)

    def offset_of(self, name: str) -> int:
        """The offset of a field in bytes. Raises KeyError."""
        offset = 0
        for field_name, layout, _ in self._fixed:
            if field_name == name:
                return offset
            offset += layout.size
        if name == "payload" and self.tail:
            return offset
        raise KeyError(name)

    def decode(self, data: bytes | memoryview) -> dict[str, Any]:
        """The fields of a structure that is whole, and its payload: numbers, tuples of numbers, and bytes with their
        NULs."""
        found: dict[str, Any] = {}
        offset = 0
        for name, layout, fmt in self._fixed:
            if not fmt.endswith("x"):
                values = layout.unpack_from(data, offset)
                found[name] = values[0] if len(values) == 1 else values
            offset += layout.size
        if self.tail:
            found["payload"] = bytes(data[offset:])
        return found

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The structure with these fields and zeros for all others. Raises ValueError for a field that it does not have
        and for a value that does not fit; a text is never truncated."""
        unknown = set(fields) - {name for name, _ in self.fields}
        if unknown:
            raise ValueError(f"there is no field {', '.join(sorted(unknown))}")
        data = b"".join([_pack_field(name, fmt, fields.get(name)) for name, _, fmt in self._fixed])
        return data + bytes(fields.get("payload") or b"") if self.tail else data


def _pack_field(name: str, fmt: str, value: Any) -> bytes:  # noqa: ANN401 - what the struct format says
    """Encode one field. Raises ValueError for a value that does not fit; a text is never truncated."""
    if fmt.endswith("x"):
        return bytes(int(fmt[:-1] or 1))
    if fmt.endswith("s"):
        size = int(fmt[:-1])
        data = value.encode() if isinstance(value, str) else bytes(value or b"")
        if len(data) > size or (isinstance(value, str) and (len(data) == size or "\0" in value)):
            raise ValueError(f"{name}: {len(data)} bytes do not fit {size}")
        return data.ljust(size, b"\0")
    if not value:
        return bytes(struct.calcsize("=" + fmt))
    try:
        return struct.pack("=" + fmt, *value) if isinstance(value, (list, tuple)) else struct.pack("=" + fmt, value)
    except struct.error as error:
        raise ValueError(f"{name}: {error}") from None


def text_of(data: bytes) -> str:
    """Decode a NUL-terminated field; bytes that are not UTF-8 become surrogate escapes."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


_ACCOUNT: Final = f"{ACCOUNT_SIZE}s"
_SHARE: Final = f"{SHARE_NAME_SIZE}s"
_LOGIN_RESPONSE_FIELDS: Final = (
    ("gid", "I"),
    ("uid", "I"),
    ("account", _ACCOUNT),
    ("status", "H"),
    ("hash_sz", "H"),
    ("hash", f"{HASH_SIZE}s"),
    ("_padding", "2x"),
    ("reserved", "64x"),
)
_HEARTBEAT: Final = Structure(("handle", "I"))
"""ksmbd_heartbeat."""
_STARTING_UP: Final = Structure(
    ("flags", "I"), ("signing", "i"), ("min_prot", "16s"), ("max_prot", "16s"), ("netbios_name", "16s"),
    ("work_group", "64s"), ("server_string", "64s"), ("tcp_port", "H"), ("ipc_timeout", "H"), ("deadtime", "I"),
    ("file_max", "I"), ("smb2_max_write", "I"), ("smb2_max_read", "I"), ("smb2_max_trans", "I"),
    ("share_fake_fscaps", "I"), ("sub_auth", "3I"), ("smb2_max_credits", "I"), ("smbd_max_io_size", "I"),
    ("max_connections", "I"), ("bind_interfaces_only", "b"), ("max_ip_connections", "I"), ("reserved", "499x"),
    ("ifc_list_sz", "I"), tail=True,
)  # fmt: skip
"""ksmbd_startup_request, packed: `max_ip_connections` is not aligned."""
_SHUTTING_DOWN: Final = Structure(("reserved", "64x"))
"""ksmbd_shutdown_request."""
_LOGIN_REQUEST: Final = Structure(("handle", "I"), ("account", _ACCOUNT), ("reserved", "64x"))
"""ksmbd_login_request, also of LOGIN_REQUEST_EXT."""
_LOGIN_RESPONSE: Final = Structure(("handle", "I"), *_LOGIN_RESPONSE_FIELDS)
"""ksmbd_login_response."""
_SHARE_CONFIG_REQUEST: Final = Structure(("handle", "I"), ("share_name", _SHARE), ("reserved", "64x"))
"""ksmbd_share_config_request."""
_SHARE_CONFIG_RESPONSE: Final = Structure(
    ("handle", "I"), ("flags", "I"), ("create_mask", "H"), ("directory_mask", "H"), ("force_create_mode", "H"),
    ("force_directory_mode", "H"), ("force_uid", "H"), ("force_gid", "H"), ("share_name", _SHARE),
    ("reserved", "444x"), ("payload_sz", "I"), ("veto_list_sz", "I"), tail=True,
)  # fmt: skip
"""ksmbd_share_config_response; the payload is the veto list (`veto_list_sz` bytes), a NUL, and the path."""
_TREE_CONNECT_REQUEST: Final = Structure(
    ("handle", "I"), ("account_flags", "H"), ("flags", "H"), ("session_id", "Q"), ("connect_id", "Q"),
    ("account", _ACCOUNT), ("share", _SHARE), ("peer_addr", "64s"), ("reserved", "64x"),
)  # fmt: skip
"""ksmbd_tree_connect_request."""
_TREE_CONNECT_RESPONSE: Final = Structure(
    ("handle", "I"), ("status", "H"), ("connection_flags", "H"), ("reserved", "64x"),
)  # fmt: skip
"""ksmbd_tree_connect_response."""
_TREE_DISCONNECT_REQUEST: Final = Structure(("session_id", "Q"), ("connect_id", "Q"), ("reserved", "64x"))
"""ksmbd_tree_disconnect_request."""
_LOGOUT_REQUEST: Final = Structure(("account", _ACCOUNT), ("account_flags", "I"), ("reserved", "64x"))
"""ksmbd_logout_request."""
_RPC_COMMAND: Final = Structure(("handle", "I"), ("flags", "I"), ("payload_sz", "I"), tail=True)
"""ksmbd_rpc_command, request and response; `handle` names the pipe."""
_SPNEGO_REQUEST: Final = Structure(("handle", "I"), ("blob_len", "H"), tail=True)
"""ksmbd_spnego_authen_request; the blob begins at offset 6, before the padded end of the structure."""
_SPNEGO_RESPONSE: Final = Structure(
    ("handle", "I"), ("login_handle", "I"), *_LOGIN_RESPONSE_FIELDS, ("session_key_len", "H"),
    ("spnego_blob_len", "H"), tail=True,
)  # fmt: skip
"""ksmbd_spnego_authen_response: it contains a login response; the payload is session key and AP-REP."""
_LOGIN_RESPONSE_EXT: Final = Structure(("handle", "I"), ("ngroups", "i"), ("reserved", "128x"), tail=True)
"""ksmbd_login_response_ext; the payload is `ngroups` gids of 32 bits."""

STRUCTURES: Final[Mapping[Event, Structure]] = {
    Event.HEARTBEAT_REQUEST: _HEARTBEAT,
    Event.STARTING_UP: _STARTING_UP,
    Event.SHUTTING_DOWN: _SHUTTING_DOWN,
    Event.LOGIN_REQUEST: _LOGIN_REQUEST,
    Event.LOGIN_RESPONSE: _LOGIN_RESPONSE,
    Event.SHARE_CONFIG_REQUEST: _SHARE_CONFIG_REQUEST,
    Event.SHARE_CONFIG_RESPONSE: _SHARE_CONFIG_RESPONSE,
    Event.TREE_CONNECT_REQUEST: _TREE_CONNECT_REQUEST,
    Event.TREE_CONNECT_RESPONSE: _TREE_CONNECT_RESPONSE,
    Event.TREE_DISCONNECT_REQUEST: _TREE_DISCONNECT_REQUEST,
    Event.LOGOUT_REQUEST: _LOGOUT_REQUEST,
    Event.RPC_REQUEST: _RPC_COMMAND,
    Event.RPC_RESPONSE: _RPC_COMMAND,
    Event.SPNEGO_AUTHEN_REQUEST: _SPNEGO_REQUEST,
    Event.SPNEGO_AUTHEN_RESPONSE: _SPNEGO_RESPONSE,
    Event.LOGIN_REQUEST_EXT: _LOGIN_REQUEST,
    Event.LOGIN_RESPONSE_EXT: _LOGIN_RESPONSE_EXT,
}
"""KSMBD's message -> its structure."""
