# SPDX-License-Identifier: GPL-2.0-or-later
"""Named streams of many lengths through smbclient, on file systems that limit extended attributes differently."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from impacket.smb3structs import FILE_RENAME_INFORMATION_TYPE_2, FILE_SHARE_READ, SMB2_FILE_RENAME_INFO
from impacket.smbconnection import SMBConnection
from mounted import mount
from server import KsmbdServer, StartKsmbd

pytestmark = [
    pytest.mark.root, pytest.mark.skipif(not shutil.which("smbclient"), reason="needs smbclient"),
]  # fmt: skip


def smbclient(server: KsmbdServer, command: str) -> str:
    done = subprocess.run(
        ["smbclient", "//127.0.0.1/share", "-p", str(server.port), "-U", "user%secret", "-c", command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "features", "fits", "too_long"),
    [
        ("xfs", (), 1_048_575, 0), ("tmpfs", (), 1_048_575, 0), ("btrfs", (), 253_951, 260_000),
        ("ext4", ("-O", "ea_inode"), 1_048_575, 0), ("ext4", ("-b", "4096"), 3_000, 5_000),
    ],
)  # fmt: skip
def test_as_long_as_the_file_system_lets_them_be(
    start_ksmbd: StartKsmbd, tmp_path: Path, kind: str, features: tuple[str, ...], fits: int, too_long: int
) -> None:
    data = os.urandom(1_048_576)
    local, back = tmp_path / "local", tmp_path / "back"
    with mount(kind, tmp_path, features=features) as folder:
        server = start_ksmbd(shares={"share": {"path": str(folder), "vfs objects": "streams_xattr"}})
        for size in (10, min(70_000, fits), fits, 100):
            local.write_bytes(data[:size])
            assert "NT_STATUS" not in smbclient(server, f"put {local} f:s")
            assert "NT_STATUS" not in smbclient(server, f"get f:s {back}")
            assert back.read_bytes() == data[:size]
            (found,) = re.findall(r"stream: \[:s:\$DATA\], (\d+) bytes", smbclient(server, "allinfo f"))
            assert int(found) == size
        assert [name for name in os.listxattr(folder / "f") if "Stream" in name] == ["user.DosStream.s:$DATA"]
        for size, status in ((too_long, "NT_STATUS_DISK_FULL"), (1_048_576, "NT_STATUS_")):
            if size:
                local.write_bytes(data[:size])
                assert status in smbclient(server, f"put {local} g:s")


@pytest.mark.parametrize(("kind", "features", "size"), [("xfs", (), 200_000), ("ext4", ("-b", "4096"), 3_000)])
def test_becomes_the_data_of_its_file(
    start_ksmbd: StartKsmbd, tmp_path: Path, kind: str, features: tuple[str, ...], size: int
) -> None:
    """MS-FSA 2.1.5.15.11.1: a rename to ::$DATA. The open goes on with the file's data."""
    data = os.urandom(size)
    (tmp_path / "local").write_bytes(data)
    with mount(kind, tmp_path, features=features) as folder:
        server = start_ksmbd(shares={"share": {"path": str(folder), "vfs objects": "streams_xattr"}})
        assert "NT_STATUS" not in smbclient(server, f"put {tmp_path / 'local'} f:s")
        client = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20)
        client.login(server.user, server.password)
        tree = client.connectTree("share")
        stream = client.openFile(tree, "f:s", 0x10003, FILE_SHARE_READ)
        target = FILE_RENAME_INFORMATION_TYPE_2()
        target["ReplaceIfExists"], target["FileName"] = 1, "::$DATA".encode("utf-16le")
        target["FileNameLength"] = len(target["FileName"])
        client.getSMBServer().setInfo(tree, stream, target, fileInfoClass=SMB2_FILE_RENAME_INFO)
        assert (folder / "f").read_bytes() == data
        assert not [name for name in os.listxattr(folder / "f") if "Stream" in name]
        client.writeFile(tree, stream, b"more", size)
        assert "NT_STATUS_SHARING_VIOLATION" in smbclient(server, f"put {tmp_path / 'local'} f")
        client.closeFile(tree, stream)
        client.close()
        assert (folder / "f").read_bytes() == data + b"more"
        assert "NT_STATUS" not in smbclient(server, f"get f {tmp_path / 'back'}")
        assert (tmp_path / "back").read_bytes() == data + b"more"
