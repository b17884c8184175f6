# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.adduser, ksmbd.addshare and ksmbd.control as their users meet them: what they write, say and return."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ksmbd.tools import addshare, adduser, control, serve

from ksmbd.debug import COMPONENTS
from mountd import accounts
from mountd.config import load
from mountd.rundir import RunDirectory


@dataclass
class Outcome:
    status: int
    out: str
    err: str


@dataclass
class Place:
    """A server's files, and the tools run on them."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.folder / "ksmbd.conf"

    @property
    def database(self) -> Path:
        return self.folder / "ksmbdpwd.db"

    @property
    def rundir(self) -> RunDirectory:
        return RunDirectory(str(self.folder / "run"))

    def call(self, tool: str, *argv: str) -> Outcome:
        files = ["-R", self.rundir.path]
        if tool != "control":
            files += ["-C", str(self.config), "-P", str(self.database)]
        main = {"adduser": adduser.main, "addshare": addshare.main, "control": control.main}[tool]
        self.capsys.readouterr()
        try:
            status = main([*argv, *files])
        except SystemExit as leaving:
            assert isinstance(leaving.code, int)
            status = leaving.code
        captured = self.capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    def fails(self, tool: str, *argv: str) -> str:
        """The one line on stderr of a call that returns 1."""
        outcome = self.call(tool, *argv)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert outcome.err.startswith(f"ksmbd.{tool}: ")
        return outcome.err

    def hash(self, user: str) -> bytes | None:
        account = accounts.load(str(self.database)).find(user)
        return account.nt_hash if account else None


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    (tmp_path / "run").mkdir()
    return Place(tmp_path, capsys)


MANAGER = """
import os, signal, sys
def say(text):  # not print: a signal may come while print is at work
    os.write(1, text.encode() + b"\\n")
fifo = sys.argv[1]
def listing(*_):
    with open(fifo, "w") as stream:
        stream.write(sys.argv[2])
def done(*_):
    say("terminated")
    os._exit(0)
signal.signal(signal.SIGUSR1, listing)
signal.signal(signal.SIGTERM, done)
signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
with open(sys.argv[3], "w") as stream:
    stream.write(str(os.getpid()))
say("ready")
while True:
    signal.pause()
