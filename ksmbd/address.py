# SPDX-License-Identifier: GPL-2.0-or-later
"""IP addresses as text: an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2), ::ffff:192.0.2.7, stands for the IPv4 one."""
from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


def unmapped(address: Address) -> Address:
    """The IPv4 address of an IPv4-mapped IPv6 address; other addresses unchanged."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_address(text: str) -> Address:
    """An address without its scope (%eth0). Raises ValueError."""
    return unmapped(ip_address(text.partition("%")[0]))


def normal_address(text: str) -> str:
    """An address as the server writes a client's, with its scope. Raises ValueError."""
    text, percent, scope = text.strip().partition("%")
    return f"{parse_address(text)}{percent}{scope}"
