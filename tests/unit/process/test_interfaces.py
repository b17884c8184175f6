# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses a client is told for further channels (MS-SMB2 2.2.32.5, 3.3.5.15.11)."""
from __future__ import annotations

import socket
from typing import Any

import pytest

from ksmbd.kernel import rtnetlink
from ksmbd.kernel.interfaces import IFF_LOOPBACK, IFF_RUNNING, IFF_UP, InterfaceAddress, Interfaces, addresses_of
from ksmbd.kernel.rtnetlink import Link, LinkAddress
from ksmbd.process.interfaces import DEFAULT_SPEED, RSS_CAPABLE, choose, network_interfaces

FOUND = [
    InterfaceAddress(1, "lo", "127.0.0.1", 0, 1, True),
    InterfaceAddress(1, "lo", "::1", 0, 1, True),
    InterfaceAddress(2, "eth0", "192.0.2.7", 10_000_000_000, 8, False),
    InterfaceAddress(3, "eth1", "198.51.100.7", 0, 1, False),
    InterfaceAddress(3, "eth1", "2001:db8::7", 0, 1, False),
]


def addresses(wanted: tuple[str, ...], local: str) -> list[str]:
    """What is told."""
    return [one.address for one in choose(FOUND, wanted, local)]


def test_loopback_only_for_who_came_in_there() -> None:
    assert addresses((), "192.0.2.7") == ["192.0.2.7", "198.51.100.7", "2001:db8::7"]
    assert addresses((), "127.0.0.1") == [one.address for one in FOUND]
    assert addresses((), "::1") == [one.address for one in FOUND]
    assert addresses((), "fe80::1%eth0") == ["192.0.2.7", "198.51.100.7", "2001:db8::7"]
    assert addresses((), "") == ["192.0.2.7", "198.51.100.7", "2001:db8::7"], "a transport without an address"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("eth1",), ["198.51.100.7", "2001:db8::7"]),
        (("192.0.2.7",), ["192.0.2.7"]),
        (("192.0.2.0/24",), ["192.0.2.7"]),
        (("192.0.2.1/24", "2001:db8::/32"), ["192.0.2.7", "2001:db8::7"]),
        (("eth9", "wlan*"), []),
        (("eth*",), ["192.0.2.7", "198.51.100.7", "2001:db8::7"]),
        (("192.0.2.7/24",), ["192.0.2.7"]),
        (("eth1;speed=1", "not an interface at all"), ["198.51.100.7", "2001:db8::7"]),
    ],
)
def test_interfaces_parameter(wanted: tuple[str, ...], told: list[str]) -> None:
    assert addresses(wanted, "192.0.2.7") == told


def test_speed_and_queues() -> None:
    fast, slow, _ = choose(FOUND, (), "192.0.2.7")
    assert (fast.link_speed, fast.capability, fast.index) == (10_000_000_000, RSS_CAPABLE, 2)
    assert (slow.link_speed, slow.capability, slow.index) == (DEFAULT_SPEED, 0, 3)


def test_speed_capability_and_index_as_the_configuration_says() -> None:
    (told,) = choose(FOUND, ("192.0.2.7;speed=2500000000,capability=RDMA,if_index=77",), "192.0.2.7")
    assert (told.link_speed, told.capability, told.index) == (2_500_000_000, 2, 77)
    (told,) = choose(FOUND, ("eth0;capability=NONE",), "192.0.2.7")
    assert (told.link_speed, told.capability, told.index) == (10_000_000_000, 0, 2)


def test_only_usable_addresses() -> None:
    up = IFF_UP | IFF_RUNNING
    links = [
        Link(1, "lo", up | IFF_LOOPBACK, 1),
        Link(2, "off", IFF_RUNNING, 1),
        Link(3, "unplugged", IFF_UP, 1),
        Link(4, "no-such-if0", up, 4),
    ]
    v4, v6 = socket.AF_INET, socket.AF_INET6
    found = addresses_of(
        links,
        [
            LinkAddress(1, v4, "127.0.0.1", 0x80),
            LinkAddress(2, v4, "192.0.2.2", 0),
            LinkAddress(3, v4, "192.0.2.3", 0),
            LinkAddress(4, v4, "192.0.2.4", 0),
            LinkAddress(4, v6, "2001:db8::4", 0),
            LinkAddress(4, v6, "fe80::4", 0),
            LinkAddress(4, v6, "2001:db8::5", 0x40),  # tentative
            LinkAddress(4, v6, "2001:db8::6", 0x20),  # deprecated
            LinkAddress(4, socket.AF_UNIX, "", 0),
            LinkAddress(9, v4, "192.0.2.9", 0),  # gone between the two questions
        ],
    )
    assert [(one.link, one.address, one.receive_queues, one.loopback) for one in found] == [
        (1, "127.0.0.1", 1, True), (4, "192.0.2.4", 4, False), (4, "2001:db8::4", 4, False),
    ]  # fmt: skip


class Answer(dict[str, Any]):
    """One rtnetlink message, as pyroute2 gives them."""

    def __init__(self, attributes: dict[str, Any], **fields: Any) -> None:
        super().__init__(fields)
        self._attributes = attributes

    def get_attr(self, name: str) -> Any:
        """An attribute or None."""
        return self._attributes.get(name)


def test_a_link_as_the_kernel_says_it() -> None:
    answer = Answer({"IFLA_IFNAME": "eth7"}, index=7, flags=0x1043)
    assert rtnetlink.link_of(answer) == Link(7, "eth7", 0x1043, 1)
    answer = Answer({"IFLA_IFNAME": "eth7", "IFLA_NUM_RX_QUEUES": 12}, index=7, flags=0x1043)
    assert rtnetlink.link_of(answer) == Link(7, "eth7", 0x1043, 12)


def test_an_address_as_the_kernel_says_it() -> None:
    """This end of a point-to-point link."""
    v4 = socket.AF_INET
    answer = Answer({"IFA_ADDRESS": "192.0.2.5", "IFA_LOCAL": "192.0.2.4", "IFA_FLAGS": 0x480}, index=3, family=v4)
    assert rtnetlink.address_of(answer) == LinkAddress(3, v4, "192.0.2.4", 0x480)
    answer = Answer({"IFA_ADDRESS": "2001:db8::6"}, index=3, family=socket.AF_INET6)
    assert rtnetlink.address_of(answer) == LinkAddress(3, socket.AF_INET6, "2001:db8::6", 0)
    assert rtnetlink.address_of(Answer({}, index=3, family=v4)).address == ""


def test_this_machine_has_loopback() -> None:
    assert any(link.name == "lo" and link.flags & IFF_LOOPBACK for link in rtnetlink.links())
    assert any(address.address == "127.0.0.1" for address in rtnetlink.addresses())


def test_asked_again_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def links() -> list[Link]:
        asked.append(1)
        return []

    monkeypatch.setattr(rtnetlink, "links", links)
    monkeypatch.setattr(rtnetlink, "addresses", list)
    interfaces = Interfaces()
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    interfaces.close()
    interfaces._changes = ours  # announcements by hand
    interfaces.addresses()
    interfaces.addresses()
    assert len(asked) == 1
    kernel.send(b"RTM_NEWADDR")
    kernel.send(b"RTM_NEWLINK")
    interfaces.addresses()
    interfaces.addresses()
    assert len(asked) == 2
    kernel.close()
    interfaces.close()


def test_a_kernel_that_does_not_answer_costs_the_list_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Interfaces:
        raise PermissionError(1, "no netlink here")

    monkeypatch.setattr("ksmbd.process.interfaces.Interfaces", refuse)
    assert network_interfaces(())("127.0.0.1") == []
