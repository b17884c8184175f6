# SPDX-License-Identifier: GPL-2.0-or-later
"""What we keep beside a file's data is what Samba reads, and the other way round: a private smbd on the same folder."""
from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ksmbd.kernel import credentials
from ksmbd.smb import constants as c
from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.ports import CreateIntent, Identity, ShareConfig, Timer
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    SecurityDescriptor,
    parse_security_descriptor,
)
from ksmbd.smb.sid import EVERYONE
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings
from ksmbd.vfs.volume import LocalVolume

USER = "nobody"
_MODULES = [Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "samba" / "vfs" / f"{name}.so"
            for name in ("acl_xattr", "streams_xattr")]  # fmt: skip

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: security.NTACL"),
    pytest.mark.skipif(
        not (shutil.which("smbd") and shutil.which("smbclient") and all(path.exists() for path in _MODULES)),
        reason="needs samba, smbclient and samba-vfs-modules",
    ),
]


class _Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        return time.time_ns() // 100 + c.FILETIME_UNIX_EPOCH

    def call_later(self, seconds: float, call: Any) -> Timer:
        raise AssertionError("no timers")


class Both:
    """The folder, by Samba and by us."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.share = directory / "share"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        account = pwd.getpwnam(USER)
        os.chown(self.share, account.pw_uid, account.pw_gid)
        (directory / "smb.conf").write_text(
            f"""[global]
 netbios name = LAYOUT
 server role = standalone server
 private dir = {directory}
 lock directory = {directory}
 state directory = {directory}
 cache directory = {directory}
 pid directory = {directory}
 ncalrpc dir = {directory}/ncalrpc
 log file = {directory}/log
 smb ports = {self.port}
 interfaces = lo
 bind interfaces only = yes
 disable spoolss = yes
 passdb backend = tdbsam:{directory}/passdb.tdb
[s]
 path = {self.share}
 read only = no
 vfs objects = acl_xattr streams_xattr
 store dos attributes = yes
 ea support = yes
 create mask = 0777
 directory mask = 0777
"""
        )
        subprocess.run(
            ["smbpasswd", "-c", directory / "smb.conf", "-s", "-a", USER],
            input=b"pw\npw\n", check=True, capture_output=True,
        )  # fmt: skip
        self.smbd = subprocess.Popen(
            ["smbd", "-s", directory / "smb.conf", "-F", "--no-process-group"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # on SIGTERM it signals its whole group
        )  # fmt: skip
        self.files = LocalFiles(VfsSettings((7, 8, 9)), _Clock())
        config = ShareConfig(
            "s", str(self.share), 0o777, 0o777, acl_xattr=True, hide_dot_files=False, streams_xattr=True
        )
        volume = self.files.volume(config, Identity(USER, "", account.pw_uid, account.pw_gid), False)
        assert isinstance(volume, LocalVolume)
        self.volume = volume
        credentials.as_server()

    def wait(self) -> None:
        """Until smbd listens: it is asked, so that nothing is timed but the give-up."""
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up and self.smbd.poll() is None:
            if "blocks" in self.samba("ls"):
                return
        pytest.skip("smbd does not come up here: " + (self.directory / "log").read_text()[-500:])

    def samba(self, command: str) -> str:
        done = subprocess.run(
            ["smbclient", "//127.0.0.1/s", "-p", str(self.port), "-U", f"{USER}%pw", "-c", command],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout + done.stderr

    def open(self, name: str, access: int = c.FILE_ALL_ACCESS, stream: str = "", attributes: int = 0) -> Any:
        return self.volume.create(CreateIntent(name, stream, access, c.FILE_OPEN_IF, 0, attributes)).file


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    (tmp_path / "share").mkdir(mode=0o777)
    (tmp_path / "f").write_text("data")
    mask = os.umask(0o022)
    result = Both(tmp_path)
    try:
        os.umask(0o022)
        result.wait()
        yield result
    finally:
        credentials.as_server()
        os.umask(mask)
        result.smbd.terminate()
        result.smbd.wait(30)
        result.files.close()


def test_samba_reads_ours(both: Both) -> None:
    file = both.open("ours", attributes=c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_SYSTEM)
    file.write(0, b"12345")
    file.set_basic(c.FILETIME_UNIX_EPOCH + 10**9 * 10**7, 0, 0, 0, 0)
    both.open("ours", stream="Side").write(0, b"stream data")
    owner = both.files.idmap.user_sid(pwd.getpwnam(USER).pw_uid)
    aces = (Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, owner), Ace(ACCESS_ALLOWED, 0, c.FILE_READ_DATA, EVERYONE))
    new = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, Acl(aces))
    file.set_security_descriptor(c.DACL_SECURITY_INFORMATION, new.encode())
    credentials.as_server()
    shown = both.samba("allinfo ours")
    assert "attributes: HSA (26)" in shown
    assert "2001" in next(line for line in shown.splitlines() if line.startswith("create_time"))
    assert "[:Side:$DATA], 11 bytes" in shown
    assert "stream data" in both.samba("get ours:Side -")
    acl = both.samba("showacls; ls ours")
    assert acl.count("Permissions") == 2, acl
    assert "Permissions: 0x00000001" in acl or "Specific bits: 0x1" in acl, acl


def test_we_read_sambas(both: Both) -> None:
    local = both.directory / "f"
    both.samba(f"put {local} theirs; put {local} theirs:Side; setmode theirs +h; mkdir dir")
    file = both.open("THEIRS", access=c.FILE_GENERIC_READ)
    info = file.info()
    assert info.attributes == c.FILE_ATTRIBUTE_HIDDEN | c.FILE_ATTRIBUTE_ARCHIVE
    assert both.open("theirs", stream="SIDE", access=c.FILE_READ_DATA).read(0, 9) == b"data"
    assert file.read(0, 9) == b"data"
    credentials.as_server()
    assert "security.NTACL" in os.listxattr(both.share / "theirs")
    stored = both.volume.place.access.stored(file.fd, False, file.stat())
    assert stored is not None and stored.owner == both.files.idmap.user_sid(pwd.getpwnam(USER).pw_uid)
    assert parse_security_descriptor(file.security_descriptor(7)) == stored.with_parts(stored, 0)
    assert both.open("dir", access=c.FILE_READ_ATTRIBUTES).info().attributes == c.FILE_ATTRIBUTE_DIRECTORY
