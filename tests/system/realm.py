# SPDX-License-Identifier: GPL-2.0-or-later
"""A Kerberos realm of the test's own: MIT's KDC on loopback, its database, configuration and keytabs in one folder.

The programs are Debian's krb5-kdc, krb5-admin-server and krb5-user; nothing of the machine's own Kerberos is read.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import Process, free_port

HOST = "fileserver.ksmbd.test"
"""The server's name in its service principal. No name server knows it: clients are told the address."""
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Realm:
    """The realm's database; `serve` starts the KDC."""

    def __init__(self, folder: Path, name: str = "KSMBD.TEST") -> None:
        """Make the realm with the service cifs/HOST, whose keys are in `keytab`."""
        self.folder = folder
        self.name = name
        self.port = free_port()
        self.config = folder / "krb5.conf"
        self.keytab = folder / "server.keytab"
        folder.mkdir(parents=True)
        self.configure()
        (folder / "kdc.conf").write_text(
            f"[kdcdefaults]\n kdc_listen = 127.0.0.1:{self.port}\n kdc_tcp_listen = 127.0.0.1:{self.port}\n"
            f"[realms]\n {name} = {{\n  database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n"
            "  supported_enctypes = aes256-cts:normal aes128-cts:normal\n  max_life = 24h\n  max_renewable_life = 7d\n"
            f" }}\n[logging]\n kdc = FILE:{folder}/kdc.log\n"
        )
        self.run("kdb5_util", "create", "-s", "-r", name, "-P", "master")
        self.add(f"cifs/{HOST}", keytab=self.keytab)

    def configure(self, more: str = "", of_realm: str = "") -> None:
        """Write krb5.conf. `more`: further sections; `of_realm`: further lines of the realm."""
        self.config.write_text(
            f"[libdefaults]\n default_realm = {self.name}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            " rdns = false\n dns_canonicalize_hostname = false\n forwardable = true\n"
            f"[realms]\n {self.name} = {{\n  kdc = 127.0.0.1:{self.port}\n{of_realm} }}\n"
            f"[domain_realm]\n {HOST} = {self.name}\n{more}"
        )

    @property
    def environment(self) -> dict[str, str]:
        """For servers, and for clients that have no ticket."""
        return {"KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"), "PATH": _PATH}

    def client(self, cache: str) -> dict[str, str]:
        """The environment of a client with the tickets of a cache."""
        return {**self.environment, "KRB5CCNAME": f"FILE:{self.folder}/{cache}.cc"}

    def run(self, *command: str, text: str = "", environment: dict[str, str] | None = None) -> str:
        """Run one of MIT's programs; what it printed. AssertionError where it fails."""
        result = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, **(environment or self.environment)},
        )  # fmt: skip
        assert result.returncode == 0, f"{' '.join(command)}: {result.stdout}{result.stderr}"
        return result.stdout

    def add(self, principal: str, password: str = "", keytab: Path | None = None) -> None:
        """Add a principal; without a password its keys are random, and go into `keytab`."""
        key = ["-pw", password] if password else ["-randkey"]
        self.run("kadmin.local", "-r", self.name, "addprinc", *key, principal)
        if keytab is not None:
            self.run("kadmin.local", "-r", self.name, "ktadd", "-k", str(keytab), principal)

    def log_in(self, user: str, password: str, *options: str, cache: str = "") -> dict[str, str]:
        """A ticket-granting ticket for a user, in a cache of the user's name or `cache`: the client's environment."""
        environment = self.client(cache or user)
        self.run("kinit", *options, user, text=f"{password}\n", environment=environment)
        return environment

    def knowing_the_host(self, *command: str) -> list[str]:
        """A command in a mount namespace where HOST is this machine; root."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
        return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts), *command]

    @contextmanager
    def serve(self) -> Iterator[Process]:
        """The KDC."""
        with Process([shutil.which("krb5kdc", path=_PATH) or "", "-n", "-r", self.name], self.environment) as kdc:
            while not self._listens():
                assert kdc.returncode is None, kdc.drain()
                select.select([], [], [], 0.01)
            yield kdc

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


def missing(programs: Sequence[str] = _PROGRAMS) -> str:
    """Which of MIT's programs, or of what the server needs for Kerberos, is not installed; '' where all is there."""
    lost = [program for program in programs if not shutil.which(program, path=_PATH)]
    return f"not installed: {', '.join(lost)} (krb5-kdc, krb5-admin-server, krb5-user)" if lost else ""


@contextmanager
def realm_below(folder: Path) -> Iterator[Realm]:
    """A realm with a running KDC; the test is skipped where it cannot be made."""
    if why := missing():
        pytest.skip(why)
    realm = Realm(folder)
    with realm.serve():
        yield realm
