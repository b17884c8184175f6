# SPDX-License-Identifier: GPL-2.0-or-later
"""The addresses by which clients may come with further channels (FSCTL_QUERY_NETWORK_INTERFACE_INFO)."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from ksmbd import log
from ksmbd.kernel.interfaces import InterfaceAddress, Interfaces
from ksmbd.smb.model import NetworkInterface

RSS_CAPABLE: Final = 0x1
"""MS-SMB2 2.2.32.5: the client may open several connections to this address."""
DEFAULT_SPEED: Final = 1_000_000_000
"""Where the driver does not tell one: a client that compares speeds needs some number (1 Gbit/s)."""


def _matches(found: InterfaceAddress, wanted: Iterable[str]) -> bool:
    """Whether a word of `interfaces` names it: an interface's name, an address, or address/mask."""
    address = ipaddress.ip_address(found.address)
    for word in wanted:
        if word == found.name:
            return True
        try:
            network = ipaddress.ip_interface(word)
        except ValueError:
            continue
        if address == network.ip or ("/" in word and address in network.network):
            return True
    return False


def choose(found: Iterable[InterfaceAddress], wanted: tuple[str, ...], local: str) -> list[NetworkInterface]:
    """What to tell a client that came in at the address `local`: what `interfaces` names, or all of them.

    The loopback's addresses are told only to who came in there, since they mean another machine everywhere else."""
    try:
        from_here = ipaddress.ip_address(local.partition("%")[0]).is_loopback
    except ValueError:
        from_here = False
    return [
        NetworkInterface(
            one.link, RSS_CAPABLE if one.receive_queues > 1 else 0, one.speed or DEFAULT_SPEED, one.address
        )
        for one in found
        if (not one.loopback or from_here) and (not wanted or _matches(one, wanted))
    ]


def network_interfaces(wanted: tuple[str, ...]) -> Callable[[str], list[NetworkInterface]]:
    """ServerSettings.interfaces in a worker. A kernel that does not answer is no reason to fail: no addresses."""
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
