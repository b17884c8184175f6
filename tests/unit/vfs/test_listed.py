# SPDX-License-Identifier: GPL-2.0-or-later
"""The next listing of a folder shows what is there now, whatever local processes did since the last one."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from vfs_share import GROUP, USER, Share

from ksmbd import limits
from ksmbd.kernel import credentials
from ksmbd.limit import Limit
from ksmbd.smb import constants as c
from ksmbd.smb.ports import DirectoryEntry, FileInfo
from ksmbd.vfs import dosattrib
from ksmbd.vfs.files import LocalFiles

NAMES = ("a", "b", ".dot", "folder")
LATER = 100_000_000
"""10 seconds as FILETIME."""


def now() -> int:
    return time.time_ns() // 100 + c.FILETIME_UNIX_EPOCH


@pytest.fixture
def later(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Turns the clock to the time that local processes have, and some more."""
    return lambda ticks: monkeypatch.setattr(files.clock, "now", now() + ticks)


@pytest.fixture
def full(share: Share, later: Callable[[int], None]) -> Share:
    """A folder that has been listed, some time after its files were made."""
    for name in NAMES[:-1]:
        share.open(name).write(0, name.encode())
    share.mkdir("folder")
    later(LATER)
    listed(share)
    assert len(share.files.listed) == len(NAMES)
    return share


def entries(share: Share) -> list[DirectoryEntry]:
    folder = share.open("", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE, disposition=c.FILE_OPEN)
    found = [entry for entry in folder.list_directory() if entry is not None][2:]
    folder.close()
    return found


def listed(share: Share) -> dict[str, FileInfo]:
    return {entry.name: entry.info for entry in entries(share)}


def looked_up(share: Share) -> dict[str, FileInfo]:
    folder = share.open("", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE, disposition=c.FILE_OPEN)
    found = {name: folder.lookup_entry(name).info for name in os.listdir(share.path)}
    folder.close()
    return found


def test_an_unchanged_entry_is_not_made_again(full: Share) -> None:
    assert {id(entry) for entry in entries(full)} == {id(entry) for entry in entries(full)}
    assert listed(full) == looked_up(full)


def _attributes(share: Share) -> None:
    os.setxattr(share.path / "a", dosattrib.NAME, dosattrib.encode(c.FILE_ATTRIBUTE_READONLY, 0))


def _no_attributes(share: Share) -> None:
    os.removexattr(share.path / "a", dosattrib.NAME)


def _data(share: Share) -> None:
    (share.path / "a").write_bytes(b"more than before")


def _mode(share: Share) -> None:
    (share.path / "a").chmod(0o400)


def _times(share: Share) -> None:
    os.utime(share.path / "a", (1, 1))


def _replaced(share: Share) -> None:
    (share.path / "new").touch()
    (share.path / "new").rename(share.path / "a")


def _exchanged(share: Share) -> None:
    (share.path / "a").rename(share.path / "c")
    (share.path / "b").rename(share.path / "a")
    (share.path / "c").rename(share.path / "b")


def _gone(share: Share) -> None:
    (share.path / "a").unlink()


def _linked(share: Share) -> None:
    os.link(share.path / "a", share.path / "second")


def _symbolic(share: Share) -> None:
    (share.path / "a").unlink()
    (share.path / "a").symlink_to("b")


@pytest.mark.parametrize("change", [
    _attributes, _no_attributes, _data, _mode, _times, _replaced, _exchanged, _gone, _linked, _symbolic,
])  # fmt: skip
def test_changes_by_local_processes(full: Share, change: Callable[[Share], None]) -> None:
    before = listed(full)
    change(full)
    after = listed(full)
    assert after == looked_up(full)
    assert after != before
    assert after["b" if change is not _exchanged else "folder"] == before["b" if change is not _exchanged else "folder"]


def test_what_changed_just_now_is_not_remembered(share: Share, later: Callable[[int], None]) -> None:
    """Two changes in one tick of the kernel's clock leave the same ctime."""
    share.open("a")
    for ticks, kept in ((0, 0), (10_000_000, 0), (LATER, 1), (0, 1)):
        later(ticks)
        assert list(listed(share)) == ["a"]
        assert len(share.files.listed) == kept


