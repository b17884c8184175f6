# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the interfaces and addresses of this machine (getifaddrs(3)), and reports changes through a socket
(rtnetlink)."""
from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from typing import Any, Final, NamedTuple

from ksmbd.kernel.syscalls import check, function

RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV6_IFADDR: Final = 0x100


class _Entry(ctypes.Structure):
    """The fields of struct ifaddrs that are used."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]  # fmt: skip

_getifaddrs: Final = function("getifaddrs", ctypes.POINTER(ctypes.POINTER(_Entry)))
_freeifaddrs: Final = function("freeifaddrs", ctypes.POINTER(_Entry), restype=None)


class State(NamedTuple):
    """The interfaces and addresses at one moment."""

    interfaces: dict[str, int]
    """Index by name."""
    addresses: tuple[tuple[str, str], ...]
    """(interface, address) pairs; link-local IPv6 addresses have their scope."""


def _text(pointer: int) -> str:
    """A struct sockaddr's address, or '' where it is of another family."""
    family = int.from_bytes(ctypes.string_at(pointer, 2), "little")
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(ctypes.string_at(pointer + 4, 4)))
    if family == socket.AF_INET6:
        return str(ipaddress.IPv6Address(ctypes.string_at(pointer + 8, 16)))
    return ""


def state() -> State:
    """The current interfaces and addresses. Raises OSError."""
    first = ctypes.POINTER(_Entry)()
    check(_getifaddrs(ctypes.byref(first)))
    addresses = []
    try:
        entry: Any = first
        while entry:
            name = os.fsdecode(entry.contents.name)
            text = _text(entry.contents.address) if entry.contents.address else ""
            if text:
                scoped = ":" in text and ipaddress.ip_address(text).is_link_local
                addresses.append((name, f"{text}%{name}" if scoped else text))
            entry = entry.contents.next
    finally:
        _freeifaddrs(first)
    return State({name: index for index, name in socket.if_nameindex()}, tuple(addresses))


class Changes:
    """A socket that is readable when links or addresses have changed."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))

    def fileno(self) -> int:
        """The descriptor, readable when something has changed."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Discard the changes reported so far."""
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: more than the socket holds

    def close(self) -> None:
        """Close the socket; may be called twice."""
        self._socket.close()
