# SPDX-License-Identifier: GPL-2.0-or-later
"""The open of a whole path at once has the result of the general way, or leaves the open to it."""
from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest
from vfs_share import FLAGS, GROUP, USER, Share

from ksmbd import limits
from ksmbd.kernel import credentials
from ksmbd.kernel import stat as stats
from ksmbd.smb import constants as c
from ksmbd.smb.ports import CreateIntent, CreateResult
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import whole_path
from ksmbd.vfs.attributes import OBJECT_ID_NAME, REPARSE_NAME
from ksmbd.vfs.file import LocalFile

unless_compiled = pytest.mark.skipif(
    not str(whole_path.__file__).endswith(".py"), reason="a compiled function is not to be replaced"
)
READ = c.FILE_GENERIC_READ
ACCESSES = (
    READ, c.FILE_READ_ATTRIBUTES, c.FILE_READ_DATA | c.FILE_WRITE_DATA, c.FILE_GENERIC_WRITE, c.DELETE,
    c.MAXIMUM_ALLOWED, c.FILE_ALL_ACCESS, c.FILE_EXECUTE, c.WRITE_DAC | READ,
)  # fmt: skip
DISPOSITIONS = (c.FILE_OPEN, c.FILE_OPEN_IF, c.FILE_CREATE)
OPTIONS = (
    0, c.FILE_NON_DIRECTORY_FILE, c.FILE_DIRECTORY_FILE, c.FILE_OPEN_REPARSE_POINT, c.FILE_DELETE_ON_CLOSE,
)  # fmt: skip


def furnish(share: Share) -> list[str]:
    """Entries of all sorts at two depths; their names as clients say them, and some that are not there."""
    credentials.as_server()
    root = share.path
    found: list[str] = []
    for head in ("", "folder/deeper"):
        folder = root / head
        folder.mkdir(parents=True, exist_ok=True)
        for name, mode in (
            ("plain.txt", 0o644), ("all", 0o777), ("unread", 0o200), ("closed", 0), ("read", 0o444), (".dot", 0o600),
            ("ümläut", 0o666), ("ends with dot.", 0o666),
        ):  # fmt: skip
            (folder / name).write_bytes(b"x" * 10)
            os.chmod(folder / name, mode)
        (folder / "foreign").write_bytes(b"")
        os.chmod(folder / "foreign", 0o640)
        (folder / "readonly").write_bytes(b"")
        os.setxattr(folder / "readonly", "user.DOSATTRIB", b"0x21\0")
        (folder / "stored").write_bytes(b"")
        os.setxattr(folder / "stored", "user.DOSATTRIB", b"0x22\0")
        (folder / "reparse").write_bytes(b"")
        os.setxattr(folder / "reparse", "user.DOSATTRIB", b"0x420\0")
        os.setxattr(folder / "reparse", REPARSE_NAME, bytes.fromhex("1d0000a000000000"))
        (folder / "identified").write_bytes(b"")
        os.setxattr(folder / "identified", OBJECT_ID_NAME, bytes(16))
        (folder / "many").write_bytes(b"")
        os.link(folder / "many", folder / "link")
        os.symlink("plain.txt", folder / "symlink")
        os.symlink("nowhere", folder / "dangling")
        os.mkfifo(folder / "fifo", 0o666)
        (folder / "subfolder").mkdir()
        found += [(head + "/" if head else "") + name for name in os.listdir(folder)]
    os.symlink("folder", root / "way")
    os.symlink("/", root / "out")
    if os.geteuid() == 0:
        for directory, folders, files in os.walk(root):
            for name in (*folders, *files):
                if name != "foreign":
                    os.chown(os.path.join(directory, name), USER, GROUP, follow_symlinks=False)
    names = [name.replace("/", "\\").replace("ends with dot.", "ends with dot\uf029") for name in sorted(found)]
    return [
        *names, "", "PLAIN.TXT", "Folder\\deeper\\plain.txt", "folder\\Deeper\\ALL", "none", "none\\none",
        "folder\\none", "plain.txt\\none", "way\\deeper\\plain.txt", "out\\etc\\passwd", "folder\\deeper\\symlink",
        "x" * 300, "folder\\" + "x" * 300, "folder\\..\\plain.txt", "a:b\\c", "f\\a:b",
    ]  # fmt: skip


