# SPDX-License-Identifier: GPL-2.0-or-later
"""`hosts allow` and `hosts deny`: every form of an item, names known, claimed and not known; the two lists."""
from __future__ import annotations

import ipaddress

import pytest

from ksmbd.address import Address
from mountd import config
from mountd.hosts import NoNames, PeerNames, Truth, admitted, host_names, parse_address, parse_list

A, B, SIX = "192.0.2.1", "192.0.2.99", "2001:db8::5"


class Book:
    """Names as the test says; None where nothing is known."""

    def __init__(self) -> None:
        self.forward: dict[str, frozenset[Address] | None] = {
            "client.example": frozenset({ipaddress.ip_address(A)}), "nobody.example": frozenset(), "lost.example": None,
        }  # fmt: skip
        self.peers: dict[str, PeerNames | None] = {
            A: PeerNames(("client.example",)), B: PeerNames((), ("liar.example",)), "192.0.2.50": None,
            "192.0.2.60": PeerNames(("single",)), SIX: PeerNames(("six.sub.example.",)),
        }  # fmt: skip

    def addresses(self, name: str) -> frozenset[Address] | None:
        return self.forward.get(name, frozenset())

    def names_of(self, address: Address) -> PeerNames | None:
        return self.peers.get(str(address), PeerNames())

    def in_netgroup(self, group: str, address: Address) -> Truth:
        return None if group == "lost" else str(address) == A and group == "trusted"


@pytest.mark.parametrize("item, address, matches", [
    ("ALL", A, True), ("all", SIX, True), ("FAIL", A, False),
    (A, A, True), (A, B, False), (f"::ffff:{A}", A, True), (A, f"::ffff:{A}", True),
    (SIX, SIX, True), (f"[{SIX}]", SIX, True), ("[2001:db8::]/32", SIX, True), ("[2001:db8::1]/64", SIX, True),
    ("2001:db8::/32", A, False), ("0.0.0.0/0", SIX, False), ("::/0", A, False), ("::ffff:192.0.2.0/120", A, True),
    ("::ffff:192.0.2.0/128", A, False), ("192.0.2.0/24", A, True), ("192.0.2.77/24", A, True),
    ("192.0.2.0/255.255.255.0", A, True), ("192.0.3.0/255.255.255.0", A, False), ("192.", A, True),
    ("192.0.2.", A, True), ("192.0.20.", A, False), ("19.", A, False), ("192.0.2.*", A, True), ("192.0.?.1", A, True),
    ("localhost", "127.0.0.1", True), ("localhost", "::1", True), ("LOCALHOST", A, False),
    ("localhost", "127.9.9.9", True),
    ("client.example", A, True), ("CLIENT.Example.", A, True), ("client.example", B, False),
    ("nobody.example", A, False),
    ("lost.example", A, None), (".example", A, True), (".EXAMPLE", SIX, True), (".sub.example", A, False),
    (".example", B, False), (".example", "192.0.2.50", None), ("*.example", A, True), ("cl*.ex?mple", A, True),
    ("*.example", "192.0.2.50", None), ("LOCAL", "192.0.2.60", True), ("LOCAL", A, False),
    ("LOCAL", "192.0.2.50", None),
    ("KNOWN", A, True), ("KNOWN", B, False), ("UNKNOWN", B, True), ("UNKNOWN", A, False), ("PARANOID", B, True),
    ("PARANOID", A, False), ("UNKNOWN", "192.0.2.50", None), ("@trusted", A, True), ("@trusted", B, False),
    ("@other", A, False), ("@lost", A, None),
])  # fmt: skip
def test_items(item: str, address: str, matches: bool | None) -> None:
    found = parse_address(address)
    assert found is not None
    assert parse_list([item]).matches(found, Book(), False) is matches


@pytest.mark.parametrize("items", [
    ["300.1.1.1"], ["192.168"], ["10.0.0.0/33"], ["10.0.0.0/255.0.255.0"], ["2001:db8:"], ["[2001:db8::]/200"],
    ["/etc/hosts.allow"], ["user@host"], ["@"], ["EXCEPT", A], [A, "EXCEPT"], ["a b"], ["-x"], ["ex ample.org"],
    ["a..b"],
    ["ALL", "EXCEPT", "1.2"], ["ho$t"], ["192.0.2.1.5"], ["fe80::1%eth0/64"],
])  # fmt: skip
def test_what_means_nothing_stops_the_start(items: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_list(items)
    if " " not in "".join(items):
        for name in ("hosts allow", "hosts deny"):
            found = config.parse(f"[s]\npath = /s\n{name} = {' '.join(items)}\n", "x.conf")
            (error,) = found.errors
            assert error.line == 3 and name in error.message


@pytest.mark.parametrize("items, address, matches", [
    (["ALL", "EXCEPT", A], A, False), (["ALL", "EXCEPT", A], B, True), (["192.0.2.", "except", ".example"], A, False),
    (["ALL", "EXCEPT", "192.0.2.", "EXCEPT", A], A, True), (["ALL", "EXCEPT", "192.0.2.", "EXCEPT", A], B, False),
    (["ALL", "EXCEPT", "lost.example"], A, None), ([B, "EXCEPT", "lost.example"], A, False),
    (["lost.example", A], A, True), (["lost.example", B], A, None), (["lost.example", "EXCEPT", A], A, False),
])  # fmt: skip
def test_except(items: list[str], address: str, matches: bool | None) -> None:
    found = parse_address(address)
    assert found is not None
    assert parse_list(items).matches(found, Book(), False) is matches


@pytest.mark.parametrize("peer, allow, deny, inside", [
    (A, [], ["client.example"], False), (B, [], ["client.example"], True),
    (A, ["client.example"], ["ALL"], True), (B, ["client.example"], ["ALL"], False), (B, ["client.example"], [], False),
    (B, [], [".example"], False),  # it claims to be there, and is taken at its word
    (B, [".example"], [], False),  # and not here
    (B, [], ["ALL", "EXCEPT", ".example"], False), (A, [], ["ALL", "EXCEPT", ".example"], True),
    (A, [], ["lost.example"], None), ("127.0.0.1", [], ["lost.example"], None), (A, [A], ["lost.example"], True),
    (A, ["lost.example"], [], None), ("127.0.0.1", ["lost.example"], [], True),
    (A, ["lost.example"], [B], True), (A, ["lost.example"], [A], None), ("192.0.2.50", [], [".example"], None),
    ("rubbish", [], ["ALL"], False), ("rubbish", [], [], True),
])  # fmt: skip
def test_the_two_lists(peer: str, allow: list[str], deny: list[str], inside: bool | None) -> None:
    assert admitted(peer, allow, deny, Book()) is inside


def test_without_look_ups_names_are_not_known() -> None:
    for item in ("a.example", ".example", "@group", "LOCAL", "KNOWN"):
        assert admitted(A, [], [item], NoNames()) is None
        assert admitted(A, [item], [], NoNames()) is None


def test_names_to_be_looked_up() -> None:
    items = ["ALL", "except", "a.example", "A.Example.", ".example", "@group", "192.0.2.", A, "10.0.0.0/8", "::1",
             "*.x", "localhost", "LOCAL", "host"]  # fmt: skip
    assert host_names(items) == ["a.example", "host"]
