# SPDX-License-Identifier: GPL-2.0-or-later
"""Selects the addresses that clients may open further channels to (FSCTL_QUERY_NETWORK_INTERFACE_INFO)."""
from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from ksmbd import log
from ksmbd.kernel import interface_patterns
from ksmbd.kernel.interface_patterns import InterfacePattern
from ksmbd.kernel.interfaces import InterfaceAddress, Interfaces
from ksmbd.smb.settings import NetworkInterface

RSS_CAPABLE: Final = 0x1
"""MS-SMB2 2.2.32.5: the client may open several connections to this address."""
DEFAULT_SPEED: Final = 1_000_000_000
"""Assumed speed in bits per second (1 Gbit/s) where the driver reports none, since clients compare speeds."""


def _words(items: Iterable[str]) -> list[InterfacePattern]:
    """The parsed items of `interfaces`. Invalid ones were reported when the configuration was read."""
    words = []
    for item in items:
        with contextlib.suppress(ValueError):
            words.append(interface_patterns.parse(item))
    return words


def choose(found: Iterable[InterfaceAddress], wanted: tuple[str, ...], local: str) -> list[NetworkInterface]:
    """The interfaces to report to a client that connected to the local address `local`: those that `interfaces`
    selects, else all, with the speed, capability and index that it sets.

    Loopback addresses are reported only to clients that connected to one, because on another machine they mean that
    machine."""
    try:
        from_here = ipaddress.ip_address(local.partition("%")[0]).is_loopback
    except ValueError:
        from_here = False
    every, words = list(found), _words(wanted)
    addresses = {one.address for one in every}
    told = []
    for one in every:
        if one.loopback and not from_here:
            continue
        word = next((word for word in words if word.names(one.name) or word.covers(one.address, addresses)), None)
        if wanted and word is None:
            continue
        speed, capability = one.speed or DEFAULT_SPEED, RSS_CAPABLE if one.receive_queues > 1 else 0
        index = one.link
        if word is not None:
            speed, index = word.speed or speed, word.index or index
            capability = capability if word.capability is None else word.capability
        told.append(NetworkInterface(index, capability, speed, one.address))
    return told


def network_interfaces(wanted: tuple[str, ...]) -> Callable[[str], list[NetworkInterface]]:
    """The function ServerSettings.interfaces of a worker. If the kernel does not answer, it reports no addresses."""
    interfaces: list[Interfaces] = []

    def ask(local: str) -> list[NetworkInterface]:
        try:
            if not interfaces:
                interfaces.append(Interfaces())
            return choose(interfaces[0].addresses(), wanted, local)
        except OSError as error:
            log.warning(f"network interfaces cannot be listed: {error}")
            return []

    return ask
