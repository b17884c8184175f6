# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's life over real NETLINK_USERSOCK sockets, with an engine that only asks. Needs no root."""
from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Process

from ksmbd.ipc.channel import NETLINK_USERSOCK, Channel, PeerGone, make_pair
from ksmbd.ipc.codec import Message, encode
from ksmbd.ipc.constants import Event
from ksmbd.ipc.settings import EngineSettings
from mountd import config
from mountd import engine as engine_module
from mountd.accounts import Account, Accounts, load, nt_hash, save
from mountd.engine import Engine
from mountd.loop import Loop
from mountd.requests import Requests
from mountd.rpc.child import RpcProcess

COMMAND = [sys.executable, os.path.join(os.path.dirname(__file__), "mountd_with_fake_engine.py")]
CONFIG = """[global]
 workers = 2
 ipc timeout = 20
 tcp port = 4000
[docs]
 path = {folder}
 comment = before
 change notify = no
 force user = root
"""
LISTENING = r"^ksmbd: listening on 127\.0\.0\.1:4445$"


class Site:
    """A configuration, a user database and a run directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config, self.pwddb, self.rundir = folder / "ksmbd.conf", folder / "ksmbdpwd.db", folder / "run"
        self.lock = self.rundir / "ksmbd.lock"
        self.rundir.mkdir()
        self.config.write_text(CONFIG.format(folder=folder))
        save(Accounts([Account("root", nt_hash("pw"))]), str(self.pwddb))

    def mountd(self, *options: str) -> Process:
        words = ["-C", str(self.config), "-P", str(self.pwddb), "-R", str(self.rundir), "-p", "4445"]
        return Process([*COMMAND, *(options or ("-n",)), *words])

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.rundir / "engine.json").read_text())
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_engine_asks_and_is_answered(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        assert site.lock.read_text() == f"{daemon.pid}\n"
        report = site.report()
        assert report["port"] == 4445 and report["workers"] == 2
        admitted, account, uid, groups, digest = report["login"]
        assert (admitted, account, uid, digest) == (True, "root", 0, nt_hash("pw").hex())
        assert 0 in groups
        assert report["share"] == ["docs", str(site.folder), "before", False]
        assert report["tree"] == [0, False]
        assert report["many"] == 500, "no message is lost however many are sent"
        engine = int(report["pid"])
        assert daemon.stop() == 0
    assert gone(engine)
    assert not site.lock.exists()


def test_reload(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        site.config.write_text(site.config.read_text().replace("before", "after"))
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for("listening on reloaded")
        assert (site.rundir / "engine.json.reloaded").read_text() == "after"
        site.config.write_text("[global]\n workers = many\n")
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for(rf"{site.config}:2: .*workers")
        daemon.wait_for("not reloaded")
        assert daemon.stop() == 0


def test_a_reload_as_soon_as_there_is_a_process_id(site: Site) -> None:
    text = site.config.read_bytes()
    site.config.unlink()
    os.mkfifo(site.config)
    with site.mountd() as daemon:
        reading = os.open(site.config, os.O_WRONLY)  # returns once mountd reads it, with its lock taken
        assert site.lock.read_text() == f"{daemon.pid}\n"
        os.kill(daemon.pid, signal.SIGHUP)
        other = site.folder / "other.conf"
        other.write_bytes(text)
        other.rename(site.config)
        os.write(reading, text)
        os.close(reading)
        daemon.wait_for("configuration and users reloaded")
        daemon.wait_for(LISTENING)
        assert daemon.stop() == 0


def test_list_through_the_fifo(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        path = site.rundir / f"ksmbd.fifo.{daemon.pid}"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        keeper = os.open(path, os.O_WRONLY)
        os.kill(daemon.pid, signal.SIGUSR1)
        os.set_blocking(reader, True)
        shares = json.loads(os.read(reader, 65536))["shares"]
        assert [share["name"].lower() for share in shares] == ["docs", "ipc$"]
        os.close(keeper)
        os.close(reader)
        assert daemon.stop() == 0


def test_dead_engine_is_started_again(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        first = int(site.report()["pid"])
        seen = len(daemon.stderr)
        os.kill(first, signal.SIGKILL)
        daemon.wait_for("was ended by signal 9; it starts again", after=seen)
        daemon.wait_for(LISTENING, after=seen)
        assert int(site.report()["pid"]) != first
        assert daemon.stop() == 0


def test_engine_that_cannot_start_ends_the_daemon(site: Site) -> None:
    (site.rundir / "engine.do").write_text("config")
    with site.mountd() as daemon:
        assert daemon.wait() == 1
        assert "does not start again" in daemon.stderr
    assert not site.lock.exists()


def test_second_start_is_refused(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        with site.mountd() as second:
            assert second.wait() == 1
            assert second.stderr == f"ksmbd.mountd: already running with process id {daemon.pid} ({site.lock})\n"
        assert site.lock.read_text() == f"{daemon.pid}\n"
        assert daemon.stop() == 0


def test_stale_lock_is_taken_over(site: Site) -> None:
    site.lock.write_text("1\n")
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        assert site.lock.read_text() == f"{daemon.pid}\n"
        assert daemon.stop() == 0


def test_killed_daemon_takes_its_engine_along_and_is_followed(site: Site) -> None:
    with site.mountd() as daemon:
        daemon.wait_for(LISTENING)
        engine = os.pidfd_open(int(site.report()["pid"]))
        daemon.kill()
        assert select.select([engine], [], [], 20)[0], "the engine outlives its daemon"
        os.close(engine)
    assert site.lock.exists()
    with site.mountd() as second:
        second.wait_for(LISTENING)
        assert second.stop() == 0


@pytest.mark.parametrize("options", [("-n0",), ("--nodetach=0",), ()])
def test_detached(site: Site, options: tuple[str, ...]) -> None:
    words = options or ("-v",)
    with site.mountd(*words) as command:
        assert command.wait() == 0, "the command returns when clients can connect, and closes its output"
        assert "listening on 127.0.0.1:4445" in command.stderr
        pid = int(site.lock.read_text())
        assert pid != command.pid and os.getsid(pid) != os.getsid(0)
        descriptor = os.pidfd_open(pid)
        with open(site.lock) as lock:
            os.kill(pid, signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the daemon lets go
        os.close(descriptor)
    assert not site.lock.exists()


@pytest.mark.parametrize("detach", ["-n", "-n0"])
def test_bad_value_is_one_line(site: Site, detach: str) -> None:
    site.config.write_text("[global]\n\n smb2 max credits = lots\n")
    with site.mountd(detach) as daemon:
        assert daemon.wait() == 1
        assert len(daemon.stderr.splitlines()) == 1
        assert f"{site.config}:3: " in daemon.stderr
    assert not site.lock.exists()


def test_unreadable_files(site: Site) -> None:
    site.pwddb.unlink()
    site.pwddb.mkdir()
    with site.mountd() as daemon:
        assert daemon.wait() == 1
        assert len(daemon.stderr.splitlines()) == 1 and str(site.pwddb) in daemon.stderr
    site.config.unlink()
    with site.mountd() as daemon:
        assert daemon.wait() == 1
        assert len(daemon.stderr.splitlines()) == 1 and str(site.config) in daemon.stderr


@pytest.mark.parametrize("words, said", [
    (["-p", "0"], "--port=0"),
    (["-p", "x"], "--port=x"),
    (["-n2"], "--nodetach=2"),
    (["argument"], "argument"),
])  # fmt: skip
def test_bad_command_line(words: list[str], said: str) -> None:
    with Process([*COMMAND, *words]) as daemon:
        assert daemon.wait() == 1
        assert said in daemon.stderr and len(daemon.stderr.splitlines()) == 1


# ----------------------------------------------------------------------------------------------- third parties


def test_third_process_cannot_speak_on_a_pair() -> None:
    """The kernel refuses whoever is not the peer, alive or not, and the ports stay taken."""
    ours, theirs = make_pair()
    other = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK)
    try:
        data = encode(Message(Event.HEARTBEAT_REQUEST))
        for port in (ours._own_port, theirs.getsockname()[0]):
            with pytest.raises(ConnectionRefusedError):
                other.sendto(data, (port, 0))
            thief = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK)
            with thief, pytest.raises(OSError) as caught:
                thief.bind((port, 0))
            assert caught.value.errno == errno.EADDRINUSE
        assert list(ours.receive()) == []
        theirs.send(data)
        assert [message.event for message in ours.receive()] == [Event.HEARTBEAT_REQUEST]
    finally:
        other.close()
        theirs.close()
        ours.close()


def test_port_of_a_dead_peer_is_of_no_use_to_another_user() -> None:
    """Somebody who takes a dead end's port id gets through the kernel's check; the credentials give him away."""
    ours, theirs = make_pair()
    port = theirs.getsockname()[0]
    theirs.close()
    with pytest.raises(PeerGone):
        ours.send(Message(Event.HEARTBEAT_REQUEST))
    thief = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK)
    try:
        thief.bind((port, 0))
        thief.connect((ours._own_port, 0))
        thief.send(encode(Message(Event.HEARTBEAT_REQUEST)))
        ours._users = {os.getuid() + 1}
        assert list(ours.receive()) == []
        assert ours.dropped == 1
    finally:
        thief.close()
        ours.close()


def test_malformed_message_is_dropped_and_the_next_one_taken() -> None:
    ours, theirs = make_pair()
    try:
        theirs.send(b"nonsense")
        theirs.send(encode(Message(Event.HELLO)))
        assert [message.event for message in ours.receive()] == [Event.HELLO]
        assert ours.dropped == 1
    finally:
        theirs.close()
        ours.close()


def test_a_channel_that_is_closed_by_what_came_is_read_no_further() -> None:
    ours, theirs = make_pair()
    other = Channel(theirs)
    try:
        for _ in range(3):
            ours.send(Message(Event.SHUTTING_DOWN))
        seen = 0
        for _ in other.receive():
            seen += 1
            other.close()
        assert seen == 1
    finally:
        ours.close()


def test_full_receiver_loses_nothing() -> None:
    ours, theirs = make_pair()
    peer = Channel(theirs)
    try:
        payload = bytes(60_000)
        sent = 0
        while not ours.backlog:
            ours.send(Message(Event.RPC_RESPONSE, fields={"handle": sent, "payload": payload, "payload_sz": 60_000}))
            sent += 1
        for _ in range(5):
            ours.send(Message(Event.RPC_RESPONSE, fields={"handle": sent, "payload": payload, "payload_sz": 60_000}))
            sent += 1
        got: list[int] = []
        while len(got) < sent:
            got += [message.handle for message in peer.receive()]
            ours.flush()
        assert got == list(range(sent))
        assert ours.backlog == 0
    finally:
        peer.close()
        ours.close()


def test_engine_that_does_not_stop_is_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SHUTTING_DOWN, then SIGTERM, then SIGKILL; with short times, since this engine obeys neither of the first two."""
    monkeypatch.setattr(engine_module, "ORDERLY_SECONDS", 0.05)
    monkeypatch.setattr(engine_module, "TERM_SECONDS", 0.05)
    (site.rundir / "engine.do").write_text("deaf")
    fake = [sys.executable, os.path.join(os.path.dirname(__file__), "fake_engine.py")]
    loop = Loop()
    services = RpcProcess(loop)
    users = load(str(site.pwddb))
    requests = Requests(config.load(site.config), users, services, on_listening=lambda addresses: engine.stop())
    settings = EngineSettings(workers=1)
    engine = Engine(loop, settings, str(site.rundir), str(site.folder), requests.answer, requests.refused, fake)
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        loop.stop()

    engine.on_exit = end
    requests.reply = engine.reply
    engine.start()
    services.start()
    loop.run()
    services.stop()
    loop.close()
    assert ended == [-signal.SIGKILL]
    assert not engine.running
