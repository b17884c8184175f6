# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses the lists `hosts allow` and `hosts deny`, and decides whether they admit a client, without side effects.

The forms are those of hosts_access(5) and Samba's smb.conf(5):
- an address, IPv6 also in brackets; a network as 10.1.0.0/16 or 10.1.0.0/255.255.0.0; the beginning of an IPv4 address,
  which ends with a dot (192.168.);
- a host name, a domain with a leading dot (.example.org), a pattern with * and ?, a netgroup (@group);
- ALL, LOCAL (a name without a dot), KNOWN, UNKNOWN, PARANOID (a name that does not resolve back to the address),
  localhost, FAIL (nobody); in `A EXCEPT B`, the items of B are excluded from A.

A listed host name stands for its addresses. The other forms compare the client's own names: those that its address
resolves to and that resolve back to the address; `hosts deny` also matches names that do not resolve back. If a look-up
fails, the result is unknown, and a client that is not known to be admitted is refused.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ksmbd import address as addresses
from ksmbd.address import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Truth = bool | None
"""True, False, or None: not known."""

_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE | re.ASCII)
_DOMAIN: Final = re.compile(r"(\.[a-z0-9_-]{1,63})+\.?", re.IGNORECASE | re.ASCII)
_PATTERN: Final = re.compile(r"[a-z0-9_.:*?-]+", re.IGNORECASE | re.ASCII)
_BEGINNING: Final = re.compile(r"([0-9]{1,3}\.){1,3}")
_KEYWORDS: Final = ("ALL", "LOCAL", "KNOWN", "UNKNOWN", "PARANOID", "FAIL")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
ITEMS_MAX: Final = 1000
"""Items of one list at most."""


@dataclass(frozen=True)
class PeerNames:
    """The names of an address: `confirmed` ones resolve back to it, `claimed` ones do not."""

    confirmed: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()


class Names(Protocol):
    """Look-ups of names that do not block; the result None means not known (yet)."""

    def addresses(self, name: str) -> frozenset[Address] | None: ...
    def names_of(self, address: Address) -> PeerNames | None: ...
    def in_netgroup(self, group: str, address: Address) -> Truth: ...


class NoNames:
    """Names where nothing is known."""

    def addresses(self, name: str) -> frozenset[Address] | None:
        """Not known."""
        return None

    def names_of(self, address: Address) -> PeerNames | None:
        """Not known."""
        return None

    def in_netgroup(self, group: str, address: Address) -> Truth:
        """Not known."""
        return None


def parse_address(text: str) -> Address | None:
    """Parse an address, without its scope; an IPv4-mapped one becomes IPv4. None: it is no address."""
    try:
        return addresses.parse_address(text.strip("[]"))
    except ValueError:
        return None


