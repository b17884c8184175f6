# SPDX-License-Identifier: GPL-2.0-or-later
"""Start, reload and end of a server with either engine, each test with a server of its own."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from controlling import control, outcome
from engines import START_SECONDS, Start, engine, mount, no_kernel_server, no_share, refused, start
from guest import IN_GUEST
from server import KsmbdServer
from test_cifs import missing

__all__ = ["engine", "start"]


def test_a_reload(start: Start, engine: str, tmp_path: Path) -> None:
    server = start(shares={"share": {}, "goes": {}, "private": {}})
    try:
        (tmp_path / "new").write_text("x")
        assert server.smbclient(f"put {tmp_path}/new new").returncode == 0
        text = server.config.read_text()
        server.config.write_text(text.replace("read only = no", "read only = yes", 1).replace("[goes]", "[comes]"))
        assert outcome(control(server, "-r")) == (0, "", "")
        assert "NT_STATUS_ACCESS_DENIED" in server.smbclient(f"put {tmp_path}/new newer").stdout
        assert server.smbclient("ls", share="comes").returncode == 0
        assert no_share(server.smbclient("ls", share="goes"))
        server.config.write_text(text.replace("read only = no", "read only = perhaps", 1))
        status, _, err = outcome(control(server, "-r"))
        assert status == 1 and "read only" in err
        assert server.smbclient("ls", share="comes").returncode == 0
        server.command_output("ksmbd.adduser", "-a", "-p", "fresh", *server._files(), "third")
        server.config.write_text(text)
        assert outcome(control(server, "-r")) == (0, "", "")
        assert server.smbclient(f"put {tmp_path}/new newer", user="third%fresh").returncode == 0
    finally:
        assert not server.finish(), server.stderr


def test_shutting_down(start: Start, engine: str) -> None:
    server = start()
    assert server.smbclient("ls").returncode == 0
    status, _, err = outcome(control(server, "-s", "-v"))
    assert status == 0 and "has ended" in err
    assert server.wait() == 0
    assert refused(server.smbclient("ls"), "NT_STATUS_CONNECTION_REFUSED")
    server.restart()
    server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", START_SECONDS)
    assert server.smbclient("ls").returncode == 0
    assert not server.finish(), server.stderr


def test_the_kernel_keeps_its_clients_when_mountd_dies(start: Start, engine: str, tmp_path: Path) -> None:
    if engine != "kernel" or not IN_GUEST or missing():
        pytest.skip("needs the kernel's server and client")
    server = start(shares={"share": {}})
    place = mount(server, tmp_path / "mounted")
    try:
        (place / "before").write_text("x")
        server.stop(signal.SIGKILL)
        (place / "without").write_text("x")
        server.restart()
        server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", START_SECONDS)
        assert "the kernel's server runs already" in server.drain()
        (place / "after").write_text("x")
        assert sorted(os.listdir(place)) == ["after", "before", "without"]
        assert server.smbclient("ls").returncode == 0
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)
        assert not server.finish(), server.stderr


def test_a_second_daemon_is_refused(start: Start, engine: str) -> None:
    if engine != "kernel":
        pytest.skip("our engine may run several times")
    server = start(shares={"share": {}})
    try:
        with pytest.raises(AssertionError, match="another daemon drives the kernel's server"):
            start(shares={"share": {}})
        assert server.smbclient("ls").returncode == 0
    finally:
        assert not server.finish(), server.stderr


def test_without_the_kernels_module(tmp_path: Path) -> None:
    if not no_kernel_server():
        pytest.skip("the kernel's module is there")
    server = KsmbdServer(tmp_path / "server", engine="kernel")
    assert server.wait() == 1
    lines = [line for line in server.stderr.splitlines() if "SMBD_GENL" in line]
    assert lines == [
        "ksmbd: error: the engine cannot be started: the kernel has no SMBD_GENL family: load its server (modprobe "
        "ksmbd), or leave out --engine=kernel"
    ]
