# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of parameters: a value, and what a client sees by it. Every parameter has a row here, or a test elsewhere."""

from __future__ import annotations

import os
import pwd
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from server import KsmbdServer, StartKsmbd
from smbprotocol.connection import Capabilities, Connection
from unixusers import People

from mountd.parameters import PARAMETERS, Scope

TESTS: Final = Path(__file__).resolve().parent.parent
OWN: Final = frozenset((
    "available (S)", "guest account (G)", "guest account (S)", "guest only (S)", "ntlm auth (G)", "root directory (G)",
    "server multi channel support (G)", "smb2 max read (G)", "smb2 max trans (G)", "smb2 max write (G)",
    "username map (G)", "writable (S)", "write ok (S)", "writeable (S)",
))  # fmt: skip
"""Parameters with a row in this file."""
ELSEWHERE: Final = {
    "acl flag inherited canonicalization (S)": "unit/vfs/test_access.py",
    "acl_xattr:security_acl_name (S)": "unit/vfs/test_acl_tree.py",
    "crossmnt (S)": "unit/vfs/test_resolve.py", "deadtime (G)": "unit/conn/test_connections.py",
    "lookup port (G)": "bpf/test_server_bpf.py", "max active sessions (G)": "unit/mountd/test_requests.py",
    "max log size (G)": "unit/mountd/test_logsettings.py", "max open files (G)": "unit/smb/test_holdings.py",
    "min domain uid (G)": "system/test_kerberos_tickets.py", "oplocks (S)": "unit/smb/test_create.py",
    "pam password change (G)": "system/test_passwords.py", "unix password sync (G)": "system/test_passwords.py",
    "username map script (G)": "system/test_passwords.py",
    "share:fake_fscaps (G)": "unit/vfs/test_volume_info.py", "tune networks (G)": "unit/process/test_bpf_programs.py",
    "shadow:snapdir (S)": "system/test_snapshots.py", "shadow:snapsharepath (S)": "unit/vfs/test_snapshots.py",
    "shadow:sort (S)": "unit/vfs/test_snapshots.py",
}  # fmt: skip
"""Parameters whose effect a test of another kind shows, which speaks of them by name or as a field."""
BY_VALUE: Final = {
    "kerberos service name (G)": ("system/test_kerberos.py", "kerberos"),
    "mangle prefix (G)": ("unit/vfs/test_short_names.py", "prefix"),
    "mangling method (G)": ("system/test_testparm.py", "mangling method"),
    "shadow:crossmountpoints (S)": ("unit/ipc/test_client.py", "shadow:crossmountpoints"),
    "shadow:delimiter (S)": ("unit/vfs/test_snapshot_names.py", "delimiter"),
    "shadow:format (S)": ("unit/vfs/test_snapshot_names.py", "%Y"),
    "shadow:localtime (S)": ("unit/vfs/test_snapshot_names.py", "localtime"),
    "shadow:snapprefix (S)": ("unit/vfs/test_snapshot_names.py", "prefix"),
    "shadow:sscanf (S)": ("unit/vfs/test_snapshot_names.py", "sscanf"),
    "smbd max io size (G)": ("unit/ipc/test_messages.py", "smbd_max_io_size"),
    "username map cache time (G)": ("unit/mountd/test_username_script.py", "60"),
    "streams_xattr:max xattrs per stream (S)": ("unit/ipc/test_client.py", "max xattrs per stream"),
}
"""Parameters whose value is followed to where it is used, without a client: what has one choice, needs hardware, or a
file system of its own."""


def named(name: str, scope: Scope) -> str:
    return f"{name} ({scope.value})"


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: named(parameter.name, parameter.scope))
def test_every_parameter_has_a_row(parameter: object) -> None:
    known = next(one for one in PARAMETERS if one is parameter)
    key = named(known.name, known.scope)
    if key in OWN:
        return
    words = (known.name, known.attribute)
    if key in ELSEWHERE or key in BY_VALUE:
        file, *more = (ELSEWHERE[key], *words) if key in ELSEWHERE else BY_VALUE[key]
        assert any(word in (TESTS / file).read_text() for word in more), f"{file} does not speak of {known.name}"
        return
    told = [f'"{known.name}"', f"{known.name} = "]
    others = {Path(__file__).name, "test_testparm.py"}
    files = [file for file in (TESTS / "system").glob("test_*.py") if file.name not in others]
    assert any(word in file.read_text() for file in files for word in told), f"no test sets {known.name}"


