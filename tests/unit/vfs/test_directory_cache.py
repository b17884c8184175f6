# SPDX-License-Identifier: GPL-2.0-or-later
"""The names that are kept of a directory follow what happens to it."""
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ksmbd import limits
from ksmbd.kernel import inotify
from ksmbd.kernel.inotify import Event
from ksmbd.limit import Limit
from ksmbd.smb.ports import Unfinished
from ksmbd.vfs import directory_cache
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.short_names import ShortNames, make

SHORT = ShortNames(True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.fixture
def cache() -> Iterator[DirectoryCache]:
    result = DirectoryCache()
    yield result
    result.close()


def test_changes_of_others_need_no_reading(cache: DirectoryCache, folder: int, tmp_path: Path) -> None:
    (tmp_path / "first").touch()
    assert cache.find(folder, "FIRST") == b"first"
    (tmp_path / "Second").touch()
    (tmp_path / "Third").mkdir()
    os.link(tmp_path / "first", tmp_path / "Fourth")
    os.symlink("nowhere", tmp_path / "Fifth")
    for name in ("Second", "Third", "Fourth", "Fifth"):
        assert cache.find(folder, name.upper()) == name.encode()
    os.rename(tmp_path / "Second", tmp_path / "Other")
    (tmp_path / "first").unlink()
    (tmp_path / "Third").rmdir()
    for name in ("second", "FIRST", "third"):
        assert cache.find(folder, name) is None
    assert cache.find(folder, "OTHER") == b"Other"
    assert cache.scans == 1


def test_a_time_that_is_put_back_hides_nothing(cache: DirectoryCache, folder: int, tmp_path: Path) -> None:
    os.utime(tmp_path, ns=(10**18, 10**18))
    assert cache.find(folder, "NEW") is None
    (tmp_path / "new").touch()
    os.utime(tmp_path, ns=(10**18, 10**18))
    assert cache.find(folder, "NEW") == b"new"


def test_attributes_of_the_directory_change(
    cache: DirectoryCache, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event tells of it: the names may be others, so the directory is read again, once."""
    (tmp_path / "name").touch()
    assert cache.find(folder, "NAME") == b"name"
    os.chmod(tmp_path, 0o700)
    for _ in range(4):
        assert cache.find(folder, "NAME") == b"name"
    assert cache.scans == 1
    later = time.time() + 10
    monkeypatch.setattr(time, "time", lambda: later)
    for _ in range(4):
        assert cache.find(folder, "NAME") == b"name"
    assert cache.scans == 2


def test_names_that_differ_in_case_only_stay_known(cache: DirectoryCache, folder: int, tmp_path: Path) -> None:
    for name in ("name", "NAME", "Name"):
        (tmp_path / name).touch()
    left = {b"name", b"NAME", b"Name"}
    for _ in range(3):
        found = cache.find(folder, "nAME")
        assert found in left
        left.discard(found or b"")
        os.unlink(tmp_path / os.fsdecode(found or b""))
    assert cache.find(folder, "nAME") is None
    (tmp_path / "NaMe").touch()
    assert cache.find(folder, "nAME") == b"NaMe"
    assert cache.scans == 1


def test_a_directory_that_is_removed(cache: DirectoryCache, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    fd = os.open(tmp_path / "d", os.O_PATH)
    assert cache.find(fd, "X") is None
    os.rmdir(tmp_path / "d")
    assert cache.find(fd, "X") is None
    os.close(fd)
    for _ in range(20):  # another may have the same inode number
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "x").touch()
        fd = os.open(tmp_path / "d", os.O_PATH)
        assert cache.find(fd, "X") == b"x"
        os.unlink(tmp_path / "d" / "x")
        os.rmdir(tmp_path / "d")
        os.close(fd)


def test_short_names(cache: DirectoryCache, folder: int, tmp_path: Path) -> None:
    (tmp_path / "a long name.txt").touch()
    first, second = make(b"a long name.txt"), make(b"another long name")
    assert cache.find_short(folder, first.lower(), SHORT) == b"a long name.txt"
    assert cache.find_short(folder, second, SHORT) is None
    (tmp_path / "another long name").touch()
    assert cache.find_short(folder, second, SHORT) == b"another long name"
    os.rename(tmp_path / "a long name.txt", tmp_path / "yet another name")
    assert cache.find_short(folder, first, SHORT) is None
    assert cache.find_short(folder, make(b"yet another name"), SHORT) == b"yet another name"
    assert cache.find_short(folder, make(b"yet another name", 3), ShortNames(True, 3)) == b"yet another name"
    assert cache.scans == 1


def test_two_names_with_one_short_name(cache: DirectoryCache, folder: int, tmp_path: Path) -> None:
    names = {b"a long name", b"A LONG NAME"}
    for name in names:
        (tmp_path / name.decode()).touch()
    short = make(b"a long name")
    found = cache.find_short(folder, short, SHORT)
    assert found in names
    os.unlink(tmp_path / (found or b"").decode())
    assert cache.find_short(folder, short, SHORT) == (names - {found}).pop()


def test_short_names_are_made_in_pieces(
    cache: DirectoryCache, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_cache, "_AT_ONCE", 10)
    monkeypatch.setattr(directory_cache, "_PIECE", 10)
    for number in range(40):
        (tmp_path / f"a long name {number}").touch()
    gone, new = make(b"a long name 0"), make(b"a new long name")
    while True:
        cache.may_defer = True
        try:
            found = cache.find_short(folder, make(b"a long name 39"), SHORT)
            break
        except Unfinished as rest:
            for number in range(2):
                (tmp_path / f"a long name {number}").unlink(missing_ok=True)
            (tmp_path / "a new long name").touch()
            while rest.go_on():
                pass
    assert found == b"a long name 39"
    assert cache.find_short(folder, gone, SHORT) is None
    assert cache.find_short(folder, new, SHORT) == b"a new long name"
    assert cache.scans == 1


def test_changes_while_it_is_read(
    cache: DirectoryCache, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_cache, "_AT_ONCE", 10)
    monkeypatch.setattr(directory_cache, "_PIECE", 10)
    for number in range(40):
        (tmp_path / f"name {number}").touch()
    (tmp_path / "other").mkdir()
    other = os.open(tmp_path / "other", os.O_PATH)
    cache.may_defer = True
    with pytest.raises(Unfinished) as caught:
        cache.find(folder, "NAME 1")
    for number in range(20):
        (tmp_path / f"name {number}").unlink()
    (tmp_path / "new").touch()
    assert cache.find(other, "X") is None  # takes the events of both
    os.close(other)
    with pytest.raises(Unfinished) as again:  # two that ask share one reading
        cache.find(folder, "NAME 2")
    while caught.value.go_on():
        pass
    assert not again.value.go_on()
    assert [cache.find(folder, f"NAME {number}") for number in range(20)] == [None] * 20
    assert cache.find(folder, "NEW") == b"new" and cache.find(folder, "NAME 39") == b"name 39"
    assert cache.scans == 2


def test_too_many_events(
    cache: DirectoryCache, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "name").touch()
    assert cache.find(folder, "NAME") == b"name"
    lost = [[Event(-1, inotify.IN_Q_OVERFLOW, 0, b"")]]
    monkeypatch.setattr(inotify.Inotify, "read", lambda self: lost.pop() if lost else [])
    assert cache.find(folder, "NAME") == b"name"
    assert cache.scans == 2


def test_more_events_than_others_should_wait_for(
    cache: DirectoryCache, folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_cache, "_EVENTS_AT_ONCE", 100)
    assert cache.find(folder, "NAME 1") is None
    for number in range(500):
        (tmp_path / f"name {number}").touch()
    assert cache.find(folder, "NAME 499") == b"name 499" and cache.scans == 2
    (tmp_path / "other").touch()
    assert cache.find(folder, "OTHER") == b"other" and cache.scans == 2


def test_limits(
    cache: DirectoryCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    set_limit: Callable[[Limit, int], None],
) -> None:  # fmt: skip
    set_limit(limits.FOLDERS_KEPT, 3)
    set_limit(limits.FOLDER_NAMES_KEPT, 25)
    set_limit(limits.FOLDERS_READ, 2)
    folders = []
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        for name in range(10):
            (tmp_path / str(number) / f"name {name}").touch()
        folders.append(os.open(tmp_path / str(number), os.O_PATH))
    for fd in folders:
        cache.find(fd, "NAME 1")
    cache.find(folders[4], "NAME 1")
    cache.find(folders[3], "NAME 1")
    assert cache.scans == 5
    cache.find(folders[2], "NAME 1")  # two of ten names each are kept
    assert cache.scans == 6
    for name in range(20):  # what others add counts, too
        (tmp_path / "2" / f"more {name}").touch()
    cache.find(folders[2], "NAME 1")
    cache.find(folders[3], "NAME 1")
    assert cache.scans == 7
    monkeypatch.setattr(directory_cache, "_AT_ONCE", 2)
    cache.may_defer = True
    began = []
    for fd in folders[:3]:
        with pytest.raises(Unfinished) as caught:
            cache.find(fd, "NAME 1")
        began.append(caught.value)
    assert not began[0].go_on() and cache.scans == 10
    with pytest.raises(Unfinished):
        cache.find(folders[0], "NAME 1")
    for fd in folders:
        os.close(fd)
    cache.may_defer = False


@pytest.mark.parametrize("watches", [True, False])
def test_a_racing_local_writer(tmp_path: Path, folder: int, watches: bool) -> None:
    """What a local process has finished before a lookup begins, the lookup finds; without inotify it may take the time
    stamp of one more change."""
    cache = DirectoryCache(watches)
    for number in range(300):
        (tmp_path / f"Old{number}").touch()
    assert cache.find(folder, "OLD7") == b"Old7"
    done = [0]

    def write() -> None:
        for number in range(2000):
            (tmp_path / f"New{number}").touch()
            if number >= 5:
                os.rename(tmp_path / f"New{number - 5}", tmp_path / f"Moved{number - 5}")
            done[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    asked = 0
    while writer.is_alive():
        number = done[0]
        if number > 10:
            found = cache.find(folder, f"MOVED{number - 6}")
            gone = cache.find(folder, f"NEW{number - 6}")
            if watches:
                assert (found, gone) == (f"Moved{number - 6}".encode(), None)
                asked += 1
    writer.join()
    if not watches:
        os.utime(tmp_path, ns=(1, 1))
    for number in range(1990):
        assert cache.find(folder, f"moved{number}") == f"Moved{number}".encode()
    assert not watches or (asked and cache.scans == 1)
    cache.close()
