# SPDX-License-Identifier: GPL-2.0-or-later
"""Our server and a private smbd on one folder, in a network of the test's own, each on port 445 as smbcacls wants it.

Both have the same users, and the same SIDs for them, so that what they show can be compared as text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from own_network import own_network
from server import KsmbdServer
from unixusers import People

PASSWORD = "secret"
SAMBA, OURS = "127.0.0.1", "127.0.0.2"
"""Where each listens."""
NAMES = {SAMBA: "Samba", OURS: "ours"}
INTERPRETER = "/usr/bin/python3"
"""The one that has python3-samba."""
DOMAIN = "S-1-5-21-1001-1002-1003"


def missing() -> str:
    """What is not here of all that is needed, '' where nothing is."""
    if os.geteuid():
        return "root: a network of one's own, two users"
    module = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "samba" / "vfs" / "acl_xattr.so"
    programs = ("smbd", "smbclient", "smbcacls", "smbpasswd", "pdbedit", "net", "setfacl", "getfacl")
    lost = [program for program in programs if not shutil.which(program)]
    if not module.exists():
        lost.append("samba-vfs-modules")
    if subprocess.run([INTERPRETER, "-c", "import samba.dcerpc.xattr"], capture_output=True, check=False).returncode:
        lost.append("python3-samba")
    return ", ".join(lost)


@contextmanager
def network() -> Iterator[None]:
    """A network namespace with both addresses, for this process and what it starts."""
    with own_network() as route:
        (lo,) = route.link_lookup(ifname="lo")
        route.addr("add", index=lo, address=OURS, prefixlen=32)
        yield


def _run(*command: str | Path, text: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Beside:
    """The two servers. Use it within `network` and as a context manager."""

    def __init__(
        self, folder: Path, people: People, share: Mapping[str, str] | None = None, mode: int = 0o777,
        more: Mapping[str, Mapping[str, str]] | None = None, options: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """`share`: lines of the share's section, which both get. `mode`: of the share's folder, which alice owns.
        `more`: name -> lines of further shares, each with a folder of its own. `options`: of [global], for ours
        alone."""
        self.people = people
        self.folder = folder
        folder.chmod(0o755)
        self.share = folder / "share"
        self.share.mkdir()
        os.chown(self.share, people.uid(people.alice), people.gid(people.alice))
        self.share.chmod(mode)
        base = {"read only": "no", "vfs objects": "acl_xattr streams_xattr"}
        shares = {"s": {"path": str(self.share), **base, **(share or {})}}
        for name, lines in (more or {}).items():
            path = folder / name
            path.mkdir()
            path.chmod(0o755)
            shares[name] = {"path": str(path), **base, **lines}
        self._samba(shares)
        self.ours = KsmbdServer(
            folder / "ours", port=445, options={"interfaces": OURS, "bind interfaces only": "yes", **(options or {})},
            shares={name: {"force user": "", **lines} for name, lines in shares.items()},
            users=dict.fromkeys((people.alice, people.bob), PASSWORD), domain=DOMAIN,
        )  # fmt: skip
        self.ours.wait_until_listening()
        self._wait()

    def _samba(self, shares: Mapping[str, Mapping[str, str]]) -> None:
        place = self.folder / "samba"
        (place / "ncalrpc").mkdir(parents=True)
        keys = ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
        self.conf = place / "smb.conf"
        self.conf.write_text(
            "[global]\n netbios name = BESIDE\n server role = standalone server\n"
            + "".join(f" {key} = {place}\n" for key in keys)
            + f" ncalrpc dir = {place}/ncalrpc\n log file = {place}/log\n smb ports = 445\n interfaces = {SAMBA}/32\n"
            " bind interfaces only = yes\n disable spoolss = yes\n load printers = no\n printcap name = /dev/null\n"
            f" usershare path =\n passdb backend = tdbsam:{place}/passdb.tdb\n map archive = no\n"
            + "".join(
                f"[{name}]\n" + "".join(f" {key} = {value}\n" for key, value in lines.items())
                for name, lines in shares.items()
            )
        )
        _run("net", "-s", self.conf, "setlocalsid", DOMAIN)
        for user in (self.people.alice, self.people.bob):
            _run("smbpasswd", "-c", self.conf, "-L", "-s", "-a", user, text=f"{PASSWORD}\n{PASSWORD}\n")
            _run("pdbedit", "-s", self.conf, "-r", "-u", user, "-U", self.sid(user))
        self._smbd = subprocess.Popen(
            ["smbd", "-s", self.conf, "-F", "--no-process-group"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _wait(self) -> None:
        give_up = time.monotonic() + 30
        while "blocks" not in self.client(SAMBA, "ls"):
            if time.monotonic() > give_up or self._smbd.poll() is not None:
                log = self.folder / "samba" / "log"
                self.close()
                pytest.skip(f"smbd does not come up here: {log.read_text()[-500:] if log.exists() else ''}")

    def close(self) -> str:
        """Stop both; what was wrong with ours, or ''."""
        self._smbd.terminate()
        self._smbd.wait(30)
        return self.ours.finish()

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        problem = self.close()
        print(f"--- ours printed:\n{self.ours.stderr}")
        if problem and error is None:
            pytest.fail(problem, pytrace=False)

    # -------------------------------------------------------------------------------------------------- clients

    def sid(self, user: str) -> str:
        """What both show a user as."""
        return f"{DOMAIN}-{2 * self.people.uid(user) + 1000}"

    def client(self, server: str, command: str, user: str = "", share: str = "s") -> str:
        """smbclient's whole output, as alice unless `user` says otherwise."""
        return _run(
            "smbclient", f"//{server}/{share}", "-s", "/dev/null", "-U", f"{user or self.people.alice}%{PASSWORD}",
            "-c", command, check=False,
        )  # fmt: skip

    def shares(self, server: str, user: str) -> str:
        """The shares that a user is shown, a line each."""
        return _run("smbclient", "-gL", server, "-s", "/dev/null", "-U", f"{user}%{PASSWORD}", check=False)

    def acl(self, server: str, name: str, user: str = "") -> str:
        """A file's descriptor as SDDL, as a client sees it: users by their SIDs, whichever way they are kept."""
        text = self.smbcacls(server, name, "--sddl", user=user)
        found = re.search(r"^(O:.*)$", text, re.MULTILINE)
        assert found, f"{NAMES[server]}, {name}: {text}"
        shown = re.sub(r"S-1-22-1-(\d+)", lambda match: f"{DOMAIN}-{2 * int(match[1]) + 1000}", found[1])
        # Samba calls the group that a user begins with Domain Users.
        return shown.replace(f"{DOMAIN}-513", f"S-1-22-2-{self.people.gid(self.people.alice)}")

    def set_acl(self, server: str, name: str, sddl: str, user: str = "") -> None:
        """Replace its DACL."""
        text = self.smbcacls(server, name, "--sddl", "-S", sddl, user=user)
        assert "NT_STATUS" not in text.replace("NT_STATUS_RPC_PROCNUM_OUT_OF_RANGE", ""), text

    def smbcacls(self, server: str, name: str, *arguments: str, user: str = "", share: str = "s") -> str:
        """smbcacls' whole output."""
        login = f"{user or self.people.alice}%{PASSWORD}"
        return _run("smbcacls", f"//{server}/{share}", name, "-s", "/dev/null", "-U", login, *arguments, check=False)

    def stored(self, name: str, version: int = 0) -> Stored:
        """What security.NTACL holds, as Samba's own code reads it; with a `version`, once that has brought it into that
        version's layout."""
        program = Path(__file__).with_name("stored_acl.py")
        given = (str(version),) if version else ()
        return Stored(json.loads(_run(INTERPRETER, "-P", program, self.share / name, *given)))


class Stored:
    """A stored descriptor, read by Samba's code."""

    def __init__(self, found: dict[str, str | int]) -> None:
        self.version = found["version"]
        self.sddl = str(found["sddl"])
        self.hash_type = found["hash_type"]
        self.description = found["description"]


@contextmanager
def beside(
    people: People, share: Mapping[str, str] | None = None, mode: int = 0o777,
    more: Mapping[str, Mapping[str, str]] | None = None, options: Mapping[str, str] | None = None,
) -> Iterator[Beside]:  # fmt: skip
    """Both servers, in a network of their own. Not below pytest's folder, which each of its runs closes to others."""
    with tempfile.TemporaryDirectory(prefix="ksmbd-beside-") as folder, network():
        with Beside(Path(folder), people, share, mode, more, options) as both:
            yield both
