# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole server with its BPF programs, in a network namespace of its own."""
from __future__ import annotations

import os
import re
import select
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from server import KsmbdServer

pytestmark = pytest.mark.root

Start = Callable[..., KsmbdServer]


@pytest.fixture
def start(namespace: None, tmp_path: Path) -> Iterator[Start]:
    """KsmbdServer with a folder of its own; what was started is stopped and judged."""
    started: list[KsmbdServer] = []

    def make(**options: Any) -> KsmbdServer:
        server = KsmbdServer(tmp_path / f"server{len(started)}", **options)
        started.append(server)
        server.wait_until_listening()
        return server

    yield make
    problems = [problem for server in started if (problem := server.finish())]
    assert not problems, problems


def negotiate(port: int, guid: bytes, source: str = "127.0.0.1") -> socket.socket:
    """A connection that has said who it is (MS-SMB2 2.2.3)."""
    client = socket.socket()
    client.bind((source, 0))
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    header = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16s", 64, 0, 0, 0, 31, 0, 0, 0, 0, 0, 0, b"")
    body = struct.pack("<HHHHI16sQ", 36, 2, 1, 0, 0x7F, guid, 0) + struct.pack("<2H", 0x0210, 0x0302)
    client.sendall(struct.pack(">I", len(header + body)) + header + body)
    reply = client.recv(4096)
    assert reply[4:8] == b"\xfeSMB" and reply[12:16] == bytes(4)
    return client


def spread(server: KsmbdServer, count: int) -> list[int]:
    """Connections by worker, once there are `count`."""
    text = server.wait_stats(rf"(?m)^connections: {count}$")
    return [int(number) for number in re.findall(r"(?m)^ksmbd/\d+: .*?connections (\d+)", text)]


def features(server: KsmbdServer) -> dict[str, str]:
    """`ksmbd.control --features`, by name."""
    lines = server.command_output("ksmbd.control", "-R", str(server.rundir), "--features").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if line.strip()}


@pytest.mark.parametrize("sources", [[f"127.0.1.{n}" for n in range(2, 18)], ["127.0.0.1"] * 16])
def test_sixteen_clients_spread_evenly(start: Start, sources: list[str]) -> None:
    server = start(workers=4)
    assert features(server) | {"steer": "on", "tune": "on"} == features(server)
    clients = [negotiate(server.port, os.urandom(16), source) for source in sources]
    assert spread(server, 16) == [4, 4, 4, 4]
    for client in clients:
        client.close()
    assert spread(server, 0) == [0, 0, 0, 0]


@pytest.mark.parametrize("bpf", [True, False])
def test_one_guid_lives_in_one_worker(start: Start, bpf: bool) -> None:
    server = start(workers=4, bpf=bpf)
    assert features(server)["steer"] == ("on" if bpf else "off")
    guid = os.urandom(16)
    clients = [negotiate(server.port, guid, f"127.0.1.{number}") for number in (5, 9, 13, 13, 13)]
    assert Counter(spread(server, 5)) == {0: 3, 5: 1}
    for client in clients:
        client.close()


def test_a_client_s_address_is_pinned_where_it_lives(start: Start) -> None:
    """The second connection comes to its worker by itself: nothing is handed over."""
    server = start(workers=4)
    server.command_output("ksmbd.control", "-R", str(server.rundir), "-d", "conn")
    guid = os.urandom(16)
    others = [negotiate(server.port, os.urandom(16), f"127.0.2.{number}") for number in range(2, 5)]
    clients = [negotiate(server.port, guid, "127.0.1.5") for _ in range(4)]
    assert Counter(spread(server, 7)) == {4: 1, 1: 3}
    assert "handed over" not in server.stderr
    for client in clients + others:
        client.close()


def test_lookup_port_serves_445_as_well(start: Start) -> None:
    server = start(workers=2, options={"lookup port": "445"})
    assert features(server)["lookup"] == "on"
    (server.share_path / "f").write_text("through 445")
    command = ["smbclient", "//127.0.0.1/share", "-p", "445", "-U", f"{server.user}%{server.password}", "-s",
               "/dev/null", "-c", f"get f {server.folder}/got"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert (server.folder / "got").read_text() == "through 445"


def test_everything_is_gone_after_a_kill_and_the_next_start_has_it_again(start: Start) -> None:
    server = start(workers=2, options={"lookup port": "445"})
    negotiate(445, os.urandom(16)).close()
    forker = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
    watch = os.pidfd_open(forker)
    server.kill()
    assert select.select([watch], [], [], 30)[0], "the engine ends with its daemon"
    os.close(watch)
    with pytest.raises(ConnectionRefusedError):
        negotiate(445, os.urandom(16))
    server.restart()
    server.wait_until_listening()
    negotiate(445, os.urandom(16)).close()
    assert features(server)["lookup"] == "on"
