# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of `interfaces`, as Samba's smb.conf(5) has them: an interface's name, which may be a pattern (eth*), an
address, or an address or network with its mask; behind a semicolon options of what clients are told of it.

A network means the addresses of this machine in it. An address with a mask is that address where this machine has it.
"""
from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Final

NAME_MAX: Final = 15
"""Bytes of an interface's name (IFNAMSIZ)."""
CAPABILITIES: Final = {"NONE": 0, "RSS": 0x1, "RDMA": 0x2}
"""MS-SMB2 2.2.32.5."""
_WILD: Final = frozenset("*?[")

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class InterfacePattern:
    """One word. `speed` in bits per second; 0 and None where the word says nothing."""

    text: str
    """Without the options."""
    network: Interface | None = None
    """The address, with its mask where there is one; None: an interface's name."""
    masked: bool = False
    speed: int = 0
    capability: int | None = None
    index: int = 0

    def names(self, interface: str) -> bool:
        """Whether it means the interface of this name."""
        if self.network is not None:
            return False
        if _WILD & set(self.text):
            return fnmatch.fnmatchcase(interface, self.text)
        return interface == self.text

    def covers(self, address: str, local: Container[str]) -> bool:
        """Whether it means an address of this machine, whose addresses are `local`."""
        if self.network is None:
            return False
        found = ipaddress.ip_address(address.partition("%")[0])
        if not self.masked or str(self.network.ip) in local:
            return found == self.network.ip
        return found.version == self.network.version and found in self.network.network and not found.is_link_local


def parse(item: str) -> InterfacePattern:
    """One item of the list. ValueError: why it is none."""
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
    """The word with one option more."""
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
