# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the kernel for all links and all addresses of this network namespace (rtnetlink(7))."""
from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

RTM_GETLINK: Final = 18
RTM_GETADDR: Final = 22
IFLA_IFNAME: Final = 3
IFLA_NUM_RX_QUEUES: Final = 32
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_FLAGS: Final = 8
NLM_F_REQUEST: Final = 0x1
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
_LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, change."""
_ADDRESS: Final = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index of the link."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_NUMBER: Final = struct.Struct("=I")
_CODE: Final = struct.Struct("=i")
_SECONDS: Final = 5.0
_RECEIVE: Final = 256 << 10


class Link(NamedTuple):
    """A network interface."""

    number: int
    """The index of the link."""
    name: str
    flags: int
    """IFF_ flags."""
    receive_queues: int


class LinkAddress(NamedTuple):
    """An address of an interface."""

    link: int
    family: int
    address: str
    """This machine's, as text; '' in a family other than AF_INET and AF_INET6."""
    flags: int
    """IFA_F_ flags."""


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """Attribute type -> value, of those that are whole (struct rtattr)."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > len(data):
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + size]
        offset += -(-size // 4) * 4
    return found


def link_of(body: bytes) -> Link:
    """The link of a RTM_NEWLINK."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    queues = found.get(IFLA_NUM_RX_QUEUES, b"")
    return Link(
        index, os.fsdecode(found.get(IFLA_IFNAME, b"").partition(b"\0")[0]), flags,
        _NUMBER.unpack(queues)[0] if len(queues) == _NUMBER.size else 1,
    )  # fmt: skip


def address_of(body: bytes) -> LinkAddress:
    """The address of a RTM_NEWADDR. IFA_LOCAL is this end of a point-to-point link; IFA_ADDRESS is the other."""
    family, _, flags, _, index = _ADDRESS.unpack_from(body)
    found = attributes(body, _ADDRESS.size)
    more = found.get(IFA_FLAGS, b"")
    if len(more) == _NUMBER.size:
        flags = _NUMBER.unpack(more)[0]  # all of them, where the header has the first eight
    data = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS) or b""
    wanted = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    return LinkAddress(index, family, socket.inet_ntop(family, data) if len(data) == wanted else "", flags)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over (type, body) of the messages of one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += -(-length // 4) * 4


def dump(kind: int) -> list[bytes]:
    """The bodies of all answers to RTM_GETLINK or RTM_GETADDR. Raises OSError."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(_SECONDS)
        body = bytes(_LINK.size)  # of any family; RTM_GETADDR takes a longer header, too
        sock.send(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        while True:
            for got, body in messages(sock.recv(_RECEIVE)):
                if got == NLMSG_DONE:
                    return found
                if got == NLMSG_ERROR:
                    code = -_CODE.unpack_from(body)[0]
                    raise OSError(code, os.strerror(code))
                if got == kind - 2:  # RTM_NEWLINK, RTM_NEWADDR
                    found.append(body)


def links() -> list[Link]:
    """All links. Raises OSError."""
    return [link_of(body) for body in dump(RTM_GETLINK)]


def addresses() -> list[LinkAddress]:
    """All addresses. Raises OSError."""
    return [address_of(body) for body in dump(RTM_GETADDR)]
