# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the network interfaces that carry connections, with addresses, speeds and queues, by rtnetlink and ethtool.

The list is cached until the kernel announces a change; announcements wait in a socket that is read only when the list
is needed.
"""
from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool
from pyroute2.iproute.linux import IPRoute

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_RUNNING: Final = 0x40
IFA_F_DEPRECATED: Final = 0x20
IFA_F_TENTATIVE: Final = 0x40
RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV6_IFADDR: Final = 0x100
_UNKNOWN_SPEEDS: Final = (0, 0xFFFFFFFF)
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
    ethtool = IoctlEthtool()
    try:
        ethtool.change_ifname(name)
        speed = int(ethtool.get_link_settings()["speed"])
    except (EthtoolError, OSError):
        return 0
    finally:
        ethtool.close()
    return 0 if speed in _UNKNOWN_SPEEDS else speed * _MEGABIT


def _usable(address: Any) -> bool:  # noqa: ANN401 - pyroute2's messages have no types
    flags = address.get_attr("IFA_FLAGS") or 0
    if flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED):
        return False
    # A link-local address means nothing without the client's own index of the link.
    return not (address["family"] == socket.AF_INET6 and (address.get_attr("IFA_ADDRESS") or "").startswith("fe80:"))


def addresses_of(links: Iterable[Any], addresses: Iterable[Any]) -> list[InterfaceAddress]:
    """The usable addresses of links that are up and have a carrier, from the answers of rtnetlink."""
    wanted = IFF_UP | IFF_RUNNING
    up = {link["index"]: link for link in links if link["flags"] & wanted == wanted}
    found = []
    for address in addresses:
        link = up.get(address["index"])
        if link is None or address["family"] not in (socket.AF_INET, socket.AF_INET6) or not _usable(address):
            continue
        name = link.get_attr("IFLA_IFNAME")
        # IFA_LOCAL is this end of a point-to-point link; IFA_ADDRESS is the other.
        text = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
        loopback = bool(link["flags"] & IFF_LOOPBACK)
        queues = link.get_attr("IFLA_NUM_RX_QUEUES") or 1
        found.append(
            InterfaceAddress(address["index"], name, text, 0 if loopback else link_speed(name), queues, loopback)
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
            with IPRoute() as route:
                self._known = addresses_of(list(route.get_links()), list(route.get_addr()))
        return self._known
