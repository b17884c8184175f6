# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import socket

from ksmbd.conn.tcp.options import (
    BindTarget,
    acknowledged_bytes,
    listening_text,
    open_listener,
    plain_address,
    retransmission_seconds,
    unacknowledged_bytes,
    wait_longer,
)


def test_plain_addresses() -> None:
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("::ffff:0:1") == "::ffff:0:1"


def test_accepted_sockets_inherit_the_options() -> None:
    """Set on the listener alone: Linux copies them to what it accepts."""
    with open_listener(BindTarget(socket.AF_INET, "127.0.0.1"), 0) as listener:
        assert listening_text(listener).startswith("127.0.0.1:")
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 19_000
                wait_longer(accepted, True)
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
                wait_longer(accepted, False)
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 19_000


def test_bytes_that_the_peer_has_confirmed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        server.setblocking(False)
        before = acknowledged_bytes(server)
        sent = 0
        try:
            while True:  # until the client's window and our buffer are full
                sent += server.send(bytes(65536))
        except BlockingIOError:
            pass
        assert unacknowledged_bytes(server) > 0
        assert acknowledged_bytes(server) + unacknowledged_bytes(server) == before + sent
        left = sent
        while left:
            left -= len(client.recv(1 << 20))
        # Sending back carries the last confirmation, so that no delayed one has to be awaited.
        client.sendall(b"x")
        server.setblocking(True)
        assert server.recv(1) == b"x"
        assert (acknowledged_bytes(server), unacknowledged_bytes(server)) == (before + sent, 0)
        assert 0.1 < retransmission_seconds(server) < 120


def test_a_socket_that_is_no_tcp_confirms_nothing() -> None:
    one, two = socket.socketpair()
    with one, two:
        assert acknowledged_bytes(one) == 0 and retransmission_seconds(one) == 0
