# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker is killed in the middle of eight copies: its clients are cut off, the others' files arrive whole."""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from server import KsmbdServer, StartKsmbd

COPIES = 8
SIZE = 160 << 20


class Copy:
    """One smbclient that reads a file; its hash, and its exit status once it has ended."""

    def __init__(self, server: KsmbdServer, name: str) -> None:
        command = ["smbclient", "//127.0.0.1/share", "-p", str(server.port), "-U", f"{server.user}%{server.password}",
                   "-s", "/dev/null", "-m", "SMB3_11", "-c", f"get {name} -"]  # fmt: skip
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.digest = hashlib.sha256()
        self.bytes = 0
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read(1 << 20):
            self.digest.update(data)
            self.bytes += len(data)
            if not self.begun.is_set():
                self.begun.set()
                assert self.go_on.wait(60)
        self.begun.set()

    def finish(self) -> int:
        """Its exit status."""
        self.go_on.set()
        self._thread.join(120)
        return self._process.wait(60)


@pytest.mark.parametrize("bpf", [True, False])
def test_the_clients_of_other_workers_finish_with_equal_hashes(start_ksmbd: StartKsmbd, bpf: bool) -> None:
    server = start_ksmbd(workers=4, bpf=bpf, options={"max ip connections": "64"})
    content = os.urandom(1 << 20) * (SIZE >> 20)
    Path(server.share_path / "big").write_bytes(content)
    expected = hashlib.sha256(content).digest()
    copies = [Copy(server, "big") for _ in range(COPIES)]
    for copy in copies:
        assert copy.begun.wait(60)
    text = server.wait_stats(rf"(?m)^connections: {COPIES}$")
    workers = re.findall(r"(?m)^ksmbd/(\d+): pid (\d+),.*? connections (\d+)", text)
    _, pid, held = max(workers, key=lambda worker: int(worker[2]) < COPIES and int(worker[2]))
    os.kill(int(pid), signal.SIGKILL)
    server.wait_for(r"was ended by signal 9; its clients are disconnected")
    statuses = [copy.finish() for copy in copies]
    whole = [copy for copy in copies if copy.digest.digest() == expected and copy.bytes == SIZE]
    assert len(whole) == COPIES - int(held), f"{statuses}, {held} were the dead worker's"
    assert 0 < int(held) < COPIES
    # The worker is there again, and nothing of the dead one's opens keeps anybody from deleting the file
    server.wait_stats(r"(?m)^workers: 4$")
    server.wait_stats(r"(?m)^opens: 0$")
    assert server.smbclient("del big").returncode == 0
    assert not Path(server.share_path / "big").exists()


def test_a_worker_that_finds_no_table_of_open_files_starts_the_engine_again(start_ksmbd: StartKsmbd) -> None:
    """Somebody cleared the run directory: the new worker would grant what the old ones have granted."""
    server = start_ksmbd(workers=2)
    shutil.rmtree(server.rundir / "opens")
    victim = server.stats()["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    ended = server.wait_for(r"^ksmbd: error: the engine ended with status 1; it starts again")
    server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", after=ended.end())
    assert (server.rundir / "opens").is_dir()
    result = server.smbclient("put ksmbd.conf there; ls")
    assert result.returncode == 0 and "there" in result.stdout, result.stdout
