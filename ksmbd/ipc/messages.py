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

from pyroute2.netlink import genlmsg, nla, nla_base

from ksmbd.ipc.constants import Attribute, Event

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

# ------------------------------------------------------------------------------------------------ pyroute2's classes


class StructureAttribute(nla_base):  # type: ignore[misc]
    """An attribute that holds a C structure, followed, where `tail` is set, by any number of bytes (`payload`).

    pyroute2 writes the fields one after the other without padding: `x` fields are the structure's own padding.
    """

    __slots__ = ()
    fields: tuple[tuple[str, str], ...] = ()
    defaults: dict[str, Any] = {}  # noqa: RUF012  pyroute2's name and shape
    tail = False
    align = 1
    """The attribute's length counts no alignment; encode() adds padding after it."""

    @classmethod
    def fixed_size(cls) -> int:
        """Bytes of the structure without `payload`."""
        return sum(struct.calcsize("=" + fmt) for name, fmt in cls.fields if name != "payload")

    @classmethod
    def offset_of(cls, name: str) -> int:
        """The offset of a field in bytes. Raises KeyError."""
        offset = 0
        for field_name, fmt in cls.fields:
            if field_name == name:
                return offset
            offset += struct.calcsize("=" + fmt)
        raise KeyError(name)

    def ft_decode(self, offset: int) -> None:
        """Decode the fields, then the payload up to the attribute's length."""
        for name, fmt in self.fields:
            if name == "payload":
                self[name] = bytes(self.data[offset : self.offset + self.length])
            else:
                self[name], offset = self.decode_field("=" + fmt, self.data, offset)
        self.pop("attrs", None)
        self.pop("value", None)

    def ft_encode(self, offset: int) -> tuple[int, int]:
        """Encode the fields, the payload, and zeros up to a multiple of 4, which the length does not count."""
        for name, fmt in self.fields:
            value = self[name] if dict.get(self, name) is not None else 0
            if name == "payload":
                payload = bytes(value) if value else b""
                self.data.extend(payload)
                offset += len(payload)
                continue
            size = struct.calcsize("=" + fmt)
            self.data.extend(_pack_field(name, fmt, value))
            offset += size
        padding = -(offset - self.offset) % 4
        self.data.extend(bytes(padding))
        return offset + padding, padding


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
    if isinstance(value, int) and not value:
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


