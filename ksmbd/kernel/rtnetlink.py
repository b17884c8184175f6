# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the kernel for all links and all addresses of this network namespace (rtnetlink(7)), by pyroute2.

pyroute2 is imported at the first question: it costs 12 MiB, which a server without multichannel never needs. The
forker imports it before the fork where there is multichannel, so that the workers share it (`load`).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol


class Answer(Protocol):
    """A message of rtnetlink as pyroute2 gives them."""

    def __getitem__(self, name: str) -> int: ...

    def get_attr(self, name: str) -> Any: ...  # noqa: ANN401 - pyroute2's messages have no types


class Link(NamedTuple):
    """A network interface."""

    number: int
    """The index of the link."""
    name: str
    flags: int
    """IFF_ flags."""
    receive_queues: int


class LinkAddress(NamedTuple):
    """An address of an interface."""

    link: int
    family: int
    address: str
    """This machine's, as text; '' where there is none."""
    flags: int
    """IFA_F_ flags."""


@cache
def _pyroute2() -> Mapping[str, Callable[..., Any]]:
    from pyroute2.ethtool.ioctl import IoctlEthtool
    from pyroute2.iproute.linux import IPRoute

    return {"IPRoute": IPRoute, "IoctlEthtool": IoctlEthtool}


def load() -> None:
    """Import pyroute2 now."""
    _pyroute2()


def link_of(answer: Answer) -> Link:
    """The link that a message tells of."""
    return Link(
        answer["index"], answer.get_attr("IFLA_IFNAME"), answer["flags"], answer.get_attr("IFLA_NUM_RX_QUEUES") or 1
    )


def address_of(answer: Answer) -> LinkAddress:
    """The address that a message tells of: IFA_LOCAL is this end of a point-to-point link, IFA_ADDRESS the other."""
    text = answer.get_attr("IFA_LOCAL") or answer.get_attr("IFA_ADDRESS") or ""
    return LinkAddress(answer["index"], answer["family"], text, answer.get_attr("IFA_FLAGS") or 0)


def links() -> list[Link]:
    """All links. Raises OSError."""
    with _pyroute2()["IPRoute"]() as route:
        return [link_of(answer) for answer in route.get_links()]


def addresses() -> list[LinkAddress]:
    """All addresses. Raises OSError."""
    with _pyroute2()["IPRoute"]() as route:
        return [address_of(answer) for answer in route.get_addr()]


def link_speed(name: str) -> int:
    """The speed of an interface in megabits per second by ethtool, 0 where the driver does not tell."""
    ethtool = _pyroute2()["IoctlEthtool"]()
    try:
        ethtool.change_ifname(name)
        return int(ethtool.get_link_settings()["speed"] or 0)
    except Exception:  # noqa: BLE001  EthtoolError, which is an Exception, OSError
        return 0
    finally:
        ethtool.close()
