# SPDX-License-Identifier: GPL-2.0-or-later
"""A limit on what a peer can hold or make the server do, the table of all of them, and `Meter`, which counts what is
held. The limits themselves are in ksmbd/limits.py."""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from typing import Final


class Per(Enum):
    """What a limit is counted for."""

    MESSAGE = "message"
    CONNECTION = "connection"
    SESSION = "session"
    TREE_CONNECT = "tree connect"
    OPEN = "open"
    FILE = "file"
    USER = "user"
    ADDRESS = "address"
    SHARE = "share"
    SERVER = "server"
    SECOND = "second"


@dataclass(frozen=True)
class Limit:
    """One limit. `beyond`: what happens to a client that wants more."""

    name: str
    per: Per
    value: int
    unit: str
    beyond: str
    parameter: str = ""
    """The parameter of ksmbd.conf that sets it; "" if there is none."""
    source: str = ""
    """The origin of the number."""


TABLE: Final[dict[str, Limit]] = {}
"""All limits, by name."""


def limit(
    name: str, per: Per, value: int, unit: str, beyond: str, parameter: str = "", source: str = ""
) -> Limit:
    if name in TABLE:
        raise ValueError(f"two limits are called {name}")
    made = Limit(name, per, value, unit, beyond, parameter, source=source)
    TABLE[name] = made
    return made


class Meter:
    """Counts what is held under one limit, by key (an address, a session, ...). A key with count 0 is forgotten."""

    __slots__ = ("limit", "maximum", "used", "peak", "refused", "_counts")

    def __init__(self, limit: Limit, maximum: int = 0) -> None:
        """`maximum`: the value of the parameter; 0: the value of the limit."""
        self.limit = limit
        self.maximum = maximum or limit.value
        self.used = 0
        """The sum over all keys."""
        self.peak = 0
        """The highest count that a key ever had."""
        self.refused = 0
        """How often `take` returned False."""
        self._counts: dict[object, int] = {}

    def take(self, key: object, n: int = 1) -> bool:
        """Count `n` more for `key`. False: that would exceed the limit, and nothing is counted."""
        count = self._counts.get(key, 0) + n
        if count > self.maximum:
            self.refused += 1
            return False
        self._counts[key] = count
        self.used += n
        if count > self.peak:
            self.peak = count
        return True

    def give(self, key: object, n: int = 1) -> None:
        """Count `n` less for `key`. Raises ValueError if it has fewer."""
        count = self._counts.get(key, 0) - n
        if count < 0:
            raise ValueError(f"{self.limit.name}: more is given back than was taken")
        if count:
            self._counts[key] = count
        else:
            self._counts.pop(key, None)
        self.used -= n

    def count(self, key: object) -> int:
        """The count of `key`."""
        return self._counts.get(key, 0)

    def __len__(self) -> int:
        """The number of keys with a count."""
        return len(self._counts)


def address_group(address: str) -> str:
    """The key that limits count an address under. An IPv6 host may use every address of its /64 network, so it is
    counted by this network. IPv4 and link-local addresses are counted as they are."""
    if ":" not in address:
        return address
    try:
        number = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.is_link_local or number.is_loopback or number.ipv4_mapped is not None:
        return address
    return f"{IPv6Address(int(number) >> 64 << 64)}/64"


# ------------------------------------------------------------------------------------------------------- connections
