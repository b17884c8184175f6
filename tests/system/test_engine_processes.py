# SPDX-License-Identifier: GPL-2.0-or-later
"""The real forker and workers, around a core that answers with its worker's index (echo_engine.py)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import Process, free_port

HERE = os.path.dirname(__file__)


class Engine(Process):
    def __init__(self, rundir: Path, workers: int, **environment: str) -> None:
        self.port = free_port()
        self.rundir = rundir
        script = os.path.join(HERE, "echo_engine.py")
        super().__init__([sys.executable, script, str(rundir), str(self.port), str(workers)], environment)

    def control(self, name: str) -> Path:
        return self.rundir / "class" / "ksmbd-control" / name

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection((host, self.port), timeout=10)
        return sock


@contextmanager
def engine(rundir: Path, workers: int = 1, **environment: str) -> Iterator[Engine]:
    process = Engine(rundir, workers, **environment)
    with process:
        process.wait_for("listening on 127.0.0.1|listening on 0.0.0.0")
        yield process


def say(sock: socket.socket, word: str = "", command: int = 0) -> str:
    data = b"\xfeSMB" + bytes(8) + command.to_bytes(2, "little") + bytes(50) + word.encode()
    sock.sendall(len(data).to_bytes(4, "big") + data)
    return hear(sock)


def hear(sock: socket.socket) -> str:
    head = sock.recv(4, socket.MSG_WAITALL)
    if not head:
        return ""
    return sock.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)[64:].decode()


def wait_text(path: Path, wanted: str, seconds: float = 10) -> str:
    """Poll a control file until `wanted` is in it."""
    deadline = time.monotonic() + seconds
    while True:
        text = path.read_text()
        if wanted in text:
            return text
        assert time.monotonic() < deadline, f"{path} holds {text!r}"
        select.select([], [], [], 0.01)


def wait_stats(server: Engine, wanted: str, seconds: float = 10) -> str:
    """Ask for the counters until `wanted` is in them: by itself the file may be a second old."""
    deadline = time.monotonic() + seconds
    while True:
        server.control("stats").write_text("now")
        text = wait_text(server.control("stats"), "workers: ")
        if wanted in text:
            return text
        assert time.monotonic() < deadline, f"the counters are {text!r}"
        select.select([], [], [], 0.01)


def test_serves_and_stops_in_order(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock, server.connect("::1") as six:
        assert say(sock) == "1" and say(six) == "1"
        assert server.stop() == 0
        assert sock.recv(10) == b""
        assert server.stderr.count("gone: the server stops") == 2
    assert not (tmp_path / "class" / "ksmbd-control" / "debug").exists()


def test_workers_share_the_port(tmp_path: Path) -> None:
    with engine(tmp_path, 2) as server:
        socks = [server.connect() for _ in range(18)]
        seen = {say(sock) for sock in socks}
        assert seen == {"1", "2"}
        for sock in socks:
            sock.close()


def test_a_dead_worker_is_started_again(tmp_path: Path) -> None:
    with engine(tmp_path, 2) as server:
        socks = [server.connect() for _ in range(18)]
        by_worker = {say(sock): sock for sock in socks}
        old = say(by_worker["1"], "pid")
        assert say(by_worker["1"], "die") == ""
        server.wait_for("ksmbd/1 ended with status 9")
        assert say(by_worker["2"]) == "2", "the other worker's clients go on"
        stats = json.loads(wait_text(server.control("stats.json"), '"epoch": 2'))
        assert stats["workers"][0]["connections"] == 0
        # the listening socket was kept: a connection that comes to it is served by the successor
        again = [server.connect() for _ in range(16)]
        successors = {say(sock, "pid") for sock in again}
        assert len(successors) == 2 and old not in successors
        for sock in socks + again:
            sock.close()


def test_a_worker_killed_by_a_signal(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        os.kill(int(say(sock, "pid")), signal.SIGKILL)
        assert hear(sock) == ""
        server.wait_for("ksmbd/1 was ended by signal 9")
        with server.connect() as other:
            assert say(other) == "1"


def test_workers_that_die_at_once_are_started_ever_later(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        say(sock, "crash-start")
        begin = time.monotonic()
        say(sock, "die")
        ends = 0
        for _ in range(5):
            ends = server.wait_for(r"ksmbd/1 ended with status (3|9)\b", after=ends).end()
        assert time.monotonic() - begin > 0.1 + 0.2 + 0.4, "each start waits twice as long"
        assert server.stop() == 0


def test_a_defect_ends_one_connection(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as one, server.connect() as two:
        assert say(one, "raise") == ""
        assert say(two) == "1"
        server.wait_for("ValueError: asked for")


def test_the_engine_ends_when_the_forker_is_killed(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        worker = os.pidfd_open(int(say(sock, "pid")))
        os.kill(server.pid, signal.SIGKILL)
        assert select.select([worker], [], [], 15)[0], "the worker goes when its forker does"
        os.close(worker)


def test_too_many_connections_are_refused_and_the_count_returns(tmp_path: Path) -> None:
    with engine(tmp_path, MAX_IP="3") as server:
        socks = [server.connect() for _ in range(3)]
        assert [say(sock) for sock in socks] == ["1"] * 3
        assert [say(sock, command=1) for sock in socks] == ["1"] * 3, "a session begins"
        for _ in range(5):
            with server.connect() as fourth:
                assert fourth.recv(1) == b"", "closed at once"
        with server.connect("::1") as other:
            assert say(other) == "1", "another address has its own count"
        server.wait_for("connection from 127.0.0.1 refused: `max ip connections` = 3")
        for sock in socks:
            sock.close()
        wait_stats(server, "\nconnections: 0\n")
        text = wait_stats(server, "refused: 5")
        assert "accepted: 4" in text
        with server.connect() as sock:
            assert say(sock) == "1"


def test_a_detached_engine_holds_no_terminal(tmp_path: Path) -> None:
    with engine(tmp_path, 2, DETACH="1") as server, server.connect() as sock:
        for pid in (server.pid, int(say(sock, "pid"))):
            deadline = time.monotonic() + 10
            while os.readlink(f"/proc/{pid}/fd/2") != os.devnull:
                assert time.monotonic() < deadline
                select.select([], [], [], 0.01)
        old = say(sock, "pid")
        say(sock, "die")
        wait_text(server.control("stats.json"), '"epoch": 2')
        with server.connect() as other:
            assert os.readlink(f"/proc/{say(other, 'pid')}/fd/2") == os.devnull, f"the successor of {old} too"


@pytest.mark.parametrize("workers", [1, 3])
def test_two_servers_do_not_share_a_port(tmp_path: Path, workers: int) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with engine(tmp_path / "one", workers) as server:
        command = [*server.command[:2], str(tmp_path / "two"), str(server.port), str(workers)]
        with Process(command) as second:
            assert second.wait() == 78
            assert "Address already in use" in second.stderr
        with server.connect() as sock:
            assert say(sock)


def test_port_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = Engine(tmp_path, 1)
        with process:
            assert process.stop() in (0, -15)
        script = process.command[1]
        with Process([sys.executable, script, str(tmp_path), str(taken.getsockname()[1]), "1"]) as second:
            assert second.wait() == 78
            assert "Address already in use" in second.stderr
            assert "Traceback" not in second.stderr


def negotiate(sock: socket.socket, guid: bytes) -> str:
    """A NEGOTIATE as far as its ClientGuid; which worker answered."""
    data = b"\xfeSMB" + bytes(60) + bytes(12) + guid
    sock.sendall(len(data).to_bytes(4, "big") + data)
    return hear(sock)


def test_connections_of_one_guid_end_in_one_worker(tmp_path: Path) -> None:
    with engine(tmp_path, 3) as server:
        socks = [server.connect() for _ in range(18)]
        owners = [negotiate(sock, bytes([index % 3 + 1]) * 16) for index, sock in enumerate(socks)]
        for client in range(3):
            assert len(set(owners[client::3])) == 1, "all connections of a client in one worker"
        assert [say(sock) for sock in socks] == owners, "and they stay there"
        wait_stats(server, "\nconnections: 18\n")
        for sock in socks:
            sock.close()
        wait_stats(server, "\nconnections: 0\n")


def test_connections_without_guid_stay_where_they_came(tmp_path: Path) -> None:
    with engine(tmp_path, 2) as server:
        socks = [server.connect() for _ in range(18)]
        assert {negotiate(sock, bytes(16)) for sock in socks} == {"1", "2"}
        for sock in socks:
            sock.close()


def test_a_guid_moves_on_when_its_worker_dies(tmp_path: Path) -> None:
    with engine(tmp_path, 2) as server:
        first = server.connect()
        owner = negotiate(first, b"g" * 16)
        assert say(first, "die") == ""
        server.wait_for(f"ksmbd/{owner} ended with status 9")
        wait_text(server.control("stats.json"), '"epoch": 2')
        socks = [server.connect() for _ in range(12)]
        assert len({negotiate(sock, b"g" * 16) for sock in socks}) == 1
        for sock in socks:
            sock.close()


def test_the_limit_of_an_address_counts_over_all_workers(tmp_path: Path) -> None:
    with engine(tmp_path, 3, MAX_IP="5") as server:
        for _ in range(2):
            socks = [server.connect() for _ in range(9)]
            answers = []
            for sock in socks:
                try:
                    answers.append(say(sock))
                except (ConnectionResetError, BrokenPipeError):
                    answers.append("")
            assert len([answer for answer in answers if answer]) == 5
            for sock in socks:
                sock.close()
            wait_stats(server, "\nconnections: 0\n")


# ------------------------------------------------------------------------------------------------- control files


def test_debug_toggles(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        debug = server.control("debug")
        assert debug.read_text() == "smb auth vfs oplock ipc conn rdma\n"
        debug.write_text("conn\n")
        wait_text(debug, "smb auth vfs oplock ipc [conn] rdma\n")
        with server.connect():
            server.wait_for(r"conn: ksmbd/1\[\d+\]: (127.0.0.1|::1): connected")
        debug.write_text("all")
        wait_text(debug, "[smb] [auth] [vfs] [oplock] [ipc] [conn] [rdma]\n")
        debug.write_text("all")
        wait_text(debug, "smb auth vfs oplock ipc conn rdma\n")
        debug.write_text("nonsense")
        wait_text(debug, "smb auth vfs oplock ipc conn rdma\n")
        server.wait_for("'nonsense' is none of smb, auth, vfs")
        assert say(sock) == "1"


def test_a_control_file_replaced_by_a_rename_still_works(tmp_path: Path) -> None:
    with engine(tmp_path) as server:
        new = tmp_path / "new"
        new.write_text("vfs")
        new.rename(server.control("debug"))
        wait_text(server.control("debug"), "[vfs]")


def test_kill_server(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        assert say(sock) == "1"
        server.control("kill_server").write_text("soft\n")
        server.wait_for("`hard` ends the engine")
        server.control("kill_server").write_text("hard\n")
        assert server.wait() == 0
        assert sock.recv(1) == b""


def test_stats_count_frames_and_bytes(tmp_path: Path) -> None:
    with engine(tmp_path) as server, server.connect() as sock:
        for _ in range(3):
            say(sock)
        text = wait_stats(server, f"bytes_sent: {3 * 69}\n")
        assert f"bytes_received: {3 * 68}\n" in text
        assert "requests: 3\n" in text
        features = server.control("features").read_text()
        assert all(line.split()[1] in ("on", "off") for line in features.splitlines())


@pytest.mark.root
def test_a_worker_has_no_more_capabilities_than_it_needs(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    from ksmbd.process.privileges import WORKER_CAPABILITIES

    allowed = sum(1 << capability for capability in WORKER_CAPABILITIES)
    with engine(tmp_path) as server, server.connect() as sock:
        status = Path(f"/proc/{say(sock, 'pid')}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name in ("CapPrm", "CapEff", "CapBnd", "CapInh"):
            assert int(fields[name], 16) & ~allowed == 0, name
        assert fields["NoNewPrivs"].strip() == "1"
        assert Path(f"/proc/{say(sock, 'pid')}/cmdline").read_bytes().startswith(b"ksmbd/1")