def test_a_racing_writer(full: Share, later: Callable[[int], None]) -> None:
    """A listing that begins after a change shows it, while a process goes on changing."""
    later(0)
    done = [0]
    path = full.path / "a"

    def write() -> None:
        for number in range(1, 3001):
            os.setxattr(path, dosattrib.NAME, dosattrib.encode(c.FILE_ATTRIBUTE_ARCHIVE, number))
            done[0] = number

    writer = Thread(target=write)
    writer.start()
    while writer.is_alive():
        least = done[0]
        later(0)
        assert listed(full)["a"].creation_time >= least
    writer.join()
    assert listed(full)["a"].creation_time == 3000


def test_shares_that_show_entries_otherwise(
    full: Share, make_share: Callable[..., Share], later: Callable[[int], None]
) -> None:
    hidden = full.open(".dot").info().attributes & c.FILE_ATTRIBUTE_HIDDEN
    other = make_share(flags=frozenset(("store_dos_attributes",)), hide_files=("b",))
    for _ in range(2):
        assert listed(full)[".dot"].attributes & c.FILE_ATTRIBUTE_HIDDEN == hidden != 0
        assert not listed(full)["b"].attributes & c.FILE_ATTRIBUTE_HIDDEN
        assert not listed(other)[".dot"].attributes & c.FILE_ATTRIBUTE_HIDDEN
        assert listed(other)["b"].attributes & c.FILE_ATTRIBUTE_HIDDEN
    again = make_share(flags=frozenset(("store_dos_attributes",)), hide_files=("b",))
    assert {id(entry) for entry in entries(other)} == {id(entry) for entry in entries(again)}


def test_a_folder_that_another_user_may_not_search(full: Share, make_share: Callable[..., Share]) -> None:
    if os.geteuid():
        pytest.skip("one user alone")
    other = make_share(user=(USER + 1, GROUP + 1))
    folder = other.open("", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE, disposition=c.FILE_OPEN)
    credentials.as_server()
    os.chmod(full.path, 0o744)  # list, and not search
    assert [entry.name for entry in folder.list_directory()] == [".", ".."]
    credentials.as_server()
    os.chmod(full.path, 0o755)
    assert len(list(folder.list_directory())) == 2 + len(NAMES)


def test_a_ChangeTime_that_a_client_has_set(full: Share) -> None:
    file = full.open("a")
    file.set_basic(0, 0, 0, 12_345_678_900_000_000, 0)
    assert file.info().change_time == listed(full)["a"].change_time == 12_345_678_900_000_000
    assert {id(entry) for entry in entries(full)} & {id(entry) for entry in entries(full)}  # the others stay known


@pytest.fixture
def few(set_limit: Callable[[Limit, int], None]) -> Iterator[int]:
    set_limit(limits.LISTED_ENTRIES_KEPT, 10)
    yield 10


def test_the_limit(full: Share, few: int, later: Callable[[int], None]) -> None:
    inner: Path = full.path / "folder"
    for number in range(20):
        (inner / f"f{number}").touch()
    later(LATER)
    folder = full.open("folder", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE, disposition=c.FILE_OPEN)
    first = {entry.name: entry for entry in folder.list_directory() if entry is not None}
    again = {entry.name: entry for entry in folder.list_directory() if entry is not None}
    assert len(first) == len(again) == 22 and len(full.files.listed) == few
    assert sum(first[name] is again[name] for name in first) == few  # the other folder made room
    for name in os.listdir(inner):
        assert first[name].info == again[name].info


def test_names_that_have_gone_do_not_gather(full: Share, later: Callable[[int], None]) -> None:
    for start in range(0, 1000, 100):
        for number in range(start, start + 100):
            (full.path / f"f{number}").touch()
        later(LATER)
        listed(full)
        for number in range(start, start + 100):
            (full.path / f"f{number}").unlink()
    assert len(full.files.listed) <= 2 * 104 + 64 + 104
    listed(full)
    listed(full)
    assert len(full.files.listed) <= 2 * 4 + 64 + 4
