# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's SMB client with a ticket (sec=krb5), which cifs.upcall fetches for it from the user's cache."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from guest import IN_GUEST, NOWHERE
from realm import HOST, Realm, realm_below
from server import KsmbdServer
from test_cifs import missing

pytestmark = pytest.mark.skipif(not IN_GUEST, reason=NOWHERE)

KRB5_CONF = Path("/etc/krb5.conf")
HOSTS = Path("/etc/hosts")


def lacking() -> str:
    """What there is not."""
    programs = ("cifs.upcall", "request-key")
    lost = [name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    return missing() or ", ".join(lost)


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """cifs.upcall is started by the kernel, without any environment: it reads the machine's own files."""
    if lack := lacking():
        pytest.skip(f"needs {lack}")
    before = {path: path.read_bytes() if path.exists() else b"" for path in (KRB5_CONF, HOSTS)}
    with realm_below(tmp_path_factory.mktemp("realm") / "kdc") as made:
        made.add("alice", "alice's")
        KRB5_CONF.write_text(made.config.read_text())
        HOSTS.write_bytes(before[HOSTS] + f"\n127.0.0.1 {HOST}\n".encode())
        try:
            yield made
        finally:
            for path, data in before.items():
                path.write_bytes(data)


@pytest.fixture(scope="module")
def server(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KsmbdServer]:
    server = KsmbdServer(
        tmp_path_factory.mktemp("server") / "server", bpf=False, users={"alice": "by NTLM"},
        environment=realm.environment,
        options={"kerberos support": "yes", "kerberos keytab file": str(realm.keytab), "ntlm auth": "disabled"},
    )  # fmt: skip
    server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", 180)
    (server.share_path / "file").write_text("what a ticket is for")
    yield server
    assert not server.finish(), server.stderr


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def mount(server: KsmbdServer, place: Path, options: str) -> subprocess.CompletedProcess[str]:
    line = ["mount", "-t", "cifs", f"//{HOST}/share", str(place), "-o"]
    given = f"ip=127.0.0.1,port={server.port},cruid=0,username=alice,vers=3.1.1,noperm,nosharesock{options}"
    return subprocess.run([*line, given], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("options", [",sec=krb5", ",sec=krb5i", ",sec=krb5,seal", ",sec=krb5,vers=2.1"])
def test_a_ticket_mounts(realm: Realm, server: KsmbdServer, place: Path, options: str) -> None:
    realm.run("kinit", "-c", "FILE:/tmp/krb5cc_0", "alice", text="alice's\n")
    done = mount(server, place, options)
    assert done.returncode == 0, done.stderr + server.drain()
    assert (place / "file").read_text() == "what a ticket is for"
    (place / "new").write_text("and written")
    assert (server.share_path / "new").read_text() == "and written"
    (place / "new").unlink()


def test_without_a_ticket_there_is_no_mount(realm: Realm, server: KsmbdServer, place: Path) -> None:
    realm.run("kdestroy", "-c", "FILE:/tmp/krb5cc_0")
    assert mount(server, place, ",sec=krb5").returncode != 0
    assert mount(server, place, ",sec=ntlmssp,password=by NTLM").returncode != 0, "NTLM is disabled"
