# SPDX-License-Identifier: GPL-2.0-or-later
"""Previous versions for clients that are not ours: smbclient and smbprotocol, beside a real smbd with shadow_copy2 on
the same folder, and btrfs' own snapshots."""
from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mounted import mount
from samba import Samba, missing, samba, smbclient
from server import KsmbdServer, StartKsmbd
from smbprotocol.create_contexts import SMB2CreateContextRequest
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.file_info import FileInformationClass
from smbprotocol.open import CreateDisposition
from smbprotocol_client import ALL, DIRECTORY, READ, WRITE, Client
from unixusers import People, people

from ksmbd.smb import status as s
from ksmbd.smb.snapshot_tokens import take_token

OLD, NEW = "@GMT-2015.10.31-19.40.30", "@GMT-2016.01.02-03.04.05"
PASSWORD = "Passw0rd!"
pytestmark = pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")


def filetime(token: str) -> int:
    found = take_token(token)
    assert found is not None
    return found[1]


def timewarp(token: str) -> list[Any]:
    """The create context (MS-SMB2 2.2.13.2.7)."""
    context = SMB2CreateContextRequest()
    context["buffer_name"] = b"TWrp"
    context["buffer_data"] = struct.pack("<Q", filetime(token))
    return [context]


def fill(share: Path) -> None:
    """A tree with two snapshots, of which one has a stream, and what no snapshot may be."""
    for folder in ("d", f".snapshots/{OLD}/d", f".snapshots/{NEW}", ".snapshots/other"):
        (share / folder).mkdir(parents=True)
    for name, data in {
        "f": "live", "d/x": "live x", f".snapshots/{OLD}/f": "old", f".snapshots/{OLD}/d/x": "old x",
        f".snapshots/{OLD}/gone": "gone", f".snapshots/{NEW}/f": "new",
    }.items():  # fmt: skip
        (share / name).write_text(data + "\n")


def status(call: Any) -> int:
    try:
        call()
    except SMBResponseException as error:
        return int(error.status)
    return 0


# -------------------------------------------------------------------------------------------------------- beside Samba


@pytest.fixture(scope="module")
def them() -> Iterator[People]:
    """Users of the two servers."""
    lacking = missing("shadow_copy2", "streams_xattr")
    if lacking:
        pytest.skip(lacking)
    with people() as made:
        yield made


@pytest.fixture(scope="module")
def pair(them: People, start_shared: StartKsmbd) -> Iterator[tuple[KsmbdServer, Samba]]:
    """The same folder by us and by smbd, which wants the user to reach it: so it is not in pytest's folder, which is
    closed to others whenever pytest starts."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield from _pair(them, start_shared, Path(name))


def _pair(them: People, start_shared: StartKsmbd, folder: Path) -> Iterator[tuple[KsmbdServer, Samba]]:
    share = folder / "share"
    share.mkdir()
    fill(share)
    for directory, _, files in os.walk(share):
        os.chown(directory, them.uid(them.alice), them.gid(them.alice))
        for file in files:
            os.chown(Path(directory, file), them.uid(them.alice), them.gid(them.alice))
    os.setxattr(share / f".snapshots/{OLD}/f", "user.DosStream.s:$DATA", b"stream\0")
    os.setxattr(share / f".snapshots/{OLD}/gone", "user.DOSATTRIB", b"0x22\0")
    options = {"path": str(share), "shadow:mountpoint": str(share)}
    ours = start_shared(
        users={them.alice: PASSWORD},
        shares={"s": {**options, "force user": "", "vfs objects": "shadow_copy2 streams_xattr"}},
    )
    with samba(folder / "samba", them.alice, PASSWORD, {"s": options}, "shadow_copy2 streams_xattr") as beside:
        yield ours, beside


@pytest.mark.parametrize(
    "command",
    [
        "allinfo f", "allinfo d/x", f"allinfo {OLD}/f", f"allinfo {OLD}/gone", f"allinfo {NEW}/gone",
        f"more {OLD}/f", f"more {NEW}/f", f"more {OLD}/gone", f"more d/{OLD}/x", f"more {OLD}/d/x", f"more {OLD}/f:s",
        f"more {NEW}/gone", f"more {OLD}/nothing/x", "more @GMT-2014.01.01-00.00.00/f", f"ls {OLD}/*", f"ls {NEW}/*",
        f"rm {OLD}/f", f"rename {OLD}/f {OLD}/g", f"put /etc/hostname {OLD}/f", f"mkdir {OLD}/new",
    ],
)  # fmt: skip
def test_smbclient_sees_what_samba_shows(pair: tuple[KsmbdServer, Samba], command: str) -> None:
    """Lists, contents and refusals. Times of looking, sizes of the disk, the archive attribute (which Samba's
    `map archive = no` leaves out) and the order in which names come are not compared, nor that smbclient cannot ask
    for a snapshot's own snapshots."""
    ours, beside = pair
    # A snapshot is not written to: whoever asks first does not change what the other one answers.
    answers = [
        smbclient(server.port, "s", f"{ours.user}%{PASSWORD}", command) for server in (ours, beside)
    ]
    left, right = ([line for line in sorted(answer.splitlines()) if compared(line)] for answer in answers)
    if command.startswith(("rm", "rename", "mkdir", "put")):
        # What Windows answers and later versions of Samba do, or what this one does
        refused = [re.findall(r"NT_STATUS_\w+", answer) for answer in answers]
        known = "NT_STATUS_NOT_SAME_DEVICE" if command.startswith("rename") else "NT_STATUS_MEDIA_WRITE_PROTECTED"
        assert refused[0] and set(refused[0]) <= {known, *refused[1]}
        return
    assert [plain(line) for line in left] == [plain(line) for line in right]


