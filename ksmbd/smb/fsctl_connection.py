# SPDX-License-Identifier: GPL-2.0-or-later
"""FSCTLs about the connection and the server: VALIDATE_NEGOTIATE_INFO, network interfaces."""
from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from struct import Struct
from typing import Final

from ksmbd.smb.constants import DIALECT_300, DIALECT_311
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.settings import NetworkInterface
from ksmbd.smb.status import (
    STATUS_NOT_SUPPORTED,
    ConnectionFatal,
    NtStatusError,
)

_VALIDATE: Final = Struct("<I16sHH")
"""Capabilities, Guid, SecurityMode, and the request's DialectCount or the response's Dialect (2.2.31.4, 2.2.32.6)."""
_INTERFACE: Final = Struct("<IIIIQ")
"""Next, IfIndex, Capability, Reserved, LinkSpeed (2.2.32.5); SockAddr_Storage follows."""
_SOCKADDR_SIZE: Final = 128
_INTERFACE_SIZE: Final = _INTERFACE.size + _SOCKADDR_SIZE
_AF_INET: Final = 0x0002
_AF_INET6: Final = 0x0017


def validate_negotiate_info(control: Control) -> Output:
    """FSCTL_VALIDATE_NEGOTIATE_INFO (MS-SMB2 3.3.5.15.12): compare the client's record of the negotiation with the
    server's. A difference means that somebody changed the NEGOTIATE, so the connection ends without a reply
    (ConnectionFatal)."""
    connection = control.request.connection
    settings = control.request.server.settings
    if connection.dialect == DIALECT_311:
        raise ConnectionFatal("secure negotiate on 3.1.1, which has preauthentication integrity instead")
    if control.limit < _VALIDATE.size:
        raise ConnectionFatal("secure negotiate without room for its answer")
    try:
        reader = control.reader(_VALIDATE.size)
        capabilities, guid, mode, count = reader.unpack(_VALIDATE)
        dialects = [reader.u16() for _ in range(count)]
    except NtStatusError as error:
        raise ConnectionFatal("secure negotiate: a malformed request") from error
    common = [dialect for dialect in dialects if settings.min_dialect <= dialect <= settings.max_dialect]
    if tuple(dialects) != connection.client_dialects or max(common, default=0) != connection.dialect:
        raise ConnectionFatal("secure negotiate: other dialects")
    if guid != connection.client_guid or mode != connection.client_security_mode:
        raise ConnectionFatal("secure negotiate: another client GUID or security mode")
    # A connection of a 2.x dialect keeps no client capabilities (MS-SMB2 3.3.1.7, 2.2.3).
    if connection.dialect >= DIALECT_300 and capabilities != connection.client_capabilities:
        raise ConnectionFatal("secure negotiate: other capabilities")
    return Output(
        _VALIDATE.pack(
            connection.server_capabilities, settings.server_guid, connection.server_security_mode, connection.dialect
        )
    )


def _interface(interface: NetworkInterface) -> bytes:
    address = ip_address(interface.address.partition("%")[0])
    if isinstance(address, IPv4Address):
        storage = _AF_INET.to_bytes(2, "little") + bytes(2) + address.packed
    else:
        storage = _AF_INET6.to_bytes(2, "little") + bytes(6) + address.packed + bytes(4)
    head = _INTERFACE.pack(0, interface.index, interface.capability, 0, interface.link_speed)
    return head + storage.ljust(_SOCKADDR_SIZE, b"\0")


def query_network_interface_info(control: Control) -> Output:
    """FSCTL_QUERY_NETWORK_INTERFACE_INFO (MS-SMB2 3.3.5.15.11), for SMB 3.x with multichannel alone: a chain of
    NETWORK_INTERFACE_INFO. Whether the client named multichannel in its NEGOTIATE does not count: some ask first."""
    settings = control.request.server.settings
    if control.request.connection.dialect < DIALECT_300 or not settings.multichannel:
        raise NtStatusError(STATUS_NOT_SUPPORTED)
    interfaces = settings.interfaces(control.request.connection.transport.local)
    control.need(max(len(interfaces), 1) * _INTERFACE_SIZE)
    out = bytearray(b"".join(map(_interface, interfaces)))
    for index in range(len(interfaces) - 1):
        start = index * _INTERFACE_SIZE
        out[start : start + 4] = _INTERFACE_SIZE.to_bytes(4, "little")
    return Output(out)
