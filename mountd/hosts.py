# SPDX-License-Identifier: GPL-2.0-or-later
"""`hosts allow` and `hosts deny`: what their items mean, and whether a client is let in. Pure decisions.

The forms are those of hosts_access(5) and Samba's smb.conf(5):
- an address, IPv6 also in brackets; a network as 10.1.0.0/16 or 10.1.0.0/255.255.0.0; the beginning of an IPv4 address
  with its dot (192.168.);
- a host's name, a domain with its dot before it (.example.org), a pattern with * and ?, a netgroup (@group);
- ALL, LOCAL (a name without a dot), KNOWN, UNKNOWN, PARANOID (a name that does not lead back to the address),
  localhost, FAIL (nobody); EXCEPT takes what follows out of what stands before it.

A listed name means the addresses that it has. Where the client's own name is asked for it is the one that its address
has and that leads back to the address; `hosts deny` also takes it at its word. What cannot be looked up is unknown, and
who is not known to be let in, or not known not to be kept out, is refused.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Truth = bool | None
"""None: not known."""

_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE | re.ASCII)
_DOMAIN: Final = re.compile(r"(\.[a-z0-9_-]{1,63})+\.?", re.IGNORECASE | re.ASCII)
_PATTERN: Final = re.compile(r"[a-z0-9_.:*?-]+", re.IGNORECASE | re.ASCII)
_BEGINNING: Final = re.compile(r"([0-9]{1,3}\.){1,3}")
_KEYWORDS: Final = ("ALL", "LOCAL", "KNOWN", "UNKNOWN", "PARANOID", "FAIL")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
ITEMS_MAX: Final = 1000
"""Items of one list."""


@dataclass(frozen=True)
class PeerNames:
    """The names of an address: those that lead back to it, and those that do not."""

    confirmed: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()


class Names(Protocol):
    """What is known of names; None: not (yet) known."""

    def addresses(self, name: str) -> frozenset[Address] | None: ...
    def names_of(self, address: Address) -> PeerNames | None: ...
    def in_netgroup(self, group: str, address: Address) -> Truth: ...


class NoNames:
    """Nothing is known of names."""

    def addresses(self, name: str) -> frozenset[Address] | None:
        """Not known."""
        return None

    def names_of(self, address: Address) -> PeerNames | None:
        """Not known."""
        return None

    def in_netgroup(self, group: str, address: Address) -> Truth:
        """Not known."""
        return None


def unmapped(address: Address) -> Address:
    """IPv4 where it was mapped into IPv6."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_address(text: str) -> Address | None:
    """An address without scope, IPv4 where it was mapped into IPv6; None: not an address."""
    try:
        return unmapped(ipaddress.ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def _network(text: str) -> Network:
    """ADDRESS/BITS or ADDRESS/MASK; ValueError."""
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
"""(the client, what is known of names, whether names are taken at their word) -> whether the item means it."""


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
    """A host's name in one spelling."""
    return name.rstrip(".").lower()


def parse_item(item: str) -> Match:
    """What one item means. ValueError: why it means nothing."""
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
    """The hosts' names that a list has, whose addresses will be asked for."""
    found = []
    for item in items:
        special = item.upper() in (*_KEYWORDS, "EXCEPT", "LOCALHOST") or item[:1] in "@./" or set(item) & set("*?/")
        if not special and parse_address(item) is None and not _BEGINNING.fullmatch(item) and _NAME.fullmatch(item):
            found.append(bare(item))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class HostList:
    """A list: any of `items`, but for what `but` means."""

    items: tuple[Match, ...]
    but: HostList | None = None

    def matches(self, address: Address, names: Names, trusting: bool) -> Truth:
        """Whether the list means the address. `trusting`: names are taken at their word where that matches more."""
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
    """Whether one of them holds; not known where that hangs on one that is not known."""
    unknown = False
    for test in tests:
        truth = test()
        if truth:
            return True
        unknown = unknown or truth is None
    return None if unknown else False


def parse_list(items: Sequence[str]) -> HostList:
    """A list's items. ValueError: which one means nothing, and why."""
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
    """Whether a client may use the share. A match in `allow` goes before one in `deny`; with `allow` alone nobody else
    is let in; this machine is always let in unless `deny` names it. None: that hangs on a name that is not known."""
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
