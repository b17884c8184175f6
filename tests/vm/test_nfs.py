# SPDX-License-Identifier: GPL-2.0-or-later
"""One folder, shared with SMB and exported by the kernel's NFS server: each sees what the other caches and locks.

The NFS client is the kernel's, mounted on this very machine, and local processes use the mount. It does not wait in the
NFS server: that says NFS4ERR_DELAY as long as a client of ours has to give way, and the NFS client asks again.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from bodies import EXCLUSIVE, EXCLUSIVE_NOW, UNLOCK, create, lock, opened
from guest import IN_GUEST, NOWHERE
from local_process import LocalProcess
from rawclient import RawClient
from server import KsmbdServer
from test_local_world import acknowledge_lease, lease_notice, open_with

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

pytestmark = pytest.mark.skipif(not IN_GUEST, reason=NOWHERE)

NFSD = Path("/proc/fs/nfsd")
STATE = (Path("/var/lib/nfs/rpc_pipefs"), Path("/var/lib/nfs/v4recovery"))
TOOLS = ("exportfs", "rpc.mountd", "rpc.nfsd", "mount.nfs4")


def missing() -> str:
    """What there is not."""
    if os.geteuid():
        return "root"
    for module in ("nfsd", "nfsv4"):
        if subprocess.run(["modprobe", module], capture_output=True, check=False).returncode:
            return f"the kernel's module {module}"
    return ", ".join(tool for tool in TOOLS if not shutil.which(tool))


def command(*line: str) -> None:
    """AssertionError with its output where it fails."""
    result = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{' '.join(line)}: {result.stdout}{result.stderr}"


class Export:
    """A folder, `local`, and where it is mounted with NFS, `mounted`."""

    def __init__(self, folder: Path) -> None:
        self.local = folder / "export"
        self.mounted = folder / "mounted"
        self._undo = ExitStack()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        for path in (self.local, self.mounted, *STATE):
            path.mkdir(parents=True, exist_ok=True)
        for path in (Path("/var/lib/nfs/etab"), Path("/var/lib/nfs/rmtab"), Path("/etc/exports")):
            path.touch()
        # A file system that can be exported, whatever is below.
        command("mount", "-t", "tmpfs", "-o", "mode=1777", "export", str(self.local))
        self._undo.callback(command, "umount", str(self.local))
        if not (NFSD / "threads").exists():
            command("mount", "-t", "nfsd", "nfsd", str(NFSD))
        command("exportfs", "-o", "rw,no_root_squash,insecure,fsid=0", f"127.0.0.1:{self.local}")
        self._undo.callback(command, "exportfs", "-u", f"127.0.0.1:{self.local}")
        mountd = subprocess.Popen(
            ["rpc.mountd", "-N", "2", "-N", "3", "-V", "4.2", "-F"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._undo.callback(mountd.wait)
        self._undo.callback(mountd.terminate)
        command("rpc.nfsd", "-N", "3", "-V", "4", "-V", "4.2", "4")
        self._undo.callback(command, "rpc.nfsd", "0")
        # Nobody has state from before, so nobody is to be waited for.
        (NFSD / "v4_end_grace").write_text("Y\n")
        # noac: what others wrote is asked for each time.
        command("mount.nfs4", "127.0.0.1:/", str(self.mounted), "-o", "vers=4.2,noac,soft")
        self._undo.callback(command, "umount", "-f", str(self.mounted))

    def close(self) -> None:
        """All of it."""
        self._undo.close()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    lack = missing()
    if lack:
        pytest.skip(f"needs {lack}")
    made = Export(tmp_path_factory.mktemp("nfs"))
    yield made
    made.close()


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def server(
    request: pytest.FixtureRequest, export: Export, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KsmbdServer]:
    made = KsmbdServer(
        tmp_path_factory.mktemp("server") / "server", workers=request.param, bpf=False,
        options={"smb2 leases": "yes", "durable handles": "yes"},
        shares={"share": {"path": str(export.local), "kernel oplocks": "yes", "posix locking": "yes"}},
    )  # fmt: skip
    # An emulated machine is slow.
    made.wait_for(rf"^ksmbd: listening on \S+:{made.port}$", 180)
    yield made
    problem = made.finish()
    assert not problem, problem


@pytest.fixture
def client(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server, guid=os.urandom(16)) as made:
        yield made


@pytest.fixture
def remote() -> Iterator[LocalProcess]:
    """A process that works on the NFS mount."""
    with LocalProcess() as made:
        yield made


@pytest.fixture
def name(export: Export) -> str:
    """A file with a name of the test's own."""
    made = f"file{os.urandom(4).hex()}"
    (export.local / made).write_text("before")
    (export.local / made).chmod(0o666)
    return made


