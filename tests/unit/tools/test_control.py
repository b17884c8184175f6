# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control: what it asks of a running daemon, and what it says without one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from ksmbd.tools import control
from toolbench import Answering, Engine, Manager, Place

from ksmbd.ipc.activity import Target
from mountd.console import asking


@pytest.mark.parametrize("argv", [["-s"], ["-r"], ["-l"], ["-d", "smb"], ["--features"]])
def test_without_a_daemon_every_action_is_one_line(place: Place, argv: list[str]) -> None:
    assert "ksmbd.mountd does not run in" in place.fails("control", *argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give one action"),
        (["-s", "-r"], "give one action"),
        (["-c", "x"], "unexpected argument 'x'"),
        (["--check", "x", "y"], "unexpected argument 'x'"),
        (["-d", "nfs"], "no component 'nfs': allowed is all, smb, auth"),
    ],
)
def test_refusals(place: Place, argv: list[str], message: str) -> None:
    assert message in place.fails("control", *argv)


def test_shutdown_waits_for_the_end(place: Place, manager: Manager) -> None:
    assert place.call("control", "-s").status == 0
    assert manager.line() == "terminated"
    assert manager.process.wait() == 0


@pytest.mark.parametrize(
    ("answer", "argv", "status", "err"),
    [
        ({"reloaded": True, "notes": ["a.conf:1: odd"], "silent": []}, ["-r"], 0, ""),
        ({"reloaded": True, "notes": ["a.conf:1: odd"], "silent": []}, ["-r", "-v"], 0, "a.conf:1: odd\n"),
        (
            {"reloaded": True, "restart": True, "silent": []}, ["-r"], 0,
            "ksmbd.control: changes in [global] that concern the engine count from its next start\n",
        ),
        (
            {"reloaded": True, "closed": {"tree_connects": 2}, "silent": []}, ["-r", "-v"], 0,
            "ksmbd.control: closed, because the configuration no longer admits it: 2 tree connects\n",
        ),
        ({"problems": ["a.conf:3: bad \x1b", "a.conf:9: worse"]}, ["-r"], 1, "a.conf:3: bad \\x1b\na.conf:9: worse\n"),
        (
            {"reloaded": True, "silent": [2]}, ["-r"], 0,
            "ksmbd.control: ksmbd/2 has not said yet that it uses the new configuration\n",
        ),
        ({"error": "not allowed"}, ["-r"], 1, "ksmbd.control: not allowed\n"),
    ],
)  # fmt: skip
def test_reload_waits_for_the_outcome(
    place: Place, manager: Manager, answer: dict[str, object], argv: list[str], status: int, err: str
) -> None:
    with Answering(place, answer) as daemon:
        outcome = place.call("control", *argv)
        assert daemon.asked == {"ask": "reload"}
    assert (outcome.status, outcome.out, outcome.err) == (status, "", err)


def test_a_daemon_that_breaks_off(place: Place, manager: Manager) -> None:
    with Answering(place):
        assert "has just ended" in place.fails("control", "-r")


def test_a_daemon_without_its_socket(place: Place, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "START_SECONDS", 0.01)
    assert "the server is not up yet" in place.fails("control", "-r")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a stranger")
def test_a_stranger_gets_one_line(place: Place, manager: Manager) -> None:
    with Answering(place, {"reloaded": True}):
        os.chmod(place.rundir.socket, 0o600)
        folder = place.folder
        while folder != folder.parent:
            os.chmod(folder, os.stat(folder).st_mode | 0o005)
            folder = folder.parent
        code = "import os, sys; os.setgid(65534); os.setuid(65534); from ksmbd.tools.control import main; main()"
        command = [sys.executable, "-Pc", code, "-r", "-R", place.rundir.path]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (result.returncode, result.stdout) == (1, "")
    socket = place.rundir.socket
    assert result.stderr == (
        f"ksmbd.control: not allowed ({socket}): use it as root, or as the user that runs ksmbd.mountd\n"
    )


def test_list(place: Place, manager: Manager) -> None:
    outcome = place.call("control", "-l")
    assert outcome.out.splitlines() == [
        "SHARE  ACCESS         PATH  COMMENT",
        "data   write, guests  /srv  Our data",
    ]
    assert json.loads(place.call("control", "-l", "--json").out)["shares"][0]["name"] == "data"
    assert [name for name in os.listdir(place.rundir.path) if "fifo" in name] == []


def test_a_fifo_left_behind_does_not_matter(place: Place, manager: Manager) -> None:
    os.mkfifo(place.rundir.fifo(manager.process.pid))
    assert place.call("control", "-l").status == 0


def test_debug_toggles(place: Place, engine: Engine) -> None:
    assert place.call("control", "-d", "smb").out == "[smb] auth vfs oplock ipc conn rdma\n"
    assert place.call("control", "--debug=rdma").out == "[smb] auth vfs oplock ipc conn [rdma]\n"
    assert place.call("control", "-dsmb").out == "smb auth vfs oplock ipc conn [rdma]\n"
    assert place.call("control", "-d", "all").out == "[smb] [auth] [vfs] [oplock] [ipc] [conn] [rdma]\n"
    assert place.call("control", "-d", "all").out == "smb auth vfs oplock ipc conn rdma\n"


def test_an_engine_that_does_not_answer(place: Place, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(place.rundir.control)
    Path(place.rundir.debug).write_text("smb auth vfs oplock ipc conn rdma\n")
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.01)
    assert "did not answer" in place.fails("control", "-d", "smb")


def test_an_engine_that_is_not_up(place: Place, manager: Manager) -> None:
    assert "the engine is not up yet" in place.fails("control", "-d", "smb")
    assert "the engine is not up yet" in place.fails("control", "--features")


