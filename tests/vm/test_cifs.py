# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's SMB client, mounted on this very machine: what programs do with names, with and without the POSIX
extensions, and while another client has the files open."""
from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))

from guest import IN_GUEST, NOWHERE
from server import KsmbdServer

pytestmark = pytest.mark.skipif(not IN_GUEST, reason=NOWHERE)

Mounts = Callable[[str], Path]
ODD = (
    "back\\slash", "co:lon", "dot.", "space ", "q?", "st*r", "lt<gt>", "pi|pe", 'quo"te', "new\nline", "Case", "case",
)  # fmt: skip


def missing() -> str:
    """What there is not."""
    if os.geteuid():
        return "root"
    if subprocess.run(["modprobe", "cifs"], capture_output=True, check=False).returncode:
        return "the kernel's module cifs"
    return "" if shutil.which("mount.cifs") else "mount.cifs"


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """Mounts the share with further options, each time as a client of its own."""
    if lack := missing():
        pytest.skip(f"needs {lack}")
    options = {"smb2 leases": "yes", "durable handles": "yes"}
    server = KsmbdServer(tmp_path_factory.mktemp("server") / "server", workers=2, bpf=False, options=options)
    # An emulated machine is slow.
    server.wait_for(rf"^ksmbd: listening on \S+:{server.port}$", 180)
    made: list[Path] = []

    def mount(options: str = "") -> Path:
        place = tmp_path_factory.mktemp("mounted")
        login = f"port={server.port},username={server.user},password={server.password},vers=3.1.1,noperm,nosharesock"
        share = next(iter(server.shares))
        line = ["mount", "-t", "cifs", f"//127.0.0.1/{share}", str(place), "-o", f"{login}{options}"]
        result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        made.append(place)
        return place

    yield mount
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=False)
    assert not server.finish(), server.stderr


@pytest.fixture(scope="module", params=["", ",posix"], ids=["plain", "posix"])
def pair(request: pytest.FixtureRequest, mounts: Mounts) -> tuple[Path, Path]:
    """The mounts of who writes and of who reads."""
    return mounts(request.param), mounts("")


@pytest.fixture
def folder(pair: tuple[Path, Path], request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """One folder, seen through both."""
    writer, reader = pair
    name = f"{request.node.originalname}-{writer.name}"
    (writer / name).mkdir()
    yield writer / name, reader / name
    subprocess.run(["rm", "-rf", str(writer / name)], check=True)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_saving_by_rename_while_others_read(folder: tuple[Path, Path], mode: str) -> None:
    writer, reader = folder
    (writer / "doc").write_text("old")
    with open(reader / "doc", mode) as held:
        for text in ("new", "newer"):
            (writer / "doc.tmp").write_text(text)
            os.rename(writer / "doc.tmp", writer / "doc")
            assert os.listdir(writer) == ["doc"] and (writer / "doc").read_text() == text
        assert held.read() == "old"
    assert (reader / "doc").read_text() == "newer"


def test_removing_one_name_of_open_files(folder: tuple[Path, Path]) -> None:
    writer, _ = folder
    (writer / "goes").mkdir()
    for number in range(5):
        (writer / "goes" / f"f{number}").write_text("data")
        os.link(writer / "goes" / f"f{number}", writer / f"stays{number}")
    held = [open(writer / f"stays{number}") for number in range(5)]
    subprocess.run(["rm", "-r", str(writer / "goes")], check=True)
    assert [file.read() for file in held] == ["data"] * 5
    for file in held:
        file.close()
    assert sorted(os.listdir(writer)) == [f"stays{number}" for number in range(5)]


def test_folders_in_each_others_place(folder: tuple[Path, Path]) -> None:
    writer, _ = folder
    for name in ("one", "empty", "full"):
        (writer / name).mkdir()
    (writer / "full" / "file").write_text("data")
    with pytest.raises(OSError, match="not empty"):
        os.rename(writer / "one", writer / "full")
    with pytest.raises(OSError, match="not empty"):
        os.rmdir(writer / "full")
    os.rename(writer / "full", writer / "empty")
    assert sorted(os.listdir(writer)) == ["empty", "one"] and os.listdir(writer / "empty") == ["file"]


@pytest.fixture(scope="module")
def posix(mounts: Mounts) -> Path:
    return mounts(",posix")


def test_any_name_goes_with_the_posix_extensions(posix: Path) -> None:
    top = posix / "odd"
    (top / "a" / "b.").mkdir(parents=True)
    for folder in (top, top / "a" / "b."):
        for name in ODD:
            (folder / name).write_text(name)
        assert sorted(set(os.listdir(folder)) - {"a"}) == sorted(ODD)
        for name in ODD:
            assert (folder / name).read_text() == name
            os.rename(folder / name, folder / f"{name}:2")
            os.unlink(folder / f"{name}:2")
    subprocess.run(["rm", "-r", str(top)], check=True)


def test_files_of_all_kinds_with_the_posix_extensions(posix: Path) -> None:
    top = posix / "kinds"
    top.mkdir(mode=0o750)
    assert stat.S_IMODE(os.stat(top).st_mode) == 0o750
    (top / "file").write_text("data")
    for mode in (0o700, 0o600, 0o444, 0o644):
        os.chmod(top / "file", mode)
        assert stat.S_IMODE(os.stat(top / "file").st_mode) == mode and (top / "file").read_text() == "data"
    os.symlink("../kinds/file", top / "link")
    os.symlink("/absolute", top / "absolute")
    os.symlink("nowhere", top / "dangling")
    os.mkfifo(top / "fifo")
    os.link(top / "file", top / "hard")
    assert os.stat(top / "hard").st_nlink == 2
    assert {entry.name for entry in os.scandir(top) if entry.is_symlink()} == {"link", "absolute", "dangling"}
    assert os.readlink(top / "link") == "../kinds/file" and os.readlink(top / "absolute") == "/absolute"
    assert stat.S_ISFIFO(os.lstat(top / "fifo").st_mode)
    with open(top / "file") as held:
        os.unlink(top / "file")
        assert "file" not in os.listdir(top) and held.read() == "data"
    os.mkdir(top / "sub")
    (top / "sub" / "open").write_text("data")
    with open(top / "sub" / "open") as held:
        os.rename(top / "sub", top / "moved")
        assert held.read() == "data"
    with pytest.raises(FileExistsError):
        os.open(top / "hard", os.O_CREAT | os.O_EXCL)
    subprocess.run(["rm", "-r", str(top)], check=True)