def test_an_nfs_client_reads_what_the_smb_client_had_in_its_cache(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    key = os.urandom(16)
    file, state = open_with(client, export.local / name, key, 7)
    assert state == 7
    remote.begin(f"read {export.mounted / name}")
    assert lease_notice(client) == (key, 7, 0)
    assert remote.waits
    client.ask(c.WRITE, client.write_body(file, 0, 5) + b"after")
    assert remote.waits
    acknowledge_lease(client, key, 0)
    assert remote.finish() == "aftere"


def test_an_smb_client_reads_what_the_nfs_client_wrote(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    key = os.urandom(16)
    file, state = open_with(client, export.local / name, key, 3, access=0x120089)
    assert state == 3
    remote.begin(f"write {export.mounted / name}")
    assert lease_notice(client) == (key, 3, 0)
    acknowledge_lease(client, key, 0)
    assert remote.finish() == "open"
    assert remote.run("put after") == "5"
    assert bytes(client.ask(c.READ, client.read_body(file, 0, 6)))[80:86] == b"aftere"


def test_what_an_nfs_client_writes_is_cached_by_nobody(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    assert remote.run(f"write {export.mounted / name}") == "open"
    assert open_with(client, export.local / name, os.urandom(16), 7)[1] == 0


def test_a_delegation_of_the_nfs_client_is_called_back(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    """A delegation is a lease to the kernel: our open waits until the NFS client has returned it."""
    assert remote.run(f"read {export.mounted / name}") == "before"
    file = opened(client.reply(client.post(c.CREATE, create(name))))
    client.ask(c.WRITE, client.write_body(file, 0, 5) + b"after")
    assert remote.run("again") == "aftere"


def test_an_smb_clients_lock_is_seen_over_nfs(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(name))))
    assert client.status(c.LOCK, lock(file, 10, 10, EXCLUSIVE_NOW)) == 0
    remote.run(f"write {export.mounted / name}")
    assert remote.run("exclusive 15 1") == "EAGAIN"
    assert remote.run("exclusive 0 10") == "done"
    assert client.status(c.LOCK, lock(file, 10, 10, UNLOCK)) == 0
    assert remote.run("exclusive 15 1") == "done"


def test_an_nfs_clients_lock_is_seen_over_smb(
    client: RawClient, export: Export, name: str, remote: LocalProcess
) -> None:
    file = opened(client.reply(client.post(c.CREATE, create(name))))
    remote.run(f"write {export.mounted / name}")
    assert remote.run("exclusive 2 2") == "done"
    assert client.status(c.LOCK, lock(file, 0, 10, EXCLUSIVE_NOW)) == s.STATUS_LOCK_NOT_GRANTED
    assert client.status(c.READ, client.read_body(file, 0, 6)) == s.STATUS_FILE_LOCK_CONFLICT
    waiting = client.post(c.LOCK, lock(file, 0, 10, EXCLUSIVE))
    assert remote.run("unlock 2 2") == "done"
    assert client.reply(waiting)[8:12] == bytes(4)
    assert remote.run("exclusive 2 2") == "EAGAIN"