def compared(line: str) -> bool:
    return not re.search(r"_time:|blocks of size|getting file|pathinfo|^ +\.\.? ", line) and bool(line)


def plain(line: str) -> str:
    line = re.sub(r"  +[AN]+  +", "  ", line)
    return re.sub(r"attributes: .*", lambda found: found.group().replace("A", "").split("(")[0].rstrip(), line)


# -------------------------------------------------------------------------------------------------------- smbprotocol


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, tmp_path_factory: pytest.TempPathFactory) -> KsmbdServer:
    share = tmp_path_factory.mktemp("snapshots") / "share"
    share.mkdir()
    fill(share)
    path = ".snapshots/@GMT-%Y.%m.%d-%H.%M.%S"
    return start_shared(
        shares={"s": {"path": str(share), "snapshot path": path, "shadow:snapdirseverywhere": "yes"}},
        options={"durable handles": "yes", "smb2 leases": "yes"},
    )


def test_the_context_and_the_token_open_the_same(server: KsmbdServer) -> None:
    with Client(server) as client:
        by_context = client.open("f", READ, CreateDisposition.FILE_OPEN, contexts=timewarp(OLD))
        by_token = client.open(f"{OLD}\\f", READ, CreateDisposition.FILE_OPEN)
        live = client.open("f", READ, CreateDisposition.FILE_OPEN)
        assert [file.read(0, 99) for file in (by_context, by_token, live)] == [b"old\n", b"old\n", b"live\n"]
        missing_one = lambda: client.open("f", READ, contexts=timewarp("@GMT-2015.10.31-19.40.29"))  # noqa: E731
        assert status(missing_one) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_writing_is_refused_and_reading_goes_on(server: KsmbdServer) -> None:
    with Client(server) as client:
        file = client.open("f", ALL, CreateDisposition.FILE_OPEN, contexts=timewarp(OLD))
        for size in (1, 300_000):  # a long one is not read as a whole before it is refused
            assert status(lambda: file.write(bytes(size), 0)) == s.STATUS_MEDIA_WRITE_PROTECTED  # noqa: B023
        assert file.read(0, 99) == b"old\n"
        folder = client.open("d", ALL, CreateDisposition.FILE_OPEN, DIRECTORY, contexts=timewarp(OLD))
        listed = folder.query_directory("*", FileInformationClass.FILE_NAMES_INFORMATION)
        assert [entry["file_name"].get_value().decode("utf-16-le") for entry in listed] == [".", "..", "x"]