class NetlinkMessage(genlmsg):  # type: ignore[misc]
    """Any message. KSMBD's structures are attributes named as the event; additional attributes follow."""

    __slots__ = ()
    prefix = "KSMBD_"
    nla_map = (
        (Event.HEARTBEAT_REQUEST, "HEARTBEAT_REQUEST", "heartbeat"),
        (Event.STARTING_UP, "STARTING_UP", "starting_up"),
        (Event.SHUTTING_DOWN, "SHUTTING_DOWN", "shutting_down"),
        (Event.LOGIN_REQUEST, "LOGIN_REQUEST", "login_request"),
        (Event.LOGIN_RESPONSE, "LOGIN_RESPONSE", "login_response"),
        (Event.SHARE_CONFIG_REQUEST, "SHARE_CONFIG_REQUEST", "share_config_request"),
        (Event.SHARE_CONFIG_RESPONSE, "SHARE_CONFIG_RESPONSE", "share_config_response"),
        (Event.TREE_CONNECT_REQUEST, "TREE_CONNECT_REQUEST", "tree_connect_request"),
        (Event.TREE_CONNECT_RESPONSE, "TREE_CONNECT_RESPONSE", "tree_connect_response"),
        (Event.TREE_DISCONNECT_REQUEST, "TREE_DISCONNECT_REQUEST", "tree_disconnect_request"),
        (Event.LOGOUT_REQUEST, "LOGOUT_REQUEST", "logout_request"),
        (Event.RPC_REQUEST, "RPC_REQUEST", "rpc_command"),
        (Event.RPC_RESPONSE, "RPC_RESPONSE", "rpc_command"),
        (Event.SPNEGO_AUTHEN_REQUEST, "SPNEGO_AUTHEN_REQUEST", "spnego_request"),
        (Event.SPNEGO_AUTHEN_RESPONSE, "SPNEGO_AUTHEN_RESPONSE", "spnego_response"),
        (Event.LOGIN_REQUEST_EXT, "LOGIN_REQUEST_EXT", "login_request"),
        (Event.LOGIN_RESPONSE_EXT, "LOGIN_RESPONSE_EXT", "login_response_ext"),
        (Attribute.HANDLE, "HANDLE", "uint32"),
        (Attribute.OPTION, "OPTION", "pair"),
        (Attribute.COMMENT, "COMMENT", "asciiz"),
        (Attribute.ENCRYPT, "ENCRYPT", "uint32"),
        (Attribute.FORCE_UID, "FORCE_UID", "uint32"),
        (Attribute.FORCE_GID, "FORCE_GID", "uint32"),
        (Attribute.ACCOUNT, "ACCOUNT", "asciiz"),
        (Attribute.SIZE, "SIZE", "uint32"),
        (Attribute.ADDRESS, "ADDRESS", "asciiz"),
        (Attribute.WORKERS, "WORKERS", "uint32"),
        (Attribute.BPF, "BPF", "uint32"),
        (Attribute.PID, "PID", "uint32"),
        (Attribute.BODY, "BODY", "asciiz"),
        (Attribute.REASON, "REASON", "asciiz"),
        (Attribute.LIFETIME, "LIFETIME", "uint32"),
        (Attribute.NT_STATUS, "NT_STATUS", "uint32"),
        (Attribute.SIDS, "SIDS", "asciiz"),
        (Attribute.WITHHELD, "WITHHELD", "uint32"),
    )

    class heartbeat(StructureAttribute):
        """ksmbd_heartbeat."""

        __slots__ = ()
        fields = (("handle", "I"),)

    class starting_up(StructureAttribute):
        """ksmbd_startup_request, packed: `max_ip_connections` is not aligned."""

        __slots__ = ()
        fields = (
            ("flags", "I"),
            ("signing", "i"),
            ("min_prot", "16s"),
            ("max_prot", "16s"),
            ("netbios_name", "16s"),
            ("work_group", "64s"),
            ("server_string", "64s"),
            ("tcp_port", "H"),
            ("ipc_timeout", "H"),
            ("deadtime", "I"),
            ("file_max", "I"),
            ("smb2_max_write", "I"),
            ("smb2_max_read", "I"),
            ("smb2_max_trans", "I"),
            ("share_fake_fscaps", "I"),
            ("sub_auth", "3I"),
            ("smb2_max_credits", "I"),
            ("smbd_max_io_size", "I"),
            ("max_connections", "I"),
            ("bind_interfaces_only", "b"),
            ("max_ip_connections", "I"),
            ("reserved", "499x"),
            ("ifc_list_sz", "I"),
            ("payload", ""),
        )
        tail = True

    class shutting_down(StructureAttribute):
        """ksmbd_shutdown_request."""

        __slots__ = ()
        fields = (("reserved", "64x"),)

    class login_request(StructureAttribute):
        """ksmbd_login_request, also of LOGIN_REQUEST_EXT."""

        __slots__ = ()
        fields = (("handle", "I"), ("account", _ACCOUNT), ("reserved", "64x"))

    class login_response(StructureAttribute):
        """ksmbd_login_response."""

        __slots__ = ()
        fields = (("handle", "I"), *_LOGIN_RESPONSE_FIELDS)

    class share_config_request(StructureAttribute):
        """ksmbd_share_config_request."""

        __slots__ = ()
        fields = (("handle", "I"), ("share_name", _SHARE), ("reserved", "64x"))

    class share_config_response(StructureAttribute):
        """ksmbd_share_config_response; the payload is the veto list (`veto_list_sz` bytes), a NUL, and the path."""

        __slots__ = ()
        fields = (
            ("handle", "I"),
            ("flags", "I"),
            ("create_mask", "H"),
            ("directory_mask", "H"),
            ("force_create_mode", "H"),
            ("force_directory_mode", "H"),
            ("force_uid", "H"),
            ("force_gid", "H"),
            ("share_name", _SHARE),
            ("reserved", "444x"),
            ("payload_sz", "I"),
            ("veto_list_sz", "I"),
            ("payload", ""),
        )
        tail = True

    class tree_connect_request(StructureAttribute):
        """ksmbd_tree_connect_request."""

        __slots__ = ()
        fields = (
            ("handle", "I"),
            ("account_flags", "H"),
            ("flags", "H"),
            ("session_id", "Q"),
            ("connect_id", "Q"),
            ("account", _ACCOUNT),
            ("share", _SHARE),
            ("peer_addr", "64s"),
            ("reserved", "64x"),
        )

    class tree_connect_response(StructureAttribute):
        """ksmbd_tree_connect_response."""

        __slots__ = ()
        fields = (("handle", "I"), ("status", "H"), ("connection_flags", "H"), ("reserved", "64x"))

    class tree_disconnect_request(StructureAttribute):
        """ksmbd_tree_disconnect_request."""

        __slots__ = ()
        fields = (("session_id", "Q"), ("connect_id", "Q"), ("reserved", "64x"))

    class logout_request(StructureAttribute):
        """ksmbd_logout_request."""

        __slots__ = ()
        fields = (("account", _ACCOUNT), ("account_flags", "I"), ("reserved", "64x"))

    class rpc_command(StructureAttribute):
        """ksmbd_rpc_command, request and response; `handle` names the pipe."""

        __slots__ = ()
        fields = (("handle", "I"), ("flags", "I"), ("payload_sz", "I"), ("payload", ""))
        tail = True

    class spnego_request(StructureAttribute):
        """ksmbd_spnego_authen_request; the blob begins at offset 6, before the padded end of the structure."""

        __slots__ = ()
        fields = (("handle", "I"), ("blob_len", "H"), ("payload", ""))
        tail = True

    class spnego_response(StructureAttribute):
        """ksmbd_spnego_authen_response: it contains a login response; the payload is session key and AP-REP."""

        __slots__ = ()
        fields = (
            ("handle", "I"),
            ("login_handle", "I"),
            *_LOGIN_RESPONSE_FIELDS,
            ("session_key_len", "H"),
            ("spnego_blob_len", "H"),
            ("payload", ""),
        )
        tail = True

    class login_response_ext(StructureAttribute):
        """ksmbd_login_response_ext; the payload is `ngroups` gids of 32 bits."""

        __slots__ = ()
        fields = (("handle", "I"), ("ngroups", "i"), ("reserved", "128x"), ("payload", ""))
        tail = True

    class pair(nla):  # type: ignore[misc]
        """A parameter: its name as in ksmbd.conf, and its value."""

        __slots__ = ()
        nla_map = ((1, "NAME", "asciiz"), (2, "VALUE", "asciiz"))


STRUCTURES: Final[Mapping[Event, type[StructureAttribute]]] = {
    Event(number): getattr(NetlinkMessage, kind)
    for number, _, kind in NetlinkMessage.nla_map
    if isinstance(number, Event)
}
"""KSMBD's message -> its structure."""
