# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the network interfaces that carry connections, with addresses, speeds and queues, by rtnetlink and ethtool.

The list is cached until the kernel announces a change; announcements wait in a socket that is read only when the list
is needed.
"""
from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final, NamedTuple

from ksmbd.kernel import rtnetlink
from ksmbd.kernel.rtnetlink import Link, LinkAddress

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_RUNNING: Final = 0x40
IFA_F_DEPRECATED: Final = 0x20
IFA_F_TENTATIVE: Final = 0x40
RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV6_IFADDR: Final = 0x100
_UNKNOWN_SPEEDS: Final = (0, 0xFFFF, 0xFFFFFFFF)
_MEGABIT: Final = 1_000_000


class InterfaceAddress(NamedTuple):
    """One address of an interface that is up."""

    link: int
    name: str
    address: str
    speed: int
    """Bits per second, 0 where the driver does not tell (loopback, tunnels, virtual machines' cards)."""
    receive_queues: int
    loopback: bool


def link_speed(name: str) -> int:
    """The speed of an interface in bits per second by ethtool, 0 if unknown."""
    speed = rtnetlink.link_speed(name)
    return 0 if speed in _UNKNOWN_SPEEDS else speed * _MEGABIT


def _usable(address: LinkAddress) -> bool:
    if not address.address or address.flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED):
        return False
    # A link-local address means nothing without the client's own index of the link.
    return not (address.family == socket.AF_INET6 and address.address.startswith("fe80:"))


def addresses_of(links: Iterable[Link], addresses: Iterable[LinkAddress]) -> list[InterfaceAddress]:
    """The usable addresses of links that are up and have a carrier, from the answers of rtnetlink."""
    wanted = IFF_UP | IFF_RUNNING
    up = {link.number: link for link in links if link.flags & wanted == wanted}
    found = []
    for address in addresses:
        link = up.get(address.link)
        if link is None or address.family not in (socket.AF_INET, socket.AF_INET6) or not _usable(address):
            continue
        loopback = bool(link.flags & IFF_LOOPBACK)
        speed = 0 if loopback else link_speed(link.name)
        found.append(
            InterfaceAddress(link.number, link.name, address.address, speed, link.receive_queues or 1, loopback)
        )
    return found


class Interfaces:
    """The current usable addresses. Must not be made before a fork."""

    def __init__(self) -> None:
        self._changes = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._changes.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        self._known: list[InterfaceAddress] | None = None

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._changes.close()

    def _changed(self) -> bool:
        changed = False
        while True:
            try:
                self._changes.recv(1)
            except BlockingIOError:
                return changed
            except OSError:
                pass  # ENOBUFS: more announcements than the socket holds
            changed = True

    def addresses(self) -> list[InterfaceAddress]:
        """All usable addresses. Raises OSError."""
        if self._changed() or self._known is None:
            self._known = addresses_of(rtnetlink.links(), rtnetlink.addresses())
        return self._known