def test_live_and_old_are_two_files_to_share_modes(server: KsmbdServer) -> None:
    """So that a file can be restored while its previous version is looked at."""
    with Client(server) as client:
        client.open("f", READ, CreateDisposition.FILE_OPEN, share=0, contexts=timewarp(OLD))
        client.open("f", READ | WRITE, CreateDisposition.FILE_OPEN, share=0)
        again = lambda: client.open("f", READ, CreateDisposition.FILE_OPEN, contexts=timewarp(OLD))  # noqa: E731
        assert status(again) == s.STATUS_SHARING_VIOLATION


# --------------------------------------------------------------------------------------------------------------- btrfs


def btrfs(*arguments: str) -> None:
    subprocess.run(["btrfs", *arguments], check=True, capture_output=True)


def test_snapshots_of_btrfs(start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    """A subvolume's read-only snapshots: found, read, refused for writing, and gone once they are deleted."""
    with mount("btrfs", tmp_path) as top:
        btrfs("subvolume", "create", str(top / "data"))
        (top / "data" / "share").mkdir()
        (top / "snapshots").mkdir()
        share = top / "data" / "share"
        for day, text in ((1, "first\n"), (2, "second\n")):
            (share / "f").write_text(text)
            os.sync()
            target = top / "snapshots" / f"2026-11-0{day}_1200"
            btrfs("subvolume", "snapshot", "-r", str(top / "data"), str(target))
        (share / "f").write_text("live\n")
        server = start_ksmbd(
            shares={"s": {"path": str(share), "snapshot path": f"{top}/snapshots/%Y-%m-%d_%H%M",
                          "shadow:basedir": f"{top}/data"}},
        )  # fmt: skip

        def client(commands: str) -> str:
            return smbclient(server.port, "s", f"{server.user}%{server.password}", commands)

        first, second = "@GMT-2026.11.01-12.00.00", "@GMT-2026.11.02-12.00.00"
        tokens = re.findall(r"^@GMT\S+", client("allinfo f"), re.MULTILINE)
        assert tokens == [second, first]
        assert "first" in client(f"more {first}/f") and "second" in client(f"more {second}/f")
        assert "live" in client("more f")
        assert "WRITE_PROTECTED" in client(f"put /etc/hostname {first}/f")
        with Client(server) as other:
            file = other.open("f", READ | WRITE, CreateDisposition.FILE_OPEN, contexts=timewarp(first))
            assert status(lambda: file.write(b"x", 0)) == s.STATUS_MEDIA_WRITE_PROTECTED
            file.close()
        btrfs("subvolume", "delete", str(top / "snapshots" / "2026-11-01_1200"))
        assert re.findall(r"^@GMT\S+", client("allinfo f"), re.MULTILINE) == [second]
        assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in client(f"more {first}/f")


def test_subvolumes_as_snapper_makes_them(start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    """.snapshots/N/snapshot below the subvolume: the time is the snapshot's own."""
    with mount("btrfs", tmp_path) as top:
        (top / ".snapshots" / "1").mkdir(parents=True)
        (top / ".snapshots" / "2" / "snapshot").mkdir(parents=True)  # no subvolume
        (top / "f").write_text("first\n")
        before = int(time.time())
        btrfs("subvolume", "snapshot", "-r", str(top), str(top / ".snapshots" / "1" / "snapshot"))
        after = int(time.time())
        (top / "f").write_text("live\n")
        server = start_ksmbd(shares={"s": {"path": str(top), "snapshot path": ".snapshots/*/snapshot"}})
        login = f"{server.user}%{server.password}"
        (token,) = re.findall(r"^@GMT\S+", smbclient(server.port, "s", login, "allinfo f"), re.MULTILINE)
        assert before <= filetime(token) // 10_000_000 - 11_644_473_600 <= after
        assert "first" in smbclient(server.port, "s", login, f"more {token}/f")
        btrfs("subvolume", "delete", str(top / ".snapshots" / "1" / "snapshot"))
        assert "NT_STATUS_OBJECT_NAME_NOT_FOUND" in smbclient(server.port, "s", login, f"more {token}/f")