def test_features(place: Place, manager: Manager) -> None:
    os.makedirs(place.rundir.control)
    Path(place.rundir.features).write_text("openat2 on\nsteer off bpf = no\n")
    assert place.call("control", "--features").out == "openat2 on\nsteer off bpf = no\n"
    assert json.loads(place.call("control", "--features", "--json").out) == {
        "features": [{"name": "openat2", "on": True, "why": ""}, {"name": "steer", "on": False, "why": "bpf = no"}]
    }


def test_version(place: Place) -> None:
    assert re.fullmatch(r"ksmbd version : \d+\.\d+\.\d+\n", place.call("control", "-c").out)


def test_signals_are_not_sent_to_a_stranger(place: Place) -> None:
    """A lock file whose number another program has by now: nobody is stopped."""
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    Path(place.rundir.lock).write_text(str(stranger.pid))
    place.fails("control", "-s")
    assert not place.rundir.notify(signal.SIGTERM)
    stranger.communicate()
    assert stranger.returncode == 0


@pytest.mark.parametrize(
    ("closed", "argv", "status", "out", "err"),
    [
        ({"sessions": 1, "files": 3}, [], 0, "closed: 1 session, 3 files\n", ""),
        ({}, [], 1, "", "ksmbd.control: nothing is open that '192.0.2.1' names\n"),
        ({"files": 1}, ["--json"], 0, '{"closed": {"files": 1}, "silent": []}\n', ""),
    ],
)
def test_close_tells_what_was_closed(
    place: Place, manager: Manager, closed: dict[str, object], argv: list[str], status: int, out: str, err: str
) -> None:
    with Answering(place, {"closed": closed, "silent": []}) as daemon:
        outcome = place.call("control", "--close", "192.0.2.1", *argv)
        asked = daemon.asked
    assert (outcome.status, outcome.out, outcome.err) == (status, out, err)
    assert asked == {"ask": "close", "target": asdict(Target(address="192.0.2.1"))}


def test_close_names_a_worker_that_is_silent(place: Place, manager: Manager) -> None:
    with Answering(place, {"closed": {"files": 1}, "silent": [2]}):
        outcome = place.call("control", "--close", "data")
    assert outcome.status == 0
    assert outcome.err == "ksmbd.control: ksmbd/2 does not answer: what it serves may not be closed\n"


def test_close_of_what_is_no_name(place: Place, manager: Manager) -> None:
    assert "'x' is no address" in place.fails("control", "--close", "address:x")


def test_status_is_printed_as_it_comes(place: Place, manager: Manager) -> None:
    row = {
        "file": "0x1", "session": "0x2", "account": "ann", "share": "data", "path": "a", "offset": 0, "length": 1,
        "exclusive": False, "worker": 1,
    }  # fmt: skip
    with Answering(place, {"locks": [row]}, {"locks": [{**row, "offset": 9}]}, {"silent": [2]}):
        outcome = place.call("control", "--locks")
    assert [line.split()[4] for line in outcome.out.splitlines()] == ["OFFSET", "0", "9"]
    assert (outcome.status, outcome.err) == (
        0, "ksmbd.control: ksmbd/2 does not answer: what it serves is missing here\n",
    )  # fmt: skip


def test_who_reads_a_list_may_stop_early(place: Place, manager: Manager) -> None:
    row = {
        "file": "0x1", "session": "0x2", "account": "ann", "share": "data", "path": "a" * 200, "offset": 0,
        "length": 1, "exclusive": False, "worker": 1,
    }  # fmt: skip
    part: dict[str, object] = {"locks": [row] * 500}
    with Answering(place, *[part] * 10, {"silent": []}):
        command = [sys.executable, "-Pm", "ksmbd.tools.control", "--locks", "-R", place.rundir.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            assert client.stdout is not None and client.stderr is not None
            assert client.stdout.readline().startswith(b"FILE")
            client.stdout.close()
            assert client.stderr.read() == b""
    assert client.returncode == 1


@pytest.fixture
def kernel(place: Place, tmp_path: Path) -> Path:
    """The control files of the kernel's server, which the lock file names."""
    folder = tmp_path / "ksmbd-control"
    folder.mkdir()
    (folder / "debug").write_text("smb auth vfs oplock ipc conn [rdma] \n")
    (folder / "stats").write_text("2 running 445 0\n")
    (folder / "kill_server").write_text("")
    os.makedirs(place.rundir.path, exist_ok=True)
    return folder


def _lock(place: Place, pid: int, folder: Path) -> None:
    Path(place.rundir.lock).write_text(f"{pid}\n{folder}\n")


def test_debug_of_the_kernels_server(place: Place, manager: Manager, kernel: Path) -> None:
    _lock(place, manager.process.pid, kernel)
    # A file, unlike the kernel, gives back what was written.
    assert place.call("control", "-d", "smb").out == "smb\n"
    assert (kernel / "debug").read_text() == "smb\n", "one word, without blanks behind it"


def test_features_of_the_kernels_server(place: Place, manager: Manager, kernel: Path) -> None:
    _lock(place, manager.process.pid, kernel)
    assert "does not tell its features" in place.fails("control", "--features")


def test_shutdown_of_a_kernels_server_whose_daemon_has_died(place: Place, kernel: Path) -> None:
    _lock(place, 2**22 - 1, kernel)
    outcome = place.call("control", "-s", "-v")
    assert (outcome.status, outcome.err) == (
        0, "ksmbd.control: the kernel's server has ended, whose ksmbd.mountd had died\n",
    )  # fmt: skip
    assert (kernel / "kill_server").read_text() == "hard\n"
    (kernel / "stats").write_text("2 startup 445 0\n")
    assert "ksmbd.mountd does not run in" in place.fails("control", "-s")
