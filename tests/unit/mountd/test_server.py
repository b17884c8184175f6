# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's life where its engine does not begin."""
from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mountd.engine import Engine
from mountd.kernelserver.engine import KernelEngine
from mountd.rpc.child import RpcProcess
from mountd.rundir import RunDirectory
from mountd.server import SIGNALS, Options, Server


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Options]:
    """A configuration without shares; signals are as before afterwards."""
    config, users = tmp_path / "ksmbd.conf", tmp_path / "ksmbdpwd.db"
    config.write_text("[global]\nworkers = 1\n")
    users.write_text("")
    touched = (*SIGNALS, signal.SIGPIPE, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in touched}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield Options(str(config), str(users), RunDirectory(str(tmp_path / "run")), str(tmp_path / "state"))
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("error", [OSError("no sockets"), ValueError("does not fit")], ids=lambda e: type(e).__name__)
def test_an_engine_that_cannot_be_started_ends_the_daemon(
    options: Options, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def start(self: Engine) -> None:
        raise error

    monkeypatch.setattr(Engine, "start", start)
    told: list[str] = []
    server = Server(options, on_ready=told.append)
    assert server.run() == 1
    assert told == [f"the engine cannot be started: {error}"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kernel", [True, False])
def test_the_kernels_server_finds_the_rpc_services_there(
    options: Options, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    engine: type[Engine] | type[KernelEngine] = KernelEngine if kernel else Engine
    monkeypatch.setattr(engine, "start", lambda self: None)
    monkeypatch.setattr(engine, "running", True)
    started: list[str] = []
    monkeypatch.setattr(RpcProcess, "start", lambda self: started.append("ksmbd.rpc"))
    server = Server(replace(options, kernel=kernel))
    server.loop.stop()
    assert server.run() == 0
    assert started == (["ksmbd.rpc"] if kernel else []), "our engine's clients wait for the start"
