# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces that come and go under a server with `bind interfaces only`, in a network of the test's own; as root."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest
from own_network import own_network
from pyroute2 import IPRoute, NetlinkError
from server import StartKsmbd


@pytest.fixture
def network() -> Iterator[IPRoute]:
    """A network namespace with `lo` up, for this process and the servers that it starts."""
    if os.geteuid():
        pytest.skip("a network of one's own needs root")
    with own_network() as route:
        yield route


def add(route: IPRoute, name: str, address: str) -> None:
    for kind in ("dummy", "bridge", "ifb"):  # what this kernel has of those that need no other end
        try:
            route.link("add", ifname=name, kind=kind)
            break
        except NetlinkError:
            continue
    else:
        pytest.skip("no kind of interface can be made here")
    (index,) = route.link_lookup(ifname=name)
    route.addr("add", index=index, address=address, prefixlen=24)
    route.link("set", index=index, state="up")


def reaches(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interface_that_comes_is_served_and_one_that_goes_is_let_go(
    network: IPRoute, start_ksmbd: StartKsmbd, workers: int
) -> None:
    options = {"interfaces": "lo late0 198.51.100.0/24", "bind interfaces only": "yes"}
    server = start_ksmbd(options=options, workers=workers)
    server.wait_for("interfaces: late0 is not there")
    server.wait_for("interfaces: 198.51.100.0/24 is not there")
    for _ in range(2):
        seen = len(server.drain())
        add(network, "late0", "192.0.2.1")
        server.wait_for(rf"listening on 0\.0\.0\.0:{server.port}", after=seen)
        assert all(reaches("192.0.2.1", server.port) for _ in range(8))
        seen = len(server.drain())
        network.link("del", index=network.link_lookup(ifname="late0")[0])
        server.wait_for(r"no longer listening on .*%late0", after=seen)
    add(network, "other0", "198.51.100.9")
    server.wait_for(rf"listening on 198\.51\.100\.9:{server.port}")
    assert reaches("198.51.100.9", server.port) and reaches("127.0.0.1", server.port)
    add(network, "third0", "203.0.113.9")
    assert not reaches("203.0.113.9", server.port), "it was not asked for"
    assert server.smbclient("ls").returncode == 0


def test_a_worker_that_starts_anew_listens_on_what_has_come(network: IPRoute, start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"interfaces": "lo late*", "bind interfaces only": "yes"})
    add(network, "late7", "192.0.2.1")
    server.wait_for(rf"listening on 0\.0\.0\.0:{server.port}[\s\S]*listening on 0\.0\.0\.0:{server.port}")
    with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii") as stream:
        forker = stream.read().split()[0]
    with open(f"/proc/{forker}/task/{forker}/children", encoding="ascii") as stream:
        worker = int(stream.read().split()[0])
    os.kill(worker, 9)
    server.wait_for(r"ksmbd/1 was ended by signal 9")
    deadline = time.monotonic() + 30
    while not reaches("192.0.2.1", server.port):
        assert time.monotonic() < deadline
    assert server.smbclient("ls").returncode == 0
