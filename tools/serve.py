# SPDX-License-Identifier: GPL-2.0-or-later
"""`make serve`: share a folder in the foreground, with a user and a password made for it, and say how to try it.

The environment's PORT, SHARE_PATH, SMB_USER and SMB_PASSWORD override. Configuration, user database and run directory
are made in a temporary folder, which goes when the server ends; the shared folder stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mountd import accounts, configwriter
from mountd.config import parse

SHARE = "demo"
DEFAULT_PORT = 445
DEFAULT_USER = "demo"
DEFAULT_FOLDER = "var/share"
LISTENING = "ksmbd: listening on "
STOP_SECONDS = 30
_PR_SET_PDEATHSIG = 1


class CannotServe(Exception):
    """The server cannot start. The message is one line that says what to do."""


@dataclass(frozen=True)
class Demonstration:
    """The shared directory, the user and the port."""

    port: int
    folder: str
    user: str
    password: str
    unix_user: str
    """The Unix account that accesses the files; empty: the one called `user`."""

    def config(self) -> str:
        """The content of ksmbd.conf."""
        options = {
            "comment": "ksmbd's demonstration",
            "path": self.folder,
            "read only": "no",
            "vfs objects": "acl_xattr streams_xattr",
            "force user": self.unix_user,
        }
        return configwriter.add_section("[global]\n\tserver string = ksmbd\n", SHARE, options)

    def banner(self) -> str:
        """The text that is printed once clients can connect."""
        port = "" if self.port == DEFAULT_PORT else f" -p {self.port}"
        host = "127.0.0.1" if self.port == DEFAULT_PORT else f"127.0.0.1:{self.port}"
        login = shlex.quote(f"{self.user}%{self.password}")
        return "\n".join((
            "",
            f"  folder    {self.folder}" + (f"   (accessed as {self.unix_user})" if self.unix_user else ""),
            f"  share     smb://{host}/{SHARE}",
            f"  user      {self.user}",
            f"  password  {self.password}",
            f"  try       smbclient //127.0.0.1/{SHARE}{port} -U {login} -c ls",
            "",
            "  Ctrl-C ends it.",
            "",
        ))


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit status."""
    try:
        demonstration = plan(os.environ)
        check_port(demonstration.port)
        return _serve(demonstration)
    except CannotServe as error:
        print(f"make serve: {error}", file=sys.stderr)
        return 1


def plan(environment: Mapping[str, str]) -> Demonstration:
    """The settings in the environment. Raises CannotServe."""
    text = environment.get("PORT") or str(DEFAULT_PORT)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise CannotServe(f"PORT={text} is no TCP port: allowed is 1 to 65535")
    user = environment.get("SMB_USER") or DEFAULT_USER
    password = environment.get("SMB_PASSWORD") or secrets.token_urlsafe(9)
    for variable, problem in (
        ("SMB_USER", accounts.name_problem(user)),
        ("SMB_PASSWORD", accounts.password_problem(password)),
    ):
        if problem:
            raise CannotServe(f"{variable}: {problem}")
    folder = _folder(environment.get("SHARE_PATH") or "")
    return Demonstration(int(text), folder, user, password, _unix_user(user, folder))


def _folder(given: str) -> str:
    if given:
        if not os.path.isdir(given):
            raise CannotServe(f"SHARE_PATH={given} is not a folder")
        if any(character in given for character in ";#\n"):
            raise CannotServe("SHARE_PATH cannot contain ';' or '#', which begin a comment in ksmbd.conf")
        return os.path.abspath(given)
    folder = os.path.abspath(DEFAULT_FOLDER)
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder)
            os.chmod(folder, 0o1777 if os.geteuid() == 0 else 0o755)
    except OSError as error:
        raise CannotServe(f"{folder}: {error.strerror}; name a folder with SHARE_PATH") from None
    return folder


def _unix_user(user: str, folder: str) -> str:
    """The account to access files as, so that a user without a Unix account can read and write what is shared."""
    euid = os.geteuid()
    if euid != 0:
        return _account_name(euid)  # without root the server is nobody else
    with contextlib.suppress(KeyError, ValueError):
        pwd.getpwnam(user)
        return ""
    status = os.stat(folder)
    with contextlib.suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        if status.st_mode & stat.S_IWOTH and _others_can_reach(folder):
            return nobody.pw_name
    return _account_name(status.st_uid)


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise CannotServe(f"no Unix account has the uid {uid}: set SMB_USER to an account, or SHARE_PATH to a folder "
                          "that one owns") from None


def _others_can_reach(folder: str) -> bool:
    path = Path(os.path.realpath(folder))
    return all(os.stat(step).st_mode & stat.S_IXOTH for step in (path, *path.parents))


def check_port(port: int) -> None:
    """Check that the port can be listened on. Raises CannotServe."""
    way_out = "choose another one, as in: make serve PORT=4450"
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # a machine without IPv6
        with probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise CannotServe(f"port {port} is taken by another program; {way_out}") from None
                if error.errno in (errno.EACCES, errno.EPERM):
                    raise CannotServe(f"port {port} needs root here; {way_out}") from None
                if error.errno != errno.EADDRNOTAVAIL:
                    raise CannotServe(f"port {port}: {error.strerror}; {way_out}") from None


def _serve(demonstration: Demonstration) -> int:
    state = tempfile.mkdtemp(prefix="ksmbd-serve-")
    try:
        config, database = os.path.join(state, "ksmbd.conf"), os.path.join(state, "ksmbdpwd.db")
        errors = parse(demonstration.config(), config).errors
        if errors:
            raise CannotServe(errors[0].message)
        Path(config).write_text(demonstration.config(), encoding="utf-8")
        account = accounts.Account(demonstration.user, accounts.nt_hash(demonstration.password))
        accounts.save(accounts.Accounts([account]), database)
        command = [
            os.path.join(os.path.dirname(sys.executable), "ksmbd.mountd"),
            "-n", "-C", config, "-P", database, "-R", os.path.join(state, "run"), "-p", str(demonstration.port),
        ]
        return _run(command, demonstration)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _run(command: list[str], demonstration: Demonstration) -> int:
    """Run the daemon; its output is passed on, and the banner printed when it listens."""
    stopping = False
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    # A group of its own: one SIGTERM from here stops it in order, whatever the terminal sends to everybody.
    daemon = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", process_group=0,
        preexec_fn=die_with_parent,  # noqa: PLW1509 (no other thread exists yet)
    )

    def stop(*_: object) -> None:
        nonlocal stopping
        if stopping:
            return
        stopping = True
        with contextlib.suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGTERM)
        signal.alarm(STOP_SECONDS)

    def give_up(*_: object) -> NoReturn:
        os.killpg(daemon.pid, signal.SIGKILL)
        raise SystemExit(1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, give_up)
    assert daemon.stderr is not None
    told = False
    for line in daemon.stderr:
        sys.stderr.write(line)
        sys.stderr.flush()
        if LISTENING in line and not told and not stopping:
            told = True  # further addresses follow in lines of their own
            print(demonstration.banner(), flush=True)
    status = daemon.wait()
    signal.alarm(0)
    if stopping:
        return 0
    print(f"make serve: ksmbd.mountd ended with status {status}; what it said is above", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
