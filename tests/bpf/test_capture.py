# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way of capturing gives the packets of the wanted ports and clients, whole, and in the order of the wire."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ksmbd.kernel import capture as c
from mountd.trace.packets import SYN, segment

pytestmark = pytest.mark.usefixtures("namespace")

SIZE = 3 << 20
WAYS = ["tcx", "filter", "socket"]


def begin(way: str, wanted: c.Wanted, cache: Path) -> c.Capture:
    if way == "socket":
        return c.SocketCapture(wanted)
    return c.BpfCapture(wanted, c.interfaces() if way == "tcx" else [], cache)


def transfer(host: str, data: bytes, listener: socket.socket, source: str = "") -> None:
    """Send data to a listener, which reads it all."""
    received = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while part := connection.recv(1 << 16):
                received.extend(part)

    server = threading.Thread(target=serve)
    server.start()
    address = host, listener.getsockname()[1]
    with socket.create_connection(address, source_address=(source, 0) if source else None) as client:
        client.sendall(data)
    server.join()
    assert received == data


def captured(capture: c.Capture, during: Callable[[], None]) -> tuple[bytes, int]:
    """The data to the server in all packets, and the number of SYNs."""
    done = threading.Thread(target=during)
    done.start()
    parts: dict[int, bytes] = {}
    syns = 0
    idle = 0
    while idle < 2:
        idle = 0 if done.is_alive() else idle + 1
        for packet in capture.packets(0.05):
            found = segment(packet.data, size=packet.size)
            assert found is not None and len(found.data) == found.size
            syns += found.flags == SYN
            if found.size:
                parts[found.sequence] = bytes(found.data)
    done.join()
    return b"".join(parts[sequence] for sequence in sorted(parts, key=lambda at: (at - min(parts)) % (1 << 32))), syns


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_packets_come_whole(way: str, host: str, cache: Path) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        capture = begin(way, c.Wanted((listener.getsockname()[1],), direction=1), cache)
        try:
            data = os.urandom(SIZE)
            got, syns = captured(capture, lambda: transfer(host, data, listener))
            assert capture.lost == 0
            assert sorted(got) == sorted(data) and syns == 1
        finally:
            capture.close()


@pytest.mark.parametrize("way", WAYS)
def test_other_ports_and_clients_are_left_out(way: str, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        wanted = c.Wanted((listener.getsockname()[1],), ("127.0.0.8/30",), direction=1)
        capture = begin(way, wanted, cache)

        def during() -> None:
            transfer("127.0.0.1", b"another port", other, "127.0.0.9")
            transfer("127.0.0.1", b"another client", listener, "127.0.0.12")
            transfer("127.0.0.1", b"wanted", listener, "127.0.0.9")

        try:
            assert captured(capture, during) == (b"wanted", 1)
        finally:
            capture.close()


@pytest.mark.parametrize("way", WAYS)
def test_packets_are_cut_off_where_that_is_wanted(way: str, cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        capture = begin(way, c.Wanted((listener.getsockname()[1],), direction=1, most=100), cache)
        try:
            transfer("127.0.0.1", bytes(5000), listener)
            sizes = [(packet.size, len(packet.data)) for packet in capture.packets(0.5)]
        finally:
            capture.close()
    assert max(sizes) > (5000, 0) and all(stored == min(size, 100) for size, stored in sizes)


def test_a_ring_that_is_full_counts_what_is_lost(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "RING_SIZE", 1 << 18)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        capture = begin("tcx", c.Wanted((listener.getsockname()[1],)), cache)
        try:
            transfer("127.0.0.1", bytes(SIZE), listener)
            assert capture.lost > 0
            assert len(list(capture.packets(0.5))) > 0
        finally:
            capture.close()


def test_the_best_way_is_taken(cache: Path) -> None:
    capture, reasons = c.open_capture(c.Wanted((4450,)), cache)
    capture.close()
    assert (capture.how, reasons) == ("tcx", [])
