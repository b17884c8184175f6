# SPDX-License-Identifier: GPL-2.0-or-later
"""A private smbd, for what it answers to the same requests on the same files; root, where Samba is installed."""
from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from processes import free_port

MODULES = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "samba" / "vfs"


def missing(*modules: str) -> str:
    """What is not there of it, '' where all is."""
    if os.geteuid():
        return "needs root"
    if shutil.which("smbd") is None or shutil.which("smbclient") is None:
        return "needs samba and smbclient"
    lacking = [module for module in modules if not (MODULES / f"{module}.so").exists()]
    return f"needs Samba's {', '.join(lacking)} (samba-vfs-modules)" if lacking else ""


class Samba:
    """Shares folders for one user, with a Unix account of that name."""

    def __init__(
        self, folder: Path, user: str, password: str, shares: Mapping[str, Mapping[str, str]], modules: str
    ) -> None:
        self.port = free_port()
        self.login = f"{user}%{password}"
        folder.mkdir()
        config = folder / "smb.conf"
        lines = [
            "[global]", "netbios name = BESIDE", "server role = standalone server", "disable spoolss = yes",
            f"smb ports = {self.port}", "interfaces = lo", "bind interfaces only = yes", "ea support = yes",
            "store dos attributes = yes", "map archive = no", f"vfs objects = {modules}", f"log file = {folder}/log",
            f"passdb backend = tdbsam:{folder}/passdb.tdb", f"ncalrpc dir = {folder}/ncalrpc",
        ]  # fmt: skip
        lines += [
            f"{kind} = {folder}"
            for kind in ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
        ]
        for name, options in shares.items():
            lines += [f"[{name}]", "read only = no", *(f"{key} = {value}" for key, value in options.items())]
        config.write_text("\n".join(lines) + "\n")
        text = f"{password}\n{password}\n"
        command = ["smbpasswd", "-c", str(config), "-s", "-a", user]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        self._child = subprocess.Popen(
            ["smbd", "-s", str(config), "-F", "--no-process-group"], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_until_listening(self) -> None:
        """Skip the test where it does not come up."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._child.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            select.select([], [], [], 0.05)
        pytest.skip("smbd does not come up here")

    def smbclient(self, share: str, commands: str) -> str:
        """What smbclient prints, errors too."""
        return smbclient(self.port, share, self.login, commands)

    def stop(self) -> None:
        """With all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGTERM)
        self._child.wait(30)


def smbclient(port: int, share: str, login: str, commands: str) -> str:
    """What smbclient prints, errors too."""
    command = ["smbclient", f"//127.0.0.1/{share}", "-p", str(port), "-U", login, "-s", "/dev/null", "-c", commands]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PAGER": "cat"}
    )
    return done.stdout + done.stderr


@contextlib.contextmanager
def samba(
    folder: Path, user: str, password: str, shares: Mapping[str, Mapping[str, str]], modules: str
) -> Iterator[Samba]:
    """It, listening."""
    server = Samba(folder, user, password, shares, modules)
    try:
        server.wait_until_listening()
        yield server
    finally:
        server.stop()
