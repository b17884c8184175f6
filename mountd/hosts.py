# SPDX-License-Identifier: GPL-2.0-or-later
"""`hosts allow` and `hosts deny`: addresses, networks (/24 or /255.255.255.0), beginnings of addresses (192.168.),
ALL, localhost, and EXCEPT, which takes what follows out of what stands before it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """An address without scope, IPv4 where it was mapped into IPv6; None: not an address."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def matches(address: Address, items: Sequence[str]) -> bool:
    """Whether the list names the address."""
    upper = [item.upper() for item in items]
    if "EXCEPT" in upper:
        split = upper.index("EXCEPT")
        return matches(address, items[:split]) and not matches(address, items[split + 1 :])
    return any(_matches_item(address, item) for item in items)


def _matches_item(address: Address, item: str) -> bool:
    if item.upper() == "ALL":
        return True
    if item.lower() == "localhost":
        return address.is_loopback
    if item.endswith("."):
        return address.version == 4 and str(address).startswith(item)
    try:
        return address in ipaddress.ip_network(item, strict=False)
    except ValueError:
        return False


def admitted(peer: str, allow: Sequence[str], deny: Sequence[str]) -> bool:
    """Whether a client may use the share. A match in `allow` goes before one in `deny`; with `allow` alone nobody else
    is let in; this machine is always let in unless `deny` names it."""
    if not allow and not deny:
        return True
    address = parse_address(peer)
    if address is None:
        return False
    if allow and matches(address, allow):
        return True
    if deny:
        return not matches(address, deny)
    return address.is_loopback
