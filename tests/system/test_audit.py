# SPDX-License-Identifier: GPL-2.0-or-later
"""What a system ACL audits is told, in a file or in the log, of real clients."""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from server import KsmbdServer, StartKsmbd
from unixusers import people

from ksmbd.kernel.stat import stat_fd
from ksmbd.smb import constants as c
from ksmbd.smb.acl import ACCESS_ALLOWED, SYSTEM_AUDIT, Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, UNIX_GROUPS, UNIX_USERS
from ksmbd.vfs import ntacl, posix_acl

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: two Unix users, security.NTACL"),
    pytest.mark.skipif(not shutil.which("smbclient"), reason="needs smbclient"),
]


def protect(path: Path, owner: int, group: int) -> None:
    """Give a file to `owner` alone; what he reads and others are refused is audited."""
    os.chown(path, owner, group)
    dacl = Acl((Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, UNIX_USERS.child(owner)),))
    sacl = Acl((Ace(SYSTEM_AUDIT, 0xC0, c.FILE_READ_DATA, EVERYONE),))
    control = SE_SELF_RELATIVE | SE_DACL_PRESENT | SE_SACL_PRESENT
    kept = SecurityDescriptor(control, UNIX_USERS.child(owner), UNIX_GROUPS.child(group), dacl, sacl)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.setxattr(fd, "security.NTACL", ntacl.encode(kept.encode(), posix_acl.blob(fd, False, stat_fd(fd)), 1))
    finally:
        os.close(fd)


def use(server: KsmbdServer, owner: str, other: str) -> None:
    for user, refused in ((owner, False), (other, True)):
        done = server.smbclient("get secret -", user=f"{user}%pw")
        assert ("NT_STATUS_ACCESS_DENIED" in done.stdout + done.stderr) is refused, done


def check(found: list[dict[str, Any]], owner: str, other: str) -> None:
    assert [(record["outcome"], record["user"].rpartition("\\")[2], record["path"]) for record in found] == [
        ("success", owner, "secret"), ("failure", other, "secret"),
    ]  # fmt: skip
    assert all(record["share"] == "share" and record["access"] == ["READ_DATA"] for record in found)
    assert all(record["address"].startswith("127.0.0.1") and record["event"] == "access" for record in found)


@pytest.mark.parametrize("to_file", [True, False], ids=["audit file", "log"])
def test_reading_is_told(start_ksmbd: StartKsmbd, tmp_path: Path, to_file: bool) -> None:
    audit = tmp_path / "audit.json"
    with people() as them:
        server = start_ksmbd(
            workers=2, options={"audit file": str(audit)} if to_file else {},
            shares={"share": {"vfs objects": "acl_xattr", "force user": ""}},
            users={them.alice: "pw", them.bob: "pw"},
        )  # fmt: skip
        secret = server.share_path / "secret"
        secret.write_text("x")
        secret.chmod(0o644)
        protect(secret, them.uid(them.alice), them.gid(them.alice))
        use(server, them.alice, them.bob)
        if to_file:
            lines = audit.read_text().splitlines()
        else:
            server.wait_for(r'^ksmbd: \{.*"failure"')
            lines = [line[7:] for line in server.stderr.splitlines() if line.startswith("ksmbd: {")]
        check([json.loads(line) for line in lines], them.alice, them.bob)