def told(file: Any) -> tuple[object, ...]:
    """What is to be known of an open file."""
    flags = os.readlink(f"/proc/self/fd/{file.fd}"), _fd_flags(file.fd)
    return (
        type(file), file.key, file.kind, file.is_directory, file.stream, file.names, file.path, file.granted_access,
        file.posix, file.created, file.entry_key, file.parent_key, file.path_only, file.disk_name, flags,
    )  # fmt: skip


def _fd_flags(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        return next(line for line in lines if line.startswith("flags"))


def outcome(ask: Callable[[CreateIntent], CreateResult], intent: CreateIntent) -> object:
    """The result of an open, or its NTSTATUS. What it opened is closed."""
    try:
        result = ask(intent)
    except NtStatusError as error:
        return error.status
    file: Any = result.file
    try:
        if intent.disposition != c.FILE_OPEN and file.created:
            file.unlink()
            return "created"
        info = result.info and astuple(result.info)
        return told(file), info, result.action, result.granted_access, type(result.local), result.deletable
    finally:
        file.close()


def in_order(config: dict[str, Any]) -> str:
    """A name of the test that is the same in every process: sets are told in order."""
    return str({name: sorted(value) if isinstance(value, frozenset) else value for name, value in config.items()})


@pytest.mark.parametrize(
    "config",
    [
        {}, {"flags": FLAGS | {"follow_symlinks"}}, {"flags": FLAGS | {"follow_symlinks", "wide_links"}},
        {"flags": FLAGS - {"crossmnt"}}, {"veto_files": ("plain*",)}, {"read_only": True},
        {"flags": FLAGS | {"acl_xattr"}}, {"flags": FLAGS - {"store_dos_attributes", "hide_dot_files"}},
        {"user": (USER + 1, GROUP + 1)}, {"admin": True}, {"kernel_oplocks": True}, {"posix_locking": "yes"},
    ],
    ids=in_order,
)  # fmt: skip
def test_both_ways_agree(make_share: Callable[..., Share], config: dict[str, Any]) -> None:
    if os.geteuid() and ("user" in config or "admin" in config):
        pytest.skip("needs root")
    share = make_share(**config)
    place = share.volume.place
    may = place.whole_paths
    taken = 0
    for name in furnish(share):
        for access in ACCESSES:
            for disposition in DISPOSITIONS:
                for options in OPTIONS:
                    if options & c.FILE_DELETE_ON_CLOSE and not access & c.DELETE:
                        continue
                    intent = CreateIntent(name, "", access, disposition, options, 0)
                    place.whole_paths = False
                    general = outcome(share.volume.create, intent)
                    place.whole_paths = may
                    assert outcome(share.volume.create, intent) == general, (name, hex(access), disposition, options)
                    taken += _taken(share, intent)
    assert bool(taken) == may
    assert not place.used


def _taken(share: Share, intent: CreateIntent) -> bool:
    try:
        result = whole_path.open_whole_path(share.volume.place, intent)
    except NtStatusError:
        return False
    if result is None:
        return False
    assert isinstance(result.file, LocalFile)
    result.file.close()
    return True


def test_what_it_takes(share: Share) -> None:
    """The most frequent opens go this way."""
    furnish(share)
    for name in ("all", "folder\\deeper\\all", ".dot", "ümläut", "folder\\deeper\\stored", "many"):
        for access in (READ, c.FILE_READ_ATTRIBUTES, c.FILE_READ_DATA | c.FILE_WRITE_DATA):
            for disposition in (c.FILE_OPEN, c.FILE_OPEN_IF):
                assert _taken(share, CreateIntent(name, "", access, disposition, 0x40, 0)), (name, hex(access))


@pytest.mark.parametrize(
    "more", [{"stream": "s"}, {"snapshot": 1}, {"posix_mode": 0o600}, {"share_read_only": True}], ids=str
)
def test_what_it_leaves(share: Share, more: dict[str, Any]) -> None:
    furnish(share)
    intent = CreateIntent("all", more.pop("stream", ""), READ, c.FILE_OPEN, 0, 0, **more)
    assert not _taken(share, intent)


@unless_compiled
def test_another_file_has_the_name_when_it_is_opened(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO that takes the place of the file between look-up and open is not taken for it."""
    furnish(share)

    def raced(directory: int, path: bytes) -> int:
        kind = stats.kind_at(directory, path)
        os.rename(share.path / "folder/deeper/fifo", share.path / "folder/deeper/all")
        return kind

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(whole_path, "kind_at", raced)
    assert not _taken(share, CreateIntent("folder\\deeper\\all", "", READ, c.FILE_OPEN, 0, 0))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_special_file_takes_the_place_of_a_known_one(share: Share) -> None:
    """A path that named a regular file is opened without a look before; what is there now is seen all the same."""
    furnish(share)
    root = share.path / "folder/deeper"
    before = len(os.listdir("/proc/self/fd"))
    for name in ("fifo", "symlink", "subfolder"):
        for access in (READ, c.FILE_READ_DATA | c.FILE_WRITE_DATA):
            intent = CreateIntent("folder\\deeper\\all", "", access, c.FILE_OPEN, 0, 0)
            assert _taken(share, intent) and [path[16:] for path in share.files.regular] == [b"folder/deeper/all"]
            os.rename(root / "all", root / "kept")
            os.rename(root / name, root / "all")
            assert not _taken(share, intent)
            share.volume.place.whole_paths = False
            general = outcome(share.volume.create, intent)
            share.volume.place.whole_paths = True
            assert outcome(share.volume.create, intent) == general
            assert not share.files.regular
            os.rename(root / "all", root / name)
            os.rename(root / "kept", root / "all")
    assert len(os.listdir("/proc/self/fd")) == before


def test_few_and_short_paths_are_remembered(share: Share) -> None:
    furnish(share)
    deep = "\\".join(["d" * 100] * 3)
    folder = share.path / deep.replace("\\", "/")
    folder.mkdir(parents=True)
    for name in ("long", "short"):
        (folder if name == "long" else share.path).joinpath(name).write_bytes(b"")
    credentials.as_server()
    for path in (folder / "long", share.path / "short"):
        os.chmod(path, 0o666)
    for name in (deep + "\\long", "short"):
        assert _taken(share, CreateIntent(name, "", READ, c.FILE_OPEN, 0, 0))
    assert [path[16:] for path in share.files.regular] == [b"short"]
    share.files.regular |= {b"%d" % number for number in range(limits.REGULAR_FILES_KNOWN.value - 1)}
    assert _taken(share, CreateIntent("all", "", READ, c.FILE_OPEN, 0, 0))
    assert len(share.files.regular) == 1


def test_a_local_process_replaces_the_file_all_the_time(share: Share) -> None:
    """Whatever the name stands for at the moment: an open is of one file, with that file's size, key and attributes."""
    credentials.as_server()
    root = share.path
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for number in range(3):
        path = root / f"number {number}"
        path.write_bytes(b"x" * (number + 1) * 1000)
        os.chmod(path, 0o666)
        os.setxattr(path, "user.DOSATTRIB", b"0x%x\0" % (0x20 | number << 1))
        found = stats.stat_fd(descriptor := os.open(path, os.O_RDONLY))
        os.close(descriptor)
        sizes[found.dev, found.ino] = ((number + 1) * 1000, 0x20 | number << 1)
    os.mkfifo(root / "fifo", 0o666)
    (root / "folder").mkdir()
    names = [*(f"number {number}" for number in range(3)), "fifo", "folder"]
    over = threading.Event()

    def replace() -> None:
        turn = 0
        while not over.is_set():
            name = names[turn % len(names)]
            turn += 1
            os.rename(root / name, root / "it")
            os.rename(root / "it", root / name)

    thread = threading.Thread(target=replace)
    thread.start()
    taken = set()
    try:
        for turn in range(100_000):
            access = READ if turn % 2 else c.FILE_READ_DATA | c.FILE_WRITE_DATA
            intent = CreateIntent("it", "", access, c.FILE_OPEN, 0, 0)
            result = whole_path.open_whole_path(share.volume.place, intent)
            if result is not None:
                file: Any = result.file
                assert result.info is not None
                assert (result.info.end_of_file, result.info.attributes) == sizes[file.key]
                assert stats.key_fd(file.fd) == file.key and not file.is_directory
                taken.add(file.key)
                file.close()
                if len(taken) == 3 and turn > 3000:
                    break
    finally:
        over.set()
        thread.join()
    assert len(taken) == 3 and not share.volume.place.used


@unless_compiled
def test_an_error_closes_the_descriptor(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(share)

    def broken(fd: int) -> stats.Stat:
        raise OSError(errno.EIO, "broken")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(whole_path, "stat_fd", broken)
    with pytest.raises(NtStatusError):
        whole_path.open_whole_path(share.volume.place, CreateIntent("all", "", READ, c.FILE_OPEN, 0, 0))
    assert len(os.listdir("/proc/self/fd")) == before
    assert not share.volume.place.used
