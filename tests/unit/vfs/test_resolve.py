# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing outside the share is reachable, by openat2 and by the walk without it."""
from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ksmbd.kernel import credentials, openat
from ksmbd.kernel.stat import stat_fd
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_OBJECT_PATH_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.options import ShareOptions, VfsSettings
from ksmbd.vfs.resolve import Resolver

QUICK = [
    pytest.param(True, marks=pytest.mark.skipif(bool(openat.MISSING), reason=f"openat2: {openat.MISSING}")),
    False,
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A share with a directory in it, a secret beside it, and links of every kind."""
    share = tmp_path / "share"
    (share / "dir" / "sub").mkdir(parents=True)
    (share / "dir" / "sub" / "file").write_text("in")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    (tmp_path / "share-evil").mkdir()
    (tmp_path / "share-evil" / "file").write_text("secret")
    for name, target in {
        "absolute-out": str(secret),
        "relative-out": "../secret",
        "deep-out": "dir/sub/../../../secret",
        "dot-out": "./../secret",
        "prefix-out": str(tmp_path / "share-evil"),
        "through-root": f"{share}/../secret",
        "proc-out": "/proc/self/root",
        "fd-out": "/proc/self/cwd",
        "chain-out": "hop",
        "hop": "dir/hop2",
        "loop": "loop",
        "absolute-in": str(share / "dir"),
        "relative-in": "dir",
        "dotted-in": "dir/../dir/./sub/..",
        "chain-in": "relative-in",
        "root-in": ".",
        "absolute-root": str(share),
    }.items():
        (share / name).symlink_to(target)
    (share / "dir" / "hop2").symlink_to("../../secret")
    (share / "dir" / "up").symlink_to("..")
    return share


def resolver(tree: Path, quick: bool, follow: bool = True, crossmnt: bool = True, wide: bool = False) -> Resolver:
    root = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    options = ShareOptions.of(ShareConfig("s", str(tree), follow_symlinks=follow, crossmnt=crossmnt), VfsSettings())
    return Resolver(root, credentials.SERVER, DirectoryCache(), replace(options, wide_links=wide), quick)


@pytest.fixture(params=QUICK)
def following(tree: Path, request: pytest.FixtureRequest) -> Iterator[Resolver]:
    result = resolver(tree, request.param)
    yield result
    os.close(result.root)


@pytest.fixture(params=QUICK)
def strict(tree: Path, request: pytest.FixtureRequest) -> Iterator[Resolver]:
    result = resolver(tree, request.param, follow=False)
    yield result
    os.close(result.root)


OUT = ["absolute-out", "relative-out", "deep-out", "dot-out", "prefix-out", "through-root", "proc-out", "fd-out",
       "chain-out", "hop", "loop"]  # fmt: skip
IN = ["absolute-in", "relative-in", "dotted-in", "chain-in"]


def inode(where: Resolver, fd: int) -> int:
    try:
        return stat_fd(fd).ino
    finally:
        where.release(fd)


@pytest.mark.parametrize("name", OUT)
def test_links_out_of_the_share_lead_nowhere(following: Resolver, name: str) -> None:
    with pytest.raises(NtStatusError) as caught:
        following.parent([name])
    assert caught.value.status in (STATUS_OBJECT_PATH_NOT_FOUND, STATUS_ACCESS_DENIED)
    with pytest.raises(NtStatusError):
        following.parent([name.upper()])
    assert following.follow(following.root, name.encode()) is None


@pytest.mark.parametrize("name", IN)
def test_links_inside_the_share_are_followed(following: Resolver, tree: Path, name: str) -> None:
    wanted = (tree / "dir").stat().st_ino
    fd, spelled = following.parent([name])
    assert inode(following, fd) == wanted and spelled == [name]
    fd, spelled = following.parent([name.upper(), "SUB"])
    assert inode(following, fd) == (tree / "dir" / "sub").stat().st_ino and spelled == [name, "sub"]
    found = following.follow(following.root, name.encode())
    assert found is not None and found[2] is not None and found[2].ino == wanted
    following.release(found[0])


@pytest.mark.parametrize("path", [["root-in"], ["absolute-root"], ["dir", "up"], ["DIR", "UP", "dir", "up"]])
def test_links_to_the_root(following: Resolver, tree: Path, path: list[str]) -> None:
    fd, _ = following.parent(path)
    assert inode(following, fd) == tree.stat().st_ino


@pytest.mark.parametrize("name", OUT + IN)
def test_no_link_is_followed_where_the_share_says_no(strict: Resolver, name: str) -> None:
    with pytest.raises(NtStatusError) as caught:
        strict.parent([name])
    assert caught.value.status == STATUS_OBJECT_PATH_NOT_FOUND
    assert strict.follow(strict.root, name.encode()) is None


def test_paths_longer_than_the_kernel_takes_are_refused_to_clients(following: Resolver, tree: Path) -> None:
    fd = os.open(tree, os.O_PATH)
    names = []
    for number in range(25):
        name = f"{number:03}" + "x" * 197
        os.mkdir(name, dir_fd=fd)
        child = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = child
        names.append(name)
    wanted = os.fstat(fd).st_ino
    os.close(fd)
    for refused in (names, names[:21]):
        with pytest.raises(NtStatusError) as caught:
            following.parent(refused)
        assert caught.value.status == STATUS_OBJECT_PATH_NOT_FOUND
    # What was open before it came to be so far down is reached.
    found = following.open_parent([name.encode() for name in names])
    assert inode(following, found) == wanted


def test_a_file_is_no_directory(following: Resolver) -> None:
    with pytest.raises(NtStatusError) as caught:
        following.parent(["dir", "sub", "file"])
    assert caught.value.status == STATUS_OBJECT_PATH_NOT_FOUND


@pytest.mark.parametrize("quick", QUICK)
def test_another_mount_is_refused_without_crossmnt(quick: bool) -> None:
    """/proc is a mount below / everywhere."""
    where = resolver(Path("/"), quick, follow=False, crossmnt=False)
    try:
        with pytest.raises(NtStatusError):
            where.parent(["proc", "self"])
        with pytest.raises(NtStatusError) as caught:
            where.find(where.root, "proc")
        assert caught.value.status == STATUS_ACCESS_DENIED
    finally:
        os.close(where.root)


@pytest.mark.parametrize("quick", QUICK)
def test_a_directory_that_turns_into_a_link_leads_nowhere(tree: Path, quick: bool) -> None:
    """While one thread swaps a directory and a link to the secret, resolution finds the directory or nothing."""
    where = resolver(tree, quick)
    (tree / "swap").mkdir()
    (tree / "swap" / "x").mkdir()
    (tree / "evil").symlink_to("../secret")
    secret = (tree.parent / "secret").stat().st_ino
    (tree.parent / "secret" / "x").mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tree / "swap", tree / "aside")
            os.rename(tree / "evil", tree / "swap")
            os.rename(tree / "swap", tree / "evil")
            os.rename(tree / "aside", tree / "swap")

    secret_x = (tree.parent / "secret" / "x").stat().st_ino
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(1500):
            try:
                fd, _ = where.parent(["swap", "x"])
            except NtStatusError as error:
                assert error.status in (STATUS_OBJECT_PATH_NOT_FOUND, STATUS_ACCESS_DENIED)
                continue
            assert inode(where, fd) not in (secret, secret_x)
    finally:
        stop.set()
        thread.join()
        os.close(where.root)


def test_a_directory_is_read_once_for_many_new_names(tmp_path: Path) -> None:
    cache = DirectoryCache()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        for number in range(500):
            name = f"New{number}"
            assert cache.find(fd, name) is None
            token = cache.prepare(fd)
            (tmp_path / name).touch()
            cache.added(token, fd, name.encode())
        assert cache.scans == 1
        assert cache.find(fd, "nEW7") == b"New7"
        token = cache.prepare(fd)
        (tmp_path / "New7").unlink()
        cache.removed(token, fd, b"New7")
        assert cache.find(fd, "nEW7") is None and cache.scans == 1
    finally:
        os.close(fd)


def test_changes_by_others_are_seen(tmp_path: Path) -> None:
    cache = DirectoryCache()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert cache.find(fd, "A") is None
        (tmp_path / "a").touch()
        os.utime(tmp_path, ns=(1, 1))
        assert cache.find(fd, "A") == b"a"
        (tmp_path / "a").unlink()
        os.utime(tmp_path, ns=(2, 2))
        assert cache.find(fd, "A") is None
    finally:
        os.close(fd)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    cache = DirectoryCache()
    (tmp_path / "name").touch()
    (tmp_path / "NAME").touch()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        first = cache.find(fd, "Name")
        assert first in (b"name", b"NAME")
        token = cache.prepare(fd)
        os.unlink(tmp_path / os.fsdecode(first or b""))
        cache.removed(token, fd, first or b"")
        assert cache.find(fd, "Name") == ({b"name", b"NAME"} - {first}).pop()
    finally:
        os.close(fd)