def _network(text: str) -> Network:
    """Parse ADDRESS/BITS or ADDRESS/MASK. Raises ValueError."""
    if "%" in text:
        raise ValueError("a network has no scope")
    address, slash, mask = text.partition("/")
    network = ipaddress.ip_network(address.strip("[]") + slash + mask, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        assert mapped is not None
        return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


# ------------------------------------------------------------------------------------------------------------- items

Match = Callable[[Address, Names, bool], Truth]
"""(the client's address, names, whether claimed names count, too) -> whether the item matches the client."""


def _by_name(test: Callable[[str], bool]) -> Match:
    def match(address: Address, names: Names, trusting: bool) -> Truth:
        found = names.names_of(address)
        if found is None:
            return None
        return any(map(test, (*found.confirmed, *found.claimed) if trusting else found.confirmed))

    return match


def _host(name: str) -> Match:
    def match(address: Address, names: Names, trusting: bool) -> Truth:
        found = names.addresses(name)
        return None if found is None else address in found

    return match


def _either(one: Match, other: Match) -> Match:
    def match(address: Address, names: Names, trusting: bool) -> Truth:
        return any_of((lambda: one(address, names, trusting), lambda: other(address, names, trusting)))

    return match


def _keyword(word: str) -> Match:
    if word == "ALL":
        return lambda address, names, trusting: True
    if word == "FAIL":
        return lambda address, names, trusting: False
    if word == "LOCAL":
        return _by_name(lambda name: "." not in name)

    def match(address: Address, names: Names, trusting: bool) -> Truth:
        found = names.names_of(address)
        if found is None:
            return None
        if word == "KNOWN":
            return bool(found.confirmed)
        return bool(found.claimed) if word == "PARANOID" else not found.confirmed

    return match


def bare(name: str) -> str:
    """A host name in lower case without its final dot, for comparison."""
    return name.rstrip(".").lower()


def parse_item(item: str) -> Match:
    """Parse one item. Raises ValueError with the reason."""
    if item.upper() in _KEYWORDS:
        return _keyword(item.upper())
    if item.lower() == "localhost":
        return lambda address, names, trusting: address.is_loopback
    if item.startswith("@"):
        group = item[1:]
        if not group or "@" in group:
            raise ValueError("it is no netgroup's name")
        return lambda address, names, trusting: names.in_netgroup(group, address)
    if "@" in item:
        raise ValueError("users of other machines cannot be told apart")
    if item.startswith("/"):
        raise ValueError("files of patterns are not read")
    if _BEGINNING.fullmatch(item):
        return lambda address, names, trusting: address.version == 4 and str(address).startswith(item)
    if "/" in item:
        try:
            network = _network(item)
        except ValueError as error:
            raise ValueError(str(error)) from None
        return lambda address, names, trusting: address.version == network.version and address in network
    if (exact := parse_address(item)) is not None:
        return lambda address, names, trusting: address == exact
    return _parse_name(item)


def _parse_name(item: str) -> Match:
    """`parse_item` for a host's name, a domain and a pattern of names or addresses."""
    if _DOMAIN.fullmatch(item):
        suffix = bare(item)
        return _by_name(lambda name: bare(name).endswith(suffix))
    if ("*" in item or "?" in item) and _PATTERN.fullmatch(item):
        pattern = item.lower()
        numbers: Match = lambda address, names, trusting: fnmatch.fnmatchcase(str(address), pattern)  # noqa: E731
        if re.search(r"[g-z]", pattern) is None and re.search(r"[0-9]", pattern):
            return numbers
        return _either(numbers, _by_name(lambda name: fnmatch.fnmatchcase(bare(name), pattern)))
    if _NAME.fullmatch(item):
        if item.rstrip(".").rpartition(".")[2].isdigit():
            raise ValueError("it is neither an address nor a name; the beginning of an address ends with a dot")
        return _host(bare(item))
    raise ValueError("it is neither an address, a network nor a name")


def host_names(items: Sequence[str]) -> list[str]:
    """The host names in a list, whose addresses must be looked up."""
    found = []
    for item in items:
        special = item.upper() in (*_KEYWORDS, "EXCEPT", "LOCALHOST") or item[:1] in "@./" or set(item) & set("*?/")
        if not special and parse_address(item) is None and not _BEGINNING.fullmatch(item) and _NAME.fullmatch(item):
            found.append(bare(item))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class HostList:
    """A parsed list: it matches what any of `items` matches, except what `but` matches."""

    items: tuple[Match, ...]
    but: HostList | None = None

    def matches(self, address: Address, names: Names, trusting: bool) -> Truth:
        """Whether the list matches the address. `trusting`: claimed names count, too (after EXCEPT the opposite)."""
        inside = any_of([_call(item, address, names, trusting) for item in self.items])
        if inside is False or self.but is None:
            return inside
        outside = self.but.matches(address, names, not trusting)
        if outside:
            return False
        return inside if outside is False else None


def _call(item: Match, address: Address, names: Names, trusting: bool) -> Callable[[], Truth]:
    return lambda: item(address, names, trusting)


def any_of(tests: Sequence[Callable[[], Truth]]) -> Truth:
    """True if one test is true; None if none is true and one is not known; else False."""
    unknown = False
    for test in tests:
        truth = test()
        if truth:
            return True
        unknown = unknown or truth is None
    return None if unknown else False


def parse_list(items: Sequence[str]) -> HostList:
    """Parse a list. Raises ValueError, which names the wrong item and the reason."""
    if len(items) > ITEMS_MAX:
        raise ValueError(f"at most {ITEMS_MAX} items")
    upper = [item.upper() for item in items]
    split = upper.index("EXCEPT") if "EXCEPT" in upper else len(items)
    if split < len(items) and split in (0, len(items) - 1):
        raise ValueError("EXCEPT between two lists")
    found: list[Match] = []
    for item in items[:split]:
        try:
            found.append(parse_item(item))
        except ValueError as error:
            raise ValueError(
                f"addresses, networks, names, .domains, @netgroups, ALL, LOCAL and EXCEPT: {item}: {error}"
            ) from None
    return HostList(tuple(found), parse_list(items[split + 1 :]) if split < len(items) else None)


def admitted(peer: str, allow: Sequence[str], deny: Sequence[str], names: Names = NoNames()) -> Truth:  # noqa: B008
    """Whether the client with the address `peer` may use the share; None: that depends on a name that is not known.

    A match in `allow` takes precedence over one in `deny`. With `allow` only, no other client is admitted. This machine
    is always admitted unless `deny` matches it."""
    if not allow and not deny:
        return True
    address = parse_address(peer)
    if address is None:
        return False
    inside = parse_list(allow).matches(address, names, False) if allow else False
    if inside:
        return True
    if not deny:
        return True if address.is_loopback else inside
    kept_out = parse_list(deny).matches(address, names, True)
    if kept_out is None:
        return None
    return inside if kept_out else True
