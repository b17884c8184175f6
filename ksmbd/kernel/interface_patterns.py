# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses the items of `interfaces`, as in Samba's smb.conf(5): the name of an interface, which may be a pattern (eth*),
an address, or an address or network with a mask; after a semicolon follow options that clients are told.

A network selects the addresses of this machine in it. An address with a mask selects that address if this machine has
it.
"""
from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Final

NAME_MAX: Final = 15
"""Longest name of an interface in bytes (IFNAMSIZ)."""
CAPABILITIES: Final = {"NONE": 0, "RSS": 0x1, "RDMA": 0x2}
"""MS-SMB2 2.2.32.5."""
_WILD: Final = frozenset("*?[")

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class InterfacePattern:
    """One item. `speed` is in bits per second; 0 and None: not specified."""

    text: str
    """The item without its options."""
    network: Interface | None = None
    """The address, with its mask if there is one; None: `text` is the name of an interface."""
    masked: bool = False
    speed: int = 0
    capability: int | None = None
    index: int = 0

    def names(self, interface: str) -> bool:
        """Whether the item selects the interface of this name."""
        if self.network is not None:
            return False
        if _WILD & set(self.text):
            return fnmatch.fnmatchcase(interface, self.text)
        return interface == self.text

    def covers(self, address: str, local: Container[str]) -> bool:
        """Whether the item selects `address`; `local` are all addresses of this machine."""
        if self.network is None:
            return False
        found = ipaddress.ip_address(address.partition("%")[0])
        if not self.masked or str(self.network.ip) in local:
            return found == self.network.ip
        return found.version == self.network.version and found in self.network.network and not found.is_link_local


def parse(item: str) -> InterfacePattern:
    """Parse one item. The ValueError says what is wrong."""
    text, semicolon, options = item.partition(";")
    text = text.strip()
    if not text:
        raise ValueError(f"{item}: an interface, an address or a network stands before the options")
    word = _base(text)
    if semicolon:
        for option in options.split(","):
            word = _with(word, option.strip(), item)
    return word


def _base(text: str) -> InterfacePattern:
    try:
        return InterfacePattern(text, ipaddress.ip_interface(text), "/" in text)
    except ValueError:
        pass
    numeric = text.replace(".", "").isdigit() and text.count(".") == 3
    if "/" in text or ":" in text or numeric or len(text.encode()) > NAME_MAX or any(c.isspace() for c in text):
        raise ValueError(f"{text}: neither an interface's name nor an address or network")
    return InterfacePattern(text)


def _with(word: InterfacePattern, option: str, item: str) -> InterfacePattern:
    """The item with one more option. Raises ValueError."""
    if not option:
        return word
    name, _, value = option.partition("=")
    name, value = name.strip().lower(), value.strip()
    if name == "speed" and value.isascii() and value.isdigit():
        return replace(word, speed=int(value))
    if name == "if_index" and value.isascii() and value.isdigit():
        return replace(word, index=int(value))
    if name == "capability" and value.upper() in CAPABILITIES:
        return replace(word, capability=(word.capability or 0) | CAPABILITIES[value.upper()])
    if name == "options" and value.lower() == "dynamic":
        return word  # interfaces that come and go are looked after in any case
    raise ValueError(f"{item}: the options are speed=, capability=RSS or RDMA, and if_index=")
