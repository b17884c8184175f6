# SPDX-License-Identifier: GPL-2.0-or-later
"""Socket options and addresses of TCP connections.

The options are set on the listening socket; Linux passes them on to accepted sockets, so a connection costs no further
calls. If a client disappears without closing (sleep, cable, NAT), its connection ends after USER_TIMEOUT, an idle one
with the first keep-alive probe after that. So its opens, which may keep others out, end in some 20 seconds, and dead
connections do not count against `max ip connections` for long. A client that lives and reads nothing gets SLOW_TIMEOUT:
for Linux the two are the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import termios
from typing import Final

from ksmbd.overriding import override

NAME: Final = "tcp"
"""The name of this transport."""

KEEP_IDLE: Final = 10
KEEP_INTERVAL: Final = 3
KEEP_COUNT: Final = 3
USER_TIMEOUT: Final = 19_000
"""Milliseconds."""
SLOW_TIMEOUT: Final = 120_000
"""Milliseconds; USER_TIMEOUT of a connection whose client has replies to read."""

BACKLOG: Final = 1024

# In struct tcp_info (linux/tcp.h)
_RTO: Final = 8
_BYTES_ACKED: Final = 120
_TCP_INFO_SIZE: Final = 128


def set_connection_options(sock: socket.socket) -> None:
    """NODELAY, keep-alive and the time-out of unacknowledged data."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_COUNT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


def wait_longer(sock: socket.socket, longer: bool) -> None:
    """Change between USER_TIMEOUT and SLOW_TIMEOUT; nothing where the socket is no TCP."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SLOW_TIMEOUT if longer else USER_TIMEOUT)


def _tcp_info(sock: socket.socket, offset: int, size: int) -> int:
    """A field of the socket's struct tcp_info, 0 where it is no TCP."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return 0
    return int.from_bytes(info[offset : offset + size], sys.byteorder)


def acknowledged_bytes(sock: socket.socket) -> int:
    """Bytes that the peer's TCP has confirmed, over the connection's life (tcpi_bytes_acked); 0 where it is no TCP."""
    return _tcp_info(sock, _BYTES_ACKED, 8)


def retransmission_seconds(sock: socket.socket) -> float:
    """How long TCP waits for a confirmation before it sends again (tcpi_rto); 0 where it is no TCP."""
    return _tcp_info(sock, _RTO, 4) / 1e6


def unacknowledged_bytes(sock: socket.socket) -> int:
    """Bytes in the kernel that the peer's TCP has not confirmed (SIOCOUTQ), 0 where the socket does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def bytes_at_hand(sock: socket.socket) -> int:
    """Bytes that have come and were not received yet (SIOCINQ), 0 where the socket does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def plain_address(host: str) -> str:
    """An address without its zone; an IPv4-mapped IPv6 address (::ffff:192.0.2.7) as IPv4."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def address_text(sock: socket.socket, peer: bool) -> str:
    """The peer's or our own address; `local` where the socket has none (a socket pair)."""
    try:
        name = sock.getpeername() if peer else sock.getsockname()
    except OSError:
        return "unknown"  # the client has reset the connection
    return plain_address(name[0]) if isinstance(name, tuple) else "local"


def listening_text(sock: socket.socket) -> str:
    """`ADDRESS:PORT`, IPv6 in brackets."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class BindTarget:
    """One target to listen on: an address, or all addresses of an interface."""

    __slots__ = ("device", "family", "host")

    def __init__(self, family: socket.AddressFamily, host: str, device: str = "") -> None:
        self.family = family
        self.host = host
        self.device = device

    @override
    def __repr__(self) -> str:
        return f"BindTarget({self.family.name}, {self.host!r}, {self.device!r})"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BindTarget):
            return NotImplemented
        return (self.family, self.host, self.device) == (other.family, other.host, other.device)

    @override
    def __hash__(self) -> int:
        return hash((self.family, self.host, self.device))


ANY: Final = (BindTarget(socket.AF_INET, "0.0.0.0"), BindTarget(socket.AF_INET6, "::"))


def open_listener(target: BindTarget, port: int, share_port: bool = True) -> socket.socket:
    """Open a listening socket with all options. Raises OSError where the address is in use, missing or not allowed.
    `share_port`: set SO_REUSEPORT, for one socket in each worker."""
    sock = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if target.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if target.device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(target.device))
        set_connection_options(sock)
        sock.bind((target.host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
