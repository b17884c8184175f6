# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, links and deletions in the open table and on a real disk, against a model, by seeded draws.

Two workers have a table each over one store, and volumes of their own. Clients open names, rename, link and delete;
local processes rename, link, remove and replace them in between. The model has a Link for each name on the disk; an
open came by one. After every step the disk has exactly the names that the model has, each of the right file.
"""
from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.kernel import credentials
from ksmbd.oplock.store import Store
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import Clock, FileKey, OpenRef, OpenRequest, Replaced
from ksmbd.smb.status import NtStatusError

NAMES = ("a", "b", "c", "d", "e")
STEPS = 200


@dataclass(eq=False)
class Link:
    """A name on the disk, as long as it is there."""

    name: str
    file: FileKey
    alive: bool = True


@dataclass(eq=False)
class Handle:
    """An open, and what the model knows of it."""

    worker: int
    file: Any
    ref: OpenRef
    link: Link
    known: str
    """The name by which the table knows the link: local processes tell it nothing."""
    posix: bool
    on_close: bool
    unlinks: bool = False
    adopted: bool = False
    """It goes on with another name than the one that its descriptor is of, which is gone: nobody can tell it where that
    name is moved to, so it finds it in its place or not at all."""


@pytest.fixture(params=["dict", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = DictStore() if request.param == "dict" else LmdbStore(tmp_path / "table", fresh=True)
    yield made
    made.close()


class World:
    """The disk, the tables, and the model of both."""

    def __init__(self, shares: list[Share], store: Store, seed: int) -> None:
        self.random = random.Random(seed)
        self.shares = shares
        self.path = shares[0].path
        clock: Clock = shares[0].files.clock
        self.tables = [LocalOpenTable(store, clock, None, worker) for worker in range(len(shares))]
        self.links: dict[str, Link] = {}
        self.handles: list[Handle] = []
        self.deleted: set[tuple[FileKey, str]] = set()
        self.number = 0
        self.log: list[str] = []

    def step(self) -> None:
        """Draw something to do, do it, and compare."""
        steps: list[Callable[[], None]] = [
            self.open, self.open, self.open, self.close, self.close, self.rename, self.link, self.delete,
            self.local_rename, self.local_link, self.local_remove, self.local_replace,
        ]  # fmt: skip
        self.random.choice(steps)()
        self.compare()

    def compare(self) -> None:
        credentials.as_server()
        found = {name: os.stat(self.path / name).st_ino for name in os.listdir(self.path)}
        wanted = {name: link.file[1] for name, link in self.links.items()}
        assert found == wanted, "\n".join(self.log[-20:])

    def note(self, *what: Any) -> None:
        self.log.append(" ".join(map(str, what)))

    # ------------------------------------------------------------------------------------------------- clients

    def open(self) -> None:
        worker, name = self.random.randrange(len(self.shares)), self.random.choice(NAMES)
        posix, on_close = self.random.random() < 0.2, self.random.random() < 0.2
        if len(self.handles) > 12:
            return
        options = c.FILE_DELETE_ON_CLOSE if on_close else 0
        mode = 0o644 if posix else None
        file = self.shares[worker].create(name, options=options, posix_mode=mode).file
        self.number += 1
        ref = OpenRef(file.key, "", self.number)
        future = self.tables[worker].open(OpenRequest(
            ref=ref, client_guid=b"%16d" % worker, session_id=1, owner="o", share="s", path=file.path,
            is_directory=False, created=False, granted_access=c.FILE_ALL_ACCESS, share_access=7, disposition=0,
            options=options, oplock_level=0, parent=file.parent_key, name=file.disk_name, posix=posix,
        ))  # fmt: skip
        link = self.links.setdefault(name, Link(name, file.key))
        assert link.file == file.key
        self.note("open", worker, name, self.number, "posix" * posix, "on close" * on_close)
        try:
            future.result()
        except NtStatusError as error:
            assert error.status == s.STATUS_DELETE_PENDING and (file.key, name) in self.deleted
            file.close()
            return
        assert (file.key, name) not in self.deleted
        self.handles.append(Handle(worker, file, ref, link, name, posix, on_close))

    def pick(self) -> Handle | None:
        return self.random.choice(self.handles) if self.handles else None

    def close(self) -> None:
        handle = self.pick()
        if handle is None:
            return
        self.note("close", handle.ref.open_id, handle.known)
        self.handles.remove(handle)
        mark = (handle.ref.file, handle.known)
        if handle.on_close:
            self.deleted.add(mark)
        others = any(other.ref.file == handle.ref.file and other.known == handle.known for other in self.handles)
        goes = mark in self.deleted and (
            not others or handle.unlinks or (handle.posix and handle.on_close)
        )
        if goes:
            self.deleted.discard(mark)
        outcome = self.tables[handle.worker].close(handle.ref)
        assert (outcome.delete, outcome.whole_file) == (goes, goes), "\n".join(self.log[-20:])
        if goes:
            taken = self.taken(handle)
            handle.file.unlink()
            if taken is not None:
                self.remove(taken)
        handle.file.close()

    def taken(self, handle: Handle) -> Link | None:
        """The name that goes with the deletion: the one that was opened, wherever it is; or, where that is gone, what
        has its place and is the same file."""
        if handle.link.alive and not handle.adopted:
            return handle.link
        again = self.links.get(handle.file.disk_name.decode())
        return again if again is not None and again.file == handle.ref.file else None

    def delete(self) -> None:
        handle = self.pick()
        if handle is None:
            return
        delete, posix = self.random.random() < 0.7, self.random.random() < 0.3
        self.note("delete", handle.ref.open_id, handle.known, delete, posix)
        table = self.tables[handle.worker]
        table.set_delete_on_close(handle.ref, delete, posix).result()
        mark = (handle.ref.file, handle.known)
        if delete:
            self.deleted.add(mark)
            handle.unlinks |= posix or handle.posix
        else:
            self.deleted.discard(mark)
            handle.unlinks = False
        assert table.link_deleted(handle.ref) == (mark in self.deleted)

    def rename(self) -> None:
        handle, target = self.pick(), self.random.choice(NAMES)
        if handle is None or (handle.ref.file, handle.known) in self.deleted or not handle.link.alive:
            return
        if handle.adopted and handle.file.path != handle.link.name:
            return
        self.note("rename", handle.ref.open_id, handle.known, target)
        table = self.tables[handle.worker]
        there = self.links.get(target)
        replaced = None
        if there is not None and there.file != handle.ref.file:
            replaced = Replaced(there.file, self.root, target.encode())
        try:
            table.check_rename(handle.ref, replaced, handle.posix).result()
        except NtStatusError as error:
            assert error.status == s.STATUS_DELETE_PENDING and there is not None
            assert (there.file, target) in self.deleted
            return
        before = handle.link.name
        handle.file.rename(target, True, handle.posix)
        table.renamed(handle.ref, handle.file.path, handle.file.parent_key, handle.file.disk_name)
        self.moved(handle.ref.file, handle.known, handle.file.path)
        if there is handle.link or (there is not None and there.file == handle.ref.file and handle.posix):
            return  # a name over another one of the same file: nothing, says rename(2)
        if there is not None and there.file == handle.ref.file:
            # The old name goes, the other one stays, and is what the opens are of from now on.
            gone = self.links[before]
            self.remove(gone)
            for other in self.handles:
                if other.link is gone and other.file.path == target:
                    other.link, other.adopted = there, True
            return
        if there is not None:
            self.remove(there)
        del self.links[before]
        handle.link.name = target
        self.links[target] = handle.link

    def moved(self, file: FileKey, known: str, now: str) -> None:
        for other in self.handles:
            if other.ref.file == file and other.known == known:
                other.known = now

    def link(self) -> None:
        handle, target = self.pick(), self.random.choice(NAMES)
        if handle is None or not any(link.file == handle.ref.file for link in self.links.values()):
            return
        there = self.links.get(target)
        if (there is not None and there.file == handle.ref.file) or (handle.ref.file, handle.known) in self.deleted:
            return
        self.note("link", handle.ref.open_id, target)
        if there is not None:
            try:
                self.tables[handle.worker].check_replace(Replaced(there.file, self.root, target.encode())).result()
            except NtStatusError as error:
                assert error.status == s.STATUS_DELETE_PENDING and (there.file, target) in self.deleted
                return
            self.remove(there)
        handle.file.link(target, True)
        self.links[target] = Link(target, handle.ref.file)

    # ------------------------------------------------------------------------------------------- local processes

    @property
    def root(self) -> FileKey:
        return self.shares[0].volume.place.root_key

    def remove(self, link: Link) -> None:
        link.alive = False
        if self.links.get(link.name) is link:
            del self.links[link.name]

    def any_link(self) -> Link | None:
        return self.random.choice(list(self.links.values())) if self.links else None

    def local_rename(self) -> None:
        link, target = self.any_link(), self.random.choice(NAMES)
        if link is None or link.name == target:
            return
        there = self.links.get(target)
        if there is not None and there.file == link.file:
            return
        credentials.as_server()
        self.note("mv", link.name, target)
        os.rename(self.path / link.name, self.path / target)
        if there is not None:
            self.remove(there)
        del self.links[link.name]
        link.name = target
        self.links[target] = link

    def local_link(self) -> None:
        link, target = self.any_link(), self.random.choice(NAMES)
        if link is None or target in self.links:
            return
        credentials.as_server()
        self.note("ln", link.name, target)
        os.link(self.path / link.name, self.path / target)
        self.links[target] = Link(target, link.file)

    def local_remove(self) -> None:
        link = self.any_link()
        if link is None:
            return
        credentials.as_server()
        self.note("rm", link.name)
        os.unlink(self.path / link.name)
        self.remove(link)

    def local_replace(self) -> None:
        name = self.random.choice(NAMES)
        credentials.as_server()
        self.note("replace", name)
        new = self.path / "new"
        new.touch()
        os.chown(new, *self.owner)
        os.rename(new, self.path / name)
        if name in self.links:
            self.remove(self.links[name])
        stat = os.stat(self.path / name)
        self.links[name] = Link(name, (self.root[0], stat.st_ino))

    @property
    def owner(self) -> tuple[int, int]:
        stat = os.stat(self.path)
        return stat.st_uid, stat.st_gid


@pytest.mark.parametrize("seed", range(6))
def test_names_on_the_disk_are_those_of_the_model(make_share: Callable[..., Share], store: Store, seed: int) -> None:
    world = World([make_share(), make_share()], store, seed)
    for _ in range(STEPS):
        world.step()
    while world.handles:
        world.close()
        world.compare()
    assert store.empty
