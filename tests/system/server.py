# SPDX-License-Identifier: GPL-2.0-or-later
"""One real server of the tests: `ksmbd.mountd -n` with everything of its own."""

from __future__ import annotations

import json
import os
import pwd
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import Process, free_port

COMMANDS = Path(sys.executable).parent
"""Where the package's commands are."""

Options = Mapping[str, str]


class KsmbdServer(Process):
    """Started by the constructor; see `wait_until_listening` and `finish`."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        bpf: bool = True,
        options: Options | None = None,
        shares: Mapping[str, Options] | None = None,
        users: Mapping[str, str] | None = None,
        port: int | None = None,
        domain: str = "",
        environment: Options | None = None,
        engine: str = "own",
    ) -> None:
        """`options`: of [global]. `shares`: name -> options; a `path` that is missing becomes a folder below `folder`,
        where everybody may write, and files are accessed as the user that runs the tests unless `force user` says
        otherwise. `users`: name -> password. `config file` among the options is the name of
        the file. `port`: None is a free one. `domain`: the
        SID of the server's domain; '' is a new one. `environment`: further variables of the daemon's.
        `engine`: own or kernel."""
        self.folder = folder
        self.rundir = folder / "run"
        options = dict(options or {})
        self.config = folder / options.pop("config file", "ksmbd.conf")
        self.pwddb = folder / "ksmbdpwd.db"
        self.port = port if port is not None else free_port()
        self.users = dict(users or {"user": "secret"})
        self.shares: dict[str, Path] = {}
        folder.mkdir(parents=True)
        # below pytest's own folder, which others may not enter
        os.chmod(folder, 0o755)
        if domain:
            (folder / "ksmbd.subauth").write_text(":".join(domain.split("-")[4:]) + "\n")
        settings = {"workers": str(workers), "bpf": "yes" if bpf else "no", **options}
        text = "[global]\n" + _lines(settings)
        for name, given in ({"share": {}} if shares is None else shares).items():
            path = Path(given.get("path", folder / "shares" / name))
            path.mkdir(parents=True, exist_ok=True)
            if "path" not in given:
                os.chmod(path, 0o777)
            self.shares[name] = path
            share = {"path": str(path), "read only": "no", "force user": pwd.getpwuid(os.geteuid()).pw_name, **given}
            text += f"[{name}]\n" + _lines(share)
        self.config.write_text(text)
        for name, password in self.users.items():
            self.command_output("ksmbd.adduser", "-a", "-p", password, *self._files(), name)
        command = [str(COMMANDS / "ksmbd.mountd"), "-n", "-p", str(self.port), *self._files()]
        super().__init__([*command, "--engine=kernel"] if engine == "kernel" else command, environment)

    def _files(self) -> list[str]:
        return ["-C", str(self.config), "-P", str(self.pwddb), "-R", str(self.rundir)]

    @property
    def share_path(self) -> Path:
        """The folder of the first share."""
        return next(iter(self.shares.values()))

    @property
    def user(self) -> str:
        """The first user."""
        return next(iter(self.users))

    @property
    def password(self) -> str:
        """Its password."""
        return self.users[self.user]

    def wait_until_listening(self) -> None:
        """Clients can connect now. AssertionError with what it printed if it cannot start."""
        try:
            self.wait_for(rf"^ksmbd: listening on \S+:{self.port}$")
        except BaseException:
            self.kill()
            raise

    def control(self, name: str) -> Path:
        """A control file."""
        return self.rundir / "class" / "ksmbd-control" / name

    def stats(self) -> dict[str, Any]:
        """The counters, brought up to date: {"workers": [{...}]}."""
        self.wait_stats("")
        result: dict[str, Any] = json.loads(self.control("stats.json").read_text())
        return result

    def wait_stats(self, pattern: str, seconds: float = 60) -> str:
        """Ask for the counters until `pattern` is in their text, which is returned."""
        deadline = time.monotonic() + seconds
        while True:
            self.control("stats").write_text("now")
            text = "now"
            while text == "now" or not text:
                select.select([], [], [], 0.005)
                text = self.control("stats").read_text()
                assert time.monotonic() < deadline, f"the counters are {text!r}, {pattern!r} was awaited"
            if re.search(pattern, text):
                return text

    def command_output(self, command: str, *arguments: str) -> str:
        """Run one of the package's commands; its standard output. AssertionError where it fails."""
        line = [str(COMMANDS / command), *arguments]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, f"{command} {' '.join(arguments)}: {result.stderr}"
        return result.stdout

    def smbclient(
        self, commands: str, *arguments: str, share: str | None = None, user: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """smbclient on a share (the first one); `user` is NAME%PASSWORD. The caller looks at the exit status."""
        name = share if share is not None else next(iter(self.shares))
        login = user if user is not None else f"{self.user}%{self.password}"
        command = ["smbclient", f"//127.0.0.1/{name}", "-p", str(self.port), "-U", login, "-s", "/dev/null", *arguments]
        return subprocess.run(
            [*command, "-c", commands], capture_output=True, text=True, timeout=timeout, check=False, cwd=self.folder
        )

    def list_shares(self, *arguments: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """smbclient -L, a share a line: TYPE|NAME|COMMENT."""
        login = user if user is not None else f"{self.user}%{self.password}"
        command = ["smbclient", "-L", "127.0.0.1", "-p", str(self.port), "-U", login, "-s", "/dev/null", "-g"]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)

    def finish(self) -> str:
        """Stop it, as the fixture does at the end; what was wrong with it, or ''."""
        try:
            status = self.stop() if self.returncode is None else self.returncode
        except AssertionError as error:
            self.kill()
            return str(error).splitlines()[0]
        finally:
            self.drain()
        if status:
            return f"the server ended with status {status}"
        if "Traceback" in self.stderr or "unexpected" in self.stderr:
            return "the server printed a traceback"
        return ""


StartKsmbd = Callable[..., KsmbdServer]
"""The type of the fixture `start_ksmbd`."""


def _lines(options: Options) -> str:
    return "".join(f"\t{name} = {value}\n" for name, value in options.items())
