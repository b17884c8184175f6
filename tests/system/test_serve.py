# SPDX-License-Identifier: GPL-2.0-or-later
"""`make serve` as somebody who has just cloned the project uses it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from processes import free_port

TOP = Path(__file__).resolve().parents[2]
SECONDS = 60

pytestmark = pytest.mark.skipif(shutil.which("smbclient") is None, reason="smbclient is not installed")


@dataclass
class Serving:
    """A running `make serve`, in a session of its own as a terminal would give it."""

    folder: Path
    command: tuple[str, ...] = ("make", "--no-print-directory", "serve")
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            "PORT": str(self.port), "SHARE_PATH": str(self.folder), "SMB_USER": "someone",
            "SMB_PASSWORD": "pass-Word 1", "TMPDIR": str(self.folder.parent),
        }  # fmt: skip
        self.process = subprocess.Popen(
            self.command, cwd=TOP, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.shown = ""

    def wait_until(self, pattern: str) -> str:
        """Its output, once the pattern is in it."""
        assert self.process.stdout is not None
        while not re.search(pattern, self.shown):
            assert select.select([self.process.stdout], [], [], SECONDS)[0], self.shown
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"it ended:\n{self.shown}"
            self.shown += piece.decode()
        return self.shown

    def processes(self) -> list[int]:
        """All processes of the session that are not dead."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:  # proc(5): behind the command's name: state, parent, group, session
                    state, _, _, session = Path("/proc", entry, "stat").read_text().rpartition(") ")[2].split()[:4]
                except OSError:
                    continue
                if int(session) == self.process.pid and state not in "ZX":
                    found.append(int(entry))
        return found

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the group and wait until every process has ended; make's exit status."""
        watched = [os.pidfd_open(pid) for pid in self.processes()]
        os.killpg(self.process.pid, number)
        for descriptor in watched:
            assert select.select([descriptor], [], [], SECONDS)[0], "a process stayed behind"
            os.close(descriptor)
        status = self.process.wait(SECONDS)
        assert self.processes() == []
        return status

    def smbclient(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """smbclient with the user that is served."""
        return subprocess.run(
            ["smbclient", *arguments, "-p", str(self.port), "-U", "someone%pass-Word 1"],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared


@pytest.fixture
def serving(folder: Path) -> Iterator[Serving]:
    running = Serving(folder)
    yield running
    for pid in running.processes():
        with contextlib.suppress(ProcessLookupError):  # it ended with the one before
            os.kill(pid, signal.SIGKILL)
    running.process.wait()


def test_a_folder_is_shared_as_it_says(serving: Serving, folder: Path, tmp_path: Path) -> None:
    shown = serving.wait_until("Ctrl-C ends it")
    assert shown.index("ksmbd: listening on ") < shown.index("smb://127.0.0.1:")
    for line in (f"folder    {folder}", "user      someone", "password  pass-Word 1"):
        assert line in shown
    tried = re.search(
        r"^  try +smbclient //127\.0\.0\.1/(\w+) -p (\d+) -U 'someone%pass-Word 1' -c ls$", shown, re.MULTILINE
    )
    assert tried is not None
    assert int(tried[2]) == serving.port
    listed = serving.smbclient("-L", "127.0.0.1")
    assert re.search(rf"^\s+{tried[1]}\s+Disk", listed.stdout, re.MULTILINE), listed.stdout + listed.stderr
    (tmp_path / "sent").write_bytes(os.urandom(100_000))
    copied = serving.smbclient(
        f"//127.0.0.1/{tried[1]}", "--client-protection=encrypt", "-c", f"put {tmp_path}/sent x; get x {tmp_path}/back"
    )
    assert copied.returncode == 0, copied.stdout + copied.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes() == (folder / "x").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_ending_it_leaves_nothing_behind(serving: Serving, tmp_path: Path, number: signal.Signals) -> None:
    serving.wait_until("Ctrl-C ends it")
    serving.end(number)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", serving.port))
    if number != signal.SIGKILL:  # which leaves no time to tidy up
        assert [path.name for path in tmp_path.iterdir()] == ["shared"]
        assert "Traceback" not in serving.shown


def test_the_command_itself_ends_with_0(folder: Path) -> None:
    serving = Serving(folder, (sys.executable, "-Pm", "ksmbd.tools.serve"))
    serving.wait_until("Ctrl-C ends it")
    assert serving.end(signal.SIGTERM) == 0


def test_a_second_server_on_the_port_says_which_variable_to_set(serving: Serving, folder: Path) -> None:
    serving.wait_until("Ctrl-C ends it")
    second = Serving(folder, port=serving.port)
    assert (
        f"make serve: port {serving.port} is taken by another program; choose another one, as in: make serve PORT=4450"
        in (second.wait_until("PORT=4450"))
    )
    assert second.process.wait(SECONDS) != 0
