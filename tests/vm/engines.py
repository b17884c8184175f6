# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers with either engine: our own, and the kernel's, of which a machine has one."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from guest import IN_GUEST
from server import KsmbdServer

from ksmbd.ipc.genetlink import KernelChannel

USERS = {"user": "secret", "other": "hidden"}
START_SECONDS = 180.0
"""An emulated machine is slow."""

Start = Callable[..., KsmbdServer]


def no_kernel_server() -> str:
    """Why the kernel's server cannot be driven here, or ''."""
    if os.geteuid():
        return "needs root"
    if IN_GUEST:
        subprocess.run(["modprobe", "ksmbd"], capture_output=True, check=False)
    try:
        KernelChannel.open().close()
    except OSError:
        return "needs the kernel's module ksmbd"
    return ""


@pytest.fixture(scope="module", params=["own", "kernel"])
def engine(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "kernel" and (lack := no_kernel_server()):
        pytest.skip(lack)
    return name


@pytest.fixture(scope="module")
def start(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts a server with this engine."""

    def made(**options: object) -> KsmbdServer:
        folder = tmp_path_factory.mktemp("server") / "server"
        server = KsmbdServer(folder, bpf=False, users=USERS, engine=engine, **options)  # type: ignore[arg-type]
        server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", START_SECONDS)
        return server

    return made


def refused(result: subprocess.CompletedProcess[str], status: str) -> bool:
    """Whether smbclient failed with this status."""
    return result.returncode != 0 and status in result.stdout + result.stderr


def no_share(result: subprocess.CompletedProcess[str]) -> bool:
    """Whether smbclient has met no share of that name. It does not take the signature of a refusal by the kernel's
    server (Linux 6.12), and shows its own NT_STATUS_ACCESS_DENIED then."""
    if "Bad SMB2" in result.stderr:
        return refused(result, "NT_STATUS_ACCESS_DENIED")
    return refused(result, "NT_STATUS_BAD_NETWORK_NAME")


def mount(server: KsmbdServer, place: Path) -> Path:
    """Mount the share `share` with cifs.ko."""
    place.mkdir()
    options = f"port={server.port},username=user,password=secret,vers=3.1.1,noperm,nosharesock,soft"
    line = ["mount", "-t", "cifs", "//127.0.0.1/share", str(place), "-o", options]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return place
