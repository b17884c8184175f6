# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses a client is told for further channels (MS-SMB2 2.2.32.5, 3.3.5.15.11)."""
from __future__ import annotations

import socket
from typing import Any

import pytest

from ksmbd.kernel.interfaces import IFF_LOOPBACK, IFF_RUNNING, IFF_UP, InterfaceAddress, Interfaces, addresses_of
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


class Answer(dict[str, Any]):
    """One rtnetlink message, as pyroute2 gives them."""

    def __init__(self, attributes: dict[str, Any], **fields: Any) -> None:
        super().__init__(fields)
        self._attributes = attributes

    def get_attr(self, name: str) -> Any:
        """An attribute or None."""
        return self._attributes.get(name)


def test_only_usable_addresses() -> None:
    up = IFF_UP | IFF_RUNNING
    links = [
        Answer({"IFLA_IFNAME": "lo"}, index=1, flags=up | IFF_LOOPBACK),
        Answer({"IFLA_IFNAME": "off"}, index=2, flags=IFF_RUNNING),
        Answer({"IFLA_IFNAME": "unplugged"}, index=3, flags=IFF_UP),
        Answer({"IFLA_IFNAME": "no-such-if0", "IFLA_NUM_RX_QUEUES": 4}, index=4, flags=up),
    ]
    v4, v6 = socket.AF_INET, socket.AF_INET6
    found = addresses_of(
        links,
        [
            Answer({"IFA_ADDRESS": "127.0.0.1", "IFA_LOCAL": "127.0.0.1"}, index=1, family=v4),
            Answer({"IFA_ADDRESS": "192.0.2.2"}, index=2, family=v4),
            Answer({"IFA_ADDRESS": "192.0.2.3"}, index=3, family=v4),
            Answer({"IFA_ADDRESS": "192.0.2.5", "IFA_LOCAL": "192.0.2.4"}, index=4, family=v4),
            Answer({"IFA_ADDRESS": "2001:db8::4"}, index=4, family=v6),
            Answer({"IFA_ADDRESS": "fe80::4"}, index=4, family=v6),
            Answer({"IFA_ADDRESS": "2001:db8::5", "IFA_FLAGS": 0x40}, index=4, family=v6),  # tentative
            Answer({"IFA_ADDRESS": "2001:db8::6", "IFA_FLAGS": 0x20}, index=4, family=v6),  # deprecated
            Answer({"IFA_ADDRESS": "192.0.2.9"}, index=9, family=v4),  # gone between the two questions
        ],
    )
    assert [(one.link, one.address, one.receive_queues, one.loopback) for one in found] == [
        (1, "127.0.0.1", 1, True), (4, "192.0.2.4", 4, False), (4, "2001:db8::4", 4, False),
    ]  # fmt: skip


def test_asked_again_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[InterfaceAddress]] = []

    class Route:
        def __enter__(self) -> Route:
            return self

        def __exit__(self, *error: object) -> None:
            asked.append([])

        def get_links(self) -> list[Answer]:
            return []

        def get_addr(self) -> list[Answer]:
            return []

    monkeypatch.setattr("ksmbd.kernel.interfaces.IPRoute", Route)
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