"""


class Manager:
    """A stand-in for ksmbd.mountd that answers signals as the daemon does."""

    def __init__(self, place: Place, answer: str = "") -> None:
        command = f"import sys, os; sys.argv[1] += str(os.getpid()); exec({MANAGER!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, place.rundir.fifo(0)[:-1], answer, place.rundir.lock, "ksmbd.mountd"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def manager(place: Place) -> Iterator[Manager]:
    shares = [
        {
            "name": "data",
            "path": "/srv",
            "comment": "Our data",
            "browseable": True,
            "read_only": False,
            "guest_ok": True,
        }
    ]
    running = Manager(place, json.dumps({"shares": shares}))
    yield running
    running.end()


class TestAddUser:
    def test_add_update_delete(self, place: Place) -> None:
        assert place.call("adduser", "-a", "-ppw", "u1").out == "user u1 added\n"
        assert place.hash("u1") == accounts.nt_hash("pw")
        assert place.call("adduser", "--update", "--password=pw2", "u1").out == "user u1 updated\n"
        assert place.hash("u1") == accounts.nt_hash("pw2")
        assert place.call("adduser", "-d", "u1").out == "user u1 deleted\n"
        assert place.hash("u1") is None
        assert place.database.stat().st_mode & 0o777 == 0o600

    def test_without_a_flag_it_adds_or_updates(self, place: Place) -> None:
        assert place.call("adduser", "-p", "1", "u").out == "user u added\n"
        assert place.call("adduser", "-p", "2", "u").out == "user u updated\n"
        assert place.hash("u") == accounts.nt_hash("2")

    @pytest.mark.parametrize("password", ["", "-x", "pä ß:😀", "x" * 128])
    def test_passwords(self, place: Place, password: str) -> None:
        assert place.call("adduser", "-a", "-p", password, "u").status == 0
        assert place.hash("u") == accounts.nt_hash(password)

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["-a", "-p", "x"], "name one user"),
            (["-a", "-p", "x", "u", "v"], "one user at a time, not 2"),
            (["-a", "-d", "u"], "only one of -a, -d and -u"),
            (["-a", "-p", "x", "a:b"], "cannot contain ':'"),
            (["-a", "-p", "x", "u" * 48], "1 to 47 bytes, this one has 48"),
            (["-a", "-p", "x" * 129, "u"], "at most 128 bytes, this one has 129"),
            (["-u", "-p", "x", "nobody-here"], "ksmbdpwd.db"),
            (["-d", "nobody-here"], "ksmbdpwd.db"),
            (["-q"], "unknown option -q"),
        ],
    )
    def test_refusals(self, place: Place, argv: list[str], message: str) -> None:
        assert message in place.fails("adduser", *argv)
        assert not place.database.exists()

    def test_adding_twice_updating_or_deleting_nobody(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        assert "already; -u gives it a new password" in place.fails("adduser", "-a", "-p", "y", "u")
        assert "no user v in" in place.fails("adduser", "-u", "-p", "y", "v")
        assert "no user v in" in place.fails("adduser", "-d", "v")
        assert place.hash("u") == accounts.nt_hash("x")

    def test_a_broken_database_is_named_and_left_alone(self, place: Place) -> None:
        place.database.write_text("broken\n")
        assert "ksmbdpwd.db:1: no ':' in the line" in place.fails("adduser", "-a", "-p", "x", "u")
        assert place.database.read_text() == "broken\n"

    @pytest.mark.parametrize("key", ["valid users", "write list", "read list", "admin users", "guest account"])
    def test_a_user_that_a_share_names_stays(self, place: Place, key: str) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        place.config.write_text(f"[s]\npath = /s\n{key} = U\n")
        assert f"`{key}`" in place.fails("adduser", "-d", "u")
        assert place.hash("u") is not None

    def test_the_guest_account_stays(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        place.config.write_text("[global]\nguest account = u\n")
        assert "[global]" in place.fails("adduser", "-d", "u")

    def test_invalid_users_do_not_keep_a_user(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        place.config.write_text("[s]\npath = /s\ninvalid users = u\n")
        assert place.call("adduser", "-d", "u").status == 0

    @pytest.mark.parametrize(("piped", "password"), [("pw", "pw"), ("pw\n", "pw"), ("pw\npw\n", "pw"), ("\n", "")])
    def test_a_password_from_a_pipe(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piped: str, password: str
    ) -> None:
        (tmp_path / "stdin").write_text(piped)
        with open(tmp_path / "stdin", encoding="utf-8") as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert place.call("adduser", "-a", "u").status == 0
        assert place.hash("u") == accounts.nt_hash(password)

    @pytest.mark.parametrize("piped", ["", "one\nother\n"])
    def test_no_password_or_two_from_a_pipe(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piped: str
    ) -> None:
        (tmp_path / "stdin").write_text(piped)
        with open(tmp_path / "stdin", encoding="utf-8") as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            place.fails("adduser", "-a", "u")
        assert not place.database.exists()

    def test_a_running_daemon_is_told(self, place: Place, manager: Manager) -> None:
        assert place.call("adduser", "-a", "-p", "x", "u").status == 0
        assert manager.line() == "reloaded"

    def test_without_a_daemon_it_is_said_only_when_asked(self, place: Place) -> None:
        assert "ksmbd.mountd" not in place.call("adduser", "-a", "-p", "x", "root").err
        assert "counts from its next start" in place.call("adduser", "-u", "-v", "-p", "x", "root").err

    def test_a_user_without_a_unix_account_is_told_of(self, place: Place) -> None:
        assert (
            "no Unix account nobody-of-this-name" in place.call("adduser", "-a", "-p", "x", "nobody-of-this-name").err
        )
        assert place.call("adduser", "-a", "-p", "x", "root").err == ""


def on_a_terminal(command: list[str], typed: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal of its own; for each (prompt, answer) wait for the prompt and type the answer."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    shown = ""
    position = 0
    try:
        for prompt, answer in [*typed, ("", "")]:
            while prompt == "" or prompt not in shown[position:]:
                try:
                    piece = os.read(terminal, 4096)
                except OSError as error:
                    assert error.errno == errno.EIO
                    piece = b""
                if not piece:
                    assert prompt == "", shown
                    break
                shown += piece.decode()
            if prompt:
                position = shown.index(prompt, position) + len(prompt)
                os.write(terminal, answer.encode())
    finally:
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown


class TestOnATerminal:
    def command(self, place: Place, tool: str, *argv: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            f"ksmbd.tools.{tool}",
            *argv,
            "-C",
            str(place.config),
            "-P",
            str(place.database),
            "-R",
            place.rundir.path,
        ]

    def test_a_password_is_asked_for_twice_and_never_shown(self, place: Place) -> None:
        typed = [("New password: ", "s3cret\n"), ("Retype new password: ", "s3cret\n")]
        status, shown = on_a_terminal(self.command(place, "adduser", "-a", "u"), typed)
        assert status == 0, shown
        assert "s3cret" not in shown
        assert place.hash("u") == accounts.nt_hash("s3cret")

    def test_passwords_that_differ_are_asked_for_again(self, place: Place) -> None:
        typed = [
            ("New password: ", "a\n"),
            ("Retype new password: ", "b\n"),
            ("New password: ", "c\n"),
            ("Retype new password: ", "c\n"),
        ]
        status, shown = on_a_terminal(self.command(place, "adduser", "u"), typed)
        assert (status, place.hash("u")) == (0, accounts.nt_hash("c"))
        assert "the passwords differ, try again" in shown

    def test_an_end_of_input_changes_nothing(self, place: Place) -> None:
        status, shown = on_a_terminal(self.command(place, "adduser", "u"), [("New password: ", "\x04")])
        assert status == 1
        assert "nothing is changed" in shown
        assert not place.database.exists()

    def test_what_exists_is_refused_before_a_password_is_asked_for(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "u")
        status, shown = on_a_terminal(self.command(place, "adduser", "-a", "u"), [])
        assert status == 1
        assert "New password" not in shown

    def test_a_share_is_asked_for_with_completion(self, place: Place) -> None:
        pytest.importorskip("readline")
        typed = [
            ("[s] ", f"pat\t{place.folder}\n"),
            ("[s] ", "nonsense = 1\n"),
            ("[s] ", "guest o\ty\t\n"),
            ("[s] ", "\n"),
        ]
        status, shown = on_a_terminal(self.command(place, "addshare", "-a", "s"), typed)
        assert status == 0, shown
        assert "unknown share parameter `nonsense`" in shown
        share = load(place.config).shares["s"]
        assert (share.path, share.guest_ok) == (str(place.folder), True)


class TestAddShare:
    def test_add_update_delete(self, place: Place) -> None:
        path = str(place.folder)
        assert (
            place.call("addshare", "-a", "-o", f"path={path}", "-o", "Read Only = no", "data").out
            == "share data added\n"
        )
        assert place.config.read_text() == f"[data]\n\tpath = {path}\n\tread only = no\n"
        assert place.call("addshare", "-u", "-o", "comment = x", "DATA").out == "share DATA updated\n"
        assert load(place.config).shares["data"].comment == "x"
        assert place.call("addshare", "-o", "comment =", "data").out == "share data updated\n"
        assert load(place.config).shares["data"].comment == ""
        assert place.call("addshare", "-d", "data").out == "share data deleted\n"
        assert place.config.read_text() == ""

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["-a", "-o", "path = /tmp"], "name one share"),
            (["-a", "-o", "path = /tmp", "global"], "[global] is not a share"),
            (["-a", "-o", "path = /tmp", "a/b"], "cannot contain '/'"),
            (["-a", "-o", "path = /tmp", "s" * 64], "1 to 63 bytes, this one has 64"),
            (["-a", "-o", "comment = x", "s"], "-o 'path = /folder'"),
            (["-a", "-o", "path = tmp", "s"], "absolute path"),
            (["-a", "-o", "path = /dev/null", "s"], "/dev/null is not a folder"),
            (["-a", "-o", "path", "s"], "'PARAMETER = VALUE'"),
            (["-a", "-o", "reed only = no", "s"], "is `read only` meant?"),
            (["-a", "-o", "tcp port = 1", "s"], "unknown share parameter `tcp port`"),
            (["-a", "-o", "read only = perhaps", "s"], "allowed is yes or no"),
            (["-a", "-o", "comment = a # b", "s"], "begin a comment"),
            (["-u", "-o", "path = /tmp", "s"], "no share [s]"),
            (["-d", "s"], "no share [s]"),
            (["-d", "-o", "path = /tmp", "s"], "-o means nothing with -d"),
        ],
    )
    def test_refusals(self, place: Place, argv: list[str], message: str) -> None:
        assert message in place.fails("addshare", *argv)
        assert not place.config.exists()

    def test_adding_twice(self, place: Place) -> None:
        place.call("addshare", "-a", "-o", "path = /", "s")
        assert "already; -u changes it" in place.fails("addshare", "-a", "-o", "path = /", "S")

    def test_an_existing_file_keeps_its_mode_and_its_comments(self, place: Place) -> None:
        place.config.write_text("# mine\n[global]\n  workers = 2 # two\n")
        place.config.chmod(0o640)
        assert place.call("addshare", "-a", "-o", "path = /", "s").status == 0
        assert place.config.read_text().startswith("# mine\n[global]\n  workers = 2 # two\n")
        assert place.config.stat().st_mode & 0o777 == 0o640

    def test_users_that_do_not_exist_are_told(self, place: Place) -> None:
        place.call("adduser", "-a", "-p", "x", "root")
        outcome = place.call("addshare", "-a", "-o", "path = /", "-o", "valid users = root otto @staff", "s")
        assert outcome.status == 0
        assert re.findall(r"names (\w+),", outcome.err) == ["otto"]

    def test_parameters_from_a_pipe(self, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "stdin").write_text("path = /\n\nwritable = yes\n")
        with open(tmp_path / "stdin", encoding="utf-8") as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert place.call("addshare", "-a", "s").status == 0
        assert load(place.config).shares["s"].writeable

    def test_a_running_daemon_is_told(self, place: Place, manager: Manager) -> None:
        assert place.call("addshare", "-a", "-o", "path = /", "s").status == 0
        assert manager.line() == "reloaded"

    def test_samba_s_file_is_not_written(self, place: Place) -> None:
        with pytest.raises(SystemExit) as caught:
            addshare.main(["-a", "-o", "path = /", "-C", str(place.folder / "smb.conf"), "s"])
        assert caught.value.code == 1
        assert "is Samba's" in place.capsys.readouterr().err
        assert not (place.folder / "smb.conf").exists()

    def test_completion(self) -> None:
        assert addshare.complete("read") == ["read list = ", "read only = "]
        assert addshare.complete("read only = ") == ["read only = yes", "read only = no"]
        assert addshare.complete("smb3 encryption = m") == ["smb3 encryption = mandatory"]
        assert addshare.complete("nonsense = ") == []


class Engine:
    """Serves class/ksmbd-control/debug as the engine does: rewrites it whenever a component was written to it."""

    def __init__(self, place: Place) -> None:
        self.path = place.rundir.debug
        os.makedirs(place.rundir.control)
        self.on: set[str] = set()
        self.write()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def write(self) -> None:
        Path(self.path).write_text(" ".join(f"[{c}]" if c in self.on else c for c in COMPONENTS) + "\n")

    def watch(self) -> None:
        while not self.stop.wait(0.002):
            text = Path(self.path).read_text().strip()
            if text == "all":
                self.on = set() if self.on == set(COMPONENTS) else set(COMPONENTS)
            elif text in COMPONENTS:
                self.on ^= {text}
            else:
                continue
            self.write()

    def end(self) -> None:
        self.stop.set()
        self.thread.join()


@pytest.fixture
def engine(place: Place, manager: Manager) -> Iterator[Engine]:
    running = Engine(place)
    yield running
    running.end()


class TestControl:
    @pytest.mark.parametrize("argv", [["-s"], ["-r"], ["-l"], ["-d", "smb"], ["--features"]])
    def test_without_a_daemon_every_action_is_one_line(self, place: Place, argv: list[str]) -> None:
        assert "ksmbd.mountd does not run in" in place.fails("control", *argv)

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            ([], "give one of"),
            (["-s", "-r"], "give one of"),
            (["-c", "x"], "unexpected argument 'x'"),
            (["-d", "nfs"], "no component 'nfs': allowed is all, smb, auth"),
        ],
    )
    def test_refusals(self, place: Place, argv: list[str], message: str) -> None:
        assert message in place.fails("control", *argv)

    def test_shutdown_waits_for_the_end(self, place: Place, manager: Manager) -> None:
        assert place.call("control", "-s").status == 0
        assert manager.line() == "terminated"
        assert manager.process.wait() == 0

    def test_reload(self, place: Place, manager: Manager) -> None:
        assert place.call("control", "--reload").status == 0
        assert manager.line() == "reloaded"

    def test_list(self, place: Place, manager: Manager) -> None:
        outcome = place.call("control", "-l")
        assert outcome.out.splitlines() == [
            "SHARE  ACCESS         PATH  COMMENT",
            "data   write, guests  /srv  Our data",
        ]
        assert json.loads(place.call("control", "-l", "--json").out)["shares"][0]["name"] == "data"
        assert [name for name in os.listdir(place.rundir.path) if "fifo" in name] == []

    def test_a_fifo_left_behind_does_not_matter(self, place: Place, manager: Manager) -> None:
        os.mkfifo(place.rundir.fifo(manager.process.pid))
        assert place.call("control", "-l").status == 0

    def test_debug_toggles(self, place: Place, engine: Engine) -> None:
        assert place.call("control", "-d", "smb").out == "[smb] auth vfs oplock ipc conn rdma\n"
        assert place.call("control", "--debug=rdma").out == "[smb] auth vfs oplock ipc conn [rdma]\n"
        assert place.call("control", "-dsmb").out == "smb auth vfs oplock ipc conn [rdma]\n"
        assert place.call("control", "-d", "all").out == "[smb] [auth] [vfs] [oplock] [ipc] [conn] [rdma]\n"
        assert place.call("control", "-d", "all").out == "smb auth vfs oplock ipc conn rdma\n"

    def test_an_engine_that_does_not_answer(
        self, place: Place, manager: Manager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.makedirs(place.rundir.control)
        Path(place.rundir.debug).write_text("smb auth vfs oplock ipc conn rdma\n")
        monkeypatch.setattr(control, "ANSWER_SECONDS", 0.01)
        assert "did not answer" in place.fails("control", "-d", "smb")

    def test_an_engine_that_is_not_up(self, place: Place, manager: Manager) -> None:
        assert "the engine is not up yet" in place.fails("control", "-d", "smb")
        assert "the engine is not up yet" in place.fails("control", "--features")

    def test_features(self, place: Place, manager: Manager) -> None:
        os.makedirs(place.rundir.control)
        Path(place.rundir.features).write_text("openat2 on\nsteer off bpf = no\n")
        assert place.call("control", "--features").out == "openat2 on\nsteer off bpf = no\n"
        assert json.loads(place.call("control", "--features", "--json").out) == {
            "features": [{"name": "openat2", "on": True, "why": ""}, {"name": "steer", "on": False, "why": "bpf = no"}]
        }

    def test_version(self, place: Place) -> None:
        assert re.fullmatch(r"ksmbd version : \d+\.\d+\.\d+\n", place.call("control", "-c").out)


class TestServe:
    def test_defaults_make_a_folder_and_a_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        one, two = serve.plan({}), serve.plan({})
        assert (one.port, one.user, one.folder) == (445, "demo", str(tmp_path / "var" / "share"))
        assert os.path.isdir(one.folder)
        assert one.password != two.password
        assert len(one.password) >= 12

    def test_the_environment_overrides(self, tmp_path: Path) -> None:
        plan = serve.plan({"PORT": "4450", "SHARE_PATH": str(tmp_path), "SMB_USER": "otto", "SMB_PASSWORD": "p w"})
        assert (plan.port, plan.folder, plan.user, plan.password) == (4450, str(tmp_path), "otto", "p w")
        assert "smbclient //127.0.0.1/demo -p 4450 -U 'otto%p w'" in plan.banner()

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            ({"PORT": "x"}, "PORT=x is no TCP port"),
            ({"PORT": "0"}, "PORT=0 is no TCP port"),
            ({"PORT": "65536"}, "PORT=65536"),
            ({"SHARE_PATH": "/nonexistent"}, "SHARE_PATH=/nonexistent is not a folder"),
            ({"SMB_USER": "a:b"}, "SMB_USER: "),
            ({"SMB_PASSWORD": "x" * 200}, "SMB_PASSWORD: "),
        ],
    )
    def test_what_does_not_go_is_named(self, environment: dict[str, str], message: str) -> None:
        with pytest.raises(serve.CannotServe) as caught:
            serve.plan({"SHARE_PATH": "/tmp", **environment})
        assert message in str(caught.value)

    def test_the_configuration_is_without_fault(self, tmp_path: Path) -> None:
        (tmp_path / "ksmbd.conf").write_text(serve.plan({"SHARE_PATH": str(tmp_path)}).config())
        configuration = load(tmp_path / "ksmbd.conf")
        assert configuration.diagnostics == []
        share = configuration.shares["demo"]
        assert (share.path, share.read_only, share.acl_xattr) == (str(tmp_path), False, True)

    def test_a_port_that_is_taken_is_told_with_the_way_out(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(serve.CannotServe, match=r"is taken by another program; .*make serve PORT="):
                serve.check_port(taken.getsockname()[1])
            port = taken.getsockname()[1]
        serve.check_port(port)

    @pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no choice")
    def test_as_root_a_user_without_an_account_gets_one_that_can_write(self, tmp_path: Path) -> None:
        def unix_user(mode: int, owner: int, parent: int, user: str = "not-an-account") -> str:
            folder = tmp_path / "f"
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
            os.chown(folder, owner, owner)
            for step in (tmp_path, *tmp_path.parents):
                if step.owner() == "root" and "pytest" in str(step):
                    step.chmod(parent)
            return serve.plan({"SHARE_PATH": str(folder), "SMB_USER": user}).unix_user

        # in a root that only root may enter, nobody else can reach anything
        assert unix_user(0o1777, 0, 0o755) == ("nobody" if os.stat("/").st_mode & 0o001 else "root")
        assert unix_user(0o1777, 0, 0o700) == "root"
        assert unix_user(0o755, 1, 0o755) == "daemon"
        assert unix_user(0o755, 1, 0o755, user="bin") == ""

    def test_without_root_it_is_the_account_that_serves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 2)
        assert serve.plan({"SHARE_PATH": str(tmp_path)}).unix_user == "bin"


def test_signals_are_not_sent_to_a_stranger(place: Place) -> None:
    """A lock file whose number another program has by now: nobody is stopped."""
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    Path(place.rundir.lock).write_text(str(stranger.pid))
    place.fails("control", "-s")
    assert not place.rundir.notify(signal.SIGTERM)
    stranger.communicate()
    assert stranger.returncode == 0


def test_two_writers_wait_for_each_other(place: Place) -> None:
    """While somebody holds the folder's lock a change waits, and then sees what the other wrote."""
    folder = os.open(place.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ksmbd.tools.adduser",
            "-a",
            "-p",
            "2",
            "-P",
            str(place.database),
            "-R",
            place.rundir.path,
            "second",
        ],
        stdout=subprocess.PIPE,
    )
    accounts.save(accounts.Accounts([accounts.Account("first", accounts.nt_hash("1"))]), str(place.database))
    os.close(folder)
    assert writer.communicate()[0] == b"user second added\n"
    assert [a.name for a in accounts.load(str(place.database))] == ["first", "second"]