@dataclass(frozen=True)
class Row:
    """One of them: what a user puts into a share, whose file that is then, or the error."""

    share: str
    user: str
    """`alice`, `stranger`, or a name of the map."""
    owner: str
    """Of the new file; an NTSTATUS."""


ROWS: Final = (
    Row("plain", "alice", "alice"),
    Row("plain", "Alice Anders", "alice"),  # username map
    Row("plain", "someone", "bob"),  # of several lines the last one
    Row("open", "nobody-at-all", "bob"),  # guest account of [global]
    Row("special", "nobody-at-all", "alice"),  # guest account of the share
    Row("guests", "alice", "bob"),  # guest only
    Row("gone", "alice", "NT_STATUS_BAD_NETWORK_NAME"),  # available = no
    Row("writable", "alice", "alice"), Row("writeable", "alice", "alice"), Row("write-ok", "alice", "alice"),
    Row("not-writable", "alice", "NT_STATUS_ACCESS_DENIED"),
    Row("not-writeable", "alice", "NT_STATUS_ACCESS_DENIED"),
    Row("not-write-ok", "alice", "NT_STATUS_ACCESS_DENIED"),
)  # fmt: skip


@pytest.fixture(scope="module")
def table(start_shared: StartKsmbd, tmp_path_factory: pytest.TempPathFactory, them: People) -> KsmbdServer:
    """One server for all rows. `root directory` is above all paths."""
    base = tmp_path_factory.mktemp("table")
    base.chmod(0o755)
    (base / "map").write_text(f'{them.alice} = "Alice Anders" someone\n{them.bob} = someone\n')
    plain = {"force user": "", "read only": ""}
    shares = {
        "plain": {"read only": "no"}, "open": {"read only": "no", "guest ok": "yes"},
        "special": {"read only": "no", "guest ok": "yes", "guest account": them.alice},
        "guests": {"read only": "no", "guest ok": "yes", "guest only": "yes"}, "gone": {"available": "no"},
        "writable": {"writable": "yes"}, "writeable": {"writeable": "yes"}, "write-ok": {"write ok": "yes"},
        "not-writable": {"writable": "no"}, "not-writeable": {"writeable": "no"}, "not-write-ok": {"write ok": "no"},
    }  # fmt: skip
    below = tmp_path_factory.mktemp("below")
    for name in shares:
        folder = Path(f"{base}{below}/{name}")
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    server = start_shared(
        options={
            "root directory": str(base), "username map": str(base / "map"), "map to guest": "bad user",
            "guest account": them.bob, "smb2 max read": "128K", "smb2 max write": "256K", "smb2 max trans": "512K",
            "server multi channel support": "yes",
        },
        shares={name: {"path": f"{below}/{name}", **plain, **options} for name, options in shares.items()},
        users={them.alice: "secret", them.bob: "secret"},
    )
    (server.folder / "f").write_text("data")
    (server.folder / "base").symlink_to(f"{base}{below}")
    return server


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.share}-{row.user}".replace(" ", "-"))
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")
def test_a_row(table: KsmbdServer, them: People, row: Row) -> None:
    user = getattr(them, row.user, row.user)
    name = row.user.replace(" ", "-")
    result = table.smbclient(f"put f {name}", share=row.share, user=f"{user}%secret")
    made = table.folder / "base" / row.share / name
    if row.owner.startswith("NT_STATUS"):
        assert row.owner in result.stdout and not made.exists()
    else:
        assert result.returncode == 0, result.stdout
        assert pwd.getpwuid(made.stat().st_uid).pw_name == getattr(them, row.owner)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_sizes_and_capabilities_of_a_negotiation(table: KsmbdServer) -> None:
    connection = Connection(uuid.uuid4(), "127.0.0.1", table.port)
    connection.client_capabilities |= Capabilities.SMB2_GLOBAL_CAP_MULTI_CHANNEL
    connection.connect()
    try:
        sizes = (connection.max_read_size, connection.max_write_size, connection.max_transact_size)
        assert sizes == (128 << 10, 256 << 10, 512 << 10)
        assert connection.server_capabilities.has_flag(Capabilities.SMB2_GLOBAL_CAP_MULTI_CHANNEL)
    finally:
        connection.disconnect(close=False)


@pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")
def test_ntlm_auth_disabled_admits_nobody(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"ntlm auth": "disabled"})
    result = server.smbclient("ls")
    assert result.returncode != 0 and "NT_STATUS_" in result.stdout + result.stderr
