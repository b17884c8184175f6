# SPDX-License-Identifier: GPL-2.0-or-later
"""The run directory, the sub-authorities' file and the list of shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mountd import listing, subauth
from mountd.config import parse
from mountd.files import FileProblem
from mountd.rundir import RunDirectory


@pytest.fixture
def manager() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a manager, which lasts as long as the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "ksmbd.mountd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # from now on its command line is what we gave
    yield process
    if process.returncode is None:
        process.communicate()


def test_option_environment_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KSMBD_RUNDIR", raising=False)
    assert RunDirectory.from_option(None).path == "/run/ksmbd"
    monkeypatch.setenv("KSMBD_RUNDIR", "/elsewhere")
    assert RunDirectory.from_option(None).path == "/elsewhere"
    assert RunDirectory.from_option("/given").path == "/given"


def test_paths() -> None:
    rundir = RunDirectory("/r")
    assert (rundir.lock, rundir.debug) == ("/r/ksmbd.lock", "/r/class/ksmbd-control/debug")
    assert rundir.fifo(7) == "/r/ksmbd.fifo.7"


@pytest.mark.parametrize(("lock", "control"), [
    ("7\n", ""), ("", ""), ("7\n/sys/class/ksmbd-control\n", "/sys/class/ksmbd-control"),
])  # fmt: skip
def test_the_control_files_of_the_kernels_server(tmp_path: Path, lock: str, control: str) -> None:
    rundir = RunDirectory(str(tmp_path))
    (tmp_path / "ksmbd.lock").write_text(lock)
    assert rundir.kernel_control == control
    assert rundir.debug == (control or f"{tmp_path}/class/ksmbd-control") + "/debug"


def test_the_manager_is_found_while_it_runs(tmp_path: Path, manager: subprocess.Popen[bytes]) -> None:
    rundir = RunDirectory(str(tmp_path))
    assert rundir.manager_pid() is None
    Path(rundir.lock).write_text(f"{manager.pid}\n")
    assert rundir.manager_pid() == manager.pid
    manager.communicate()
    assert rundir.manager_pid() is None


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "1", str(2**31), "\0"])
def test_a_lock_file_without_a_process_is_nobody(tmp_path: Path, content: str) -> None:
    rundir = RunDirectory(str(tmp_path))
    Path(rundir.lock).write_text(content)
    assert rundir.manager_pid() is None


def test_a_number_that_another_program_has_by_now_is_nobody(tmp_path: Path) -> None:
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    rundir = RunDirectory(str(tmp_path))
    Path(rundir.lock).write_text(str(other.pid))
    assert rundir.manager_pid() is None
    other.communicate()


def test_subauth_is_drawn_once(tmp_path: Path) -> None:
    path = subauth.path_for(str(tmp_path / "ksmbd.conf"))
    first = subauth.load_or_create(path)
    assert all(0 <= number < 2**32 for number in first)
    assert subauth.load_or_create(path) == first
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert Path(path).read_text() == ":".join(map(str, first)) + "\n"


@pytest.mark.parametrize("content", ["", "1:2", "1:2:3:4", "1:2:4294967296", "a:b:c", "1:-2:3"])
def test_a_broken_subauth_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ksmbd.subauth"
    path.write_text(content)
    with pytest.raises(FileProblem, match=r"ksmbd\.subauth: allowed is NUMBER:NUMBER:NUMBER"):
        subauth.load_or_create(str(path))


def test_the_list_of_shares_goes_through_the_fifo(tmp_path: Path) -> None:
    """More shares than a pipe holds at first, so that writing waits for the reader."""
    text = "[global]\nroot directory = /r\n" + "".join(
        f"[s{i:04}]\npath = /p{i}\ncomment = {'c' * 40}\n" for i in range(900)
    )
    configuration = parse(text, "ksmbd.conf")
    rundir = RunDirectory(str(tmp_path))
    os.mkfifo(rundir.fifo(os.getpid()))
    received: list[bytes] = []
    reader = os.open(rundir.fifo(os.getpid()), os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    writer = threading.Thread(target=listing.answer, args=(rundir, configuration))
    writer.start()
    with open(reader, "rb") as stream:
        # A reader that opened before the writer sees the end at once: wait for the first byte as ksmbd.control does.
        import select

        select.select([stream], [], [])
        received.append(stream.read())
    writer.join()
    shares = json.loads(received[0])["shares"]
    assert len(shares) == 901
    assert {s["name"]: s["path"] for s in shares}["s0899"] == "/r/p899"


def test_nobody_who_asks_is_nothing_to_do(tmp_path: Path) -> None:
    rundir = RunDirectory(str(tmp_path))
    listing.answer(rundir, parse("", "c"))
    os.mkfifo(rundir.fifo(os.getpid()))
    listing.answer(rundir, parse("", "c"))
    assert os.listdir(tmp_path) == [f"ksmbd.fifo.{os.getpid()}"]
