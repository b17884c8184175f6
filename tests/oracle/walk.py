# SPDX-License-Identifier: GPL-2.0-or-later
"""Every method of the ports Files, Volume, File and LocalOpen, called with somebody else's rights left on the thread.

Each call is observed by the kernel (observe.py): what reaches the share's disk does so as the session's user, or with
what the gate (ksmbd/vfs/gate.py) lends for one call; and nothing of root's stays on the thread afterwards. The methods
come from the ports by introspection: a new one has no recipe here, and that fails.

    walk.py        a line for each that does not hold; exit status 0, 1, or 77 where nothing can be observed here
"""
from __future__ import annotations

import inspect
import os
import select
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ground import enter
from observe import PLAIN, Event, Marks, Observed, Observer, possible
from ours import NowClock

from ksmbd.conn.loop import Loop
from ksmbd.conn.offload import Helpers
from ksmbd.kernel import credentials, descriptors
from ksmbd.kernel.credentials import NOBODY, SERVER, Credentials
from ksmbd.process import privileges
from ksmbd.process.compiled import compiled_modules
from ksmbd.smb import constants as c
from ksmbd.smb import open_life, ports
from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.ports import CloseOutcome, CreateIntent, Identity, OpenRef, PurgedOpen, QuotaEntry, ShareConfig
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, UNIX_GROUPS, UNIX_USERS
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings
from ksmbd.vfs.reparse import encode_symlink

USER: Final = Credentials(7001, 8001, (8001, 8002))
OTHER: Final = Credentials(7002, 8003, (8003,))
STATES: Final = {"root": SERVER, "another user": OTHER, "nobody": NOBODY}
KINDS: Final = ("file", "folder", "stream", "link")
GATE: Final = "ksmbd.vfs.gate"
SYMLINK: Final = 0xA000000C
EVERYTHING: Final = 7 | c.SACL_SECURITY_INFORMATION
ALL_CHANGES: Final = 0xFFF


class Walk:
    """One run."""

    def __init__(self, folder: str, marks: Marks, observed: Observed) -> None:
        self.folder = folder
        self.marks = marks
        self.observed = observed
        self.files = LocalFiles(VfsSettings((1, 2, 3)), NowClock())
        self.files.leases = False
        self.clock = self.files.clock
        self.faults: list[str] = []
        self.calls = self.seen = 0
        self.switched = False
        self.lent: set[str] = set()
        self.watch_gate()

    def watch_gate(self) -> None:
        """Note whose code asks for the server's rights, for as long as it has them."""
        real = credentials.privileged

        def privileged(*arguments: Any, **more: Any) -> Any:
            frame = sys._getframe(1)
            return lending(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}", arguments, more)

        @contextmanager
        def lending(name: str, arguments: Any, more: Any) -> Iterator[None]:
            thread = threading.get_native_id()
            before = self.marks.lent(thread)
            with real(*arguments, **more):
                self.marks.lend(thread, name)
                try:
                    yield
                finally:
                    self.marks.lend(thread, before)

        credentials.privileged = privileged

    # ------------------------------------------------------------------------------------------------ the ground

    def share(self, **more: Any) -> ShareConfig:
        """The share's configuration."""
        return ShareConfig(
            "share", f"{self.folder}/share", follow_symlinks=True, hide_dot_files=False, streams_xattr=True, **more
        )

    def fresh(self, acl: bool = False, **more: Any) -> ports.Volume:
        """An empty share with a few entries, opened by the user."""
        credentials.as_server()
        root = f"{self.folder}/share"
        shutil.rmtree(root, ignore_errors=True)
        os.mkdir(root)
        for name in ("d", "d/e", "empty"):
            os.mkdir(f"{root}/{name}")
        for name in ("f", "g", "d/x"):
            with open(f"{root}/{name}", "w") as file:
                file.write("some text")
            os.setxattr(f"{root}/{name}", "user.one", b"1")
            os.setxattr(f"{root}/{name}", "user.DosStream.s:$DATA", b"stream\0")
        os.setxattr(f"{root}/d", "user.DosStream.s:$DATA", b"stream\0")
        os.symlink("f", f"{root}/l")
        os.symlink("msdfs:server\\share", f"{root}/dfs")
        for path, folders, names in os.walk(root):
            for entry in (path, *(f"{path}/{name}" for name in (*folders, *names))):
                os.chown(entry, USER.uid, USER.gid, follow_symlinks=False)
        os.chmod(f"{root}/g", 0o400)  # what the gate is for: attributes of what may not be written
        identity = Identity("user", "", USER.uid, USER.gid, USER.groups)
        return self.files.volume(self.share(acl_xattr=acl, **more), identity, False)

    def open(self, volume: ports.Volume, kind: str, access: int = c.FILE_ALL_ACCESS) -> Any:
        """One of KINDS, opened."""
        name, stream, options = {
            "file": ("f", "", 0), "folder": ("d", "", c.FILE_DIRECTORY_FILE), "stream": ("f", "s", 0),
            "link": ("l", "", c.FILE_OPEN_REPARSE_POINT),
        }[kind]  # fmt: skip
        if kind == "link":
            access &= ~(c.FILE_READ_DATA | c.FILE_WRITE_DATA | c.FILE_APPEND_DATA | c.FILE_EXECUTE)
        return volume.create(CreateIntent(name, stream, access, c.FILE_OPEN, options, 0)).file

    # ------------------------------------------------------------------------------------------------ one call

    def call(self, what: str, state: str, call: Callable[[], Any], elsewhere: bool = False) -> None:
        """`call` with the thread's rights put to `state` before; `elsewhere`: what it does another thread does."""
        credentials.assume(STATES[state])
        self.switched = False
        self.observed.events()
        self.marks.record(True)
        failed = ""
        try:
            call()
        except NtStatusError as error:
            failed = str(error)
        except Exception as error:  # noqa: BLE001  (told with the rest)
            self.faults.append(f"{what} from {state}: {error!r}")
        finally:
            self.marks.record(False)
        after = NOBODY if elsewhere else held()
        events = self.observed.events()
        self.calls += 1
        self.seen += len(events)
        for event in events:
            wrong = self.wrong(event)
            if wrong:
                self.faults.append(f"{what} from {state}{failed and f' ({failed})'}: {event.line()}: {wrong}")
        untouched = OTHER if self.switched else STATES[state]
        if after not in (USER, NOBODY) and (after != untouched or (events and after == SERVER)):
            self.faults.append(f"{what} from {state}: leaves {after}")
        credentials.as_server()

    def wrong(self, event: Event) -> str:
        """Why a call on the disk is not as it must be, '' where it is."""
        who = Credentials(event.uid, event.gid, tuple(sorted(event.groups)))
        if event.lent:
            module, _, name = event.lent.rpartition(".")
            self.lent.add(name)
            return "" if module == GATE else "root's rights outside the gate"
        if who == USER:
            return ""
        if event.call in PLAIN and event.uid:
            return ""  # the descriptor is enough, and root's rights are not there
        return "not the session's user"

    # ------------------------------------------------------------------------------------------------ the walk

    def run(self) -> None:
        """All of it."""
        self.fresh().close()
        self.call("", "root", lambda: os.stat(f"{self.folder}/share/f"))
        assert len(self.faults) == 2, f"root's rights are not seen: {self.faults}"
        self.faults.clear()
        for state in STATES:
            self.files_port(state)
            for acl in (False, True) if state == "another user" else (False,):
                self.volume_port(state, acl)
                for kind in KINDS:
                    self.file_port(state, kind, acl)
            self.local_open(state)
            self.beside(state)

    def files_port(self, state: str) -> None:
        recipes = {"volume": lambda: self.again()}
        self.complete(ports.Files, recipes)
        for name, recipe in recipes.items():
            self.fresh().close()
            self.call(f"Files.{name}", state, recipe)

    def again(self) -> None:
        identity = Identity("user", "", USER.uid, USER.gid, USER.groups)
        self.files.volume(self.share(), identity, False).close()

    def volume_port(self, state: str, acl: bool) -> None:
        def create(**fields: Any) -> Callable[[Any], Any]:
            intent = CreateIntent("f", "", c.FILE_ALL_ACCESS, c.FILE_OPEN_IF, 0, 0)
            for key, value in fields.items():
                setattr(intent, key, value)
            return lambda volume: volume.create(intent).file.close()

        dacl = Acl((Ace(ACCESS_ALLOWED, 0, c.FILE_ALL_ACCESS, EVERYONE),))
        given = SecurityDescriptor(
            SE_SELF_RELATIVE | SE_DACL_PRESENT, UNIX_USERS.child(USER.uid), UNIX_GROUPS.child(USER.gid), dacl
        ).encode()
        recipes: dict[str, list[Callable[[Any], Any]]] = {
            "create": [
                create(), create(name=""), create(name="F"), create(name="D\\X"), create(name="l"),
                create(name="g", desired_access=c.FILE_READ_ATTRIBUTES), create(desired_access=c.MAXIMUM_ALLOWED),
                create(name="g", desired_access=c.FILE_WRITE_DATA), create(name="gone", disposition=c.FILE_OPEN),
                create(name="new"), create(name="new", options=c.FILE_DIRECTORY_FILE),
                create(name="d\\new", security_descriptor=given, allocation_size=4096),
                create(name="d\\new", extended_attributes=[("two", 0, b"2")], options=c.FILE_NO_COMPRESSION),
                create(name="new", posix_mode=0o6755), create(name="new", options=c.FILE_DIRECTORY_FILE, posix_mode=0),
                create(stream="s"), create(stream="t"), create(name="d", stream="t"), create(name="new", stream="t"),
                create(name="f", options=c.FILE_DELETE_ON_CLOSE), create(name="d", options=c.FILE_DELETE_ON_CLOSE),
                create(name="f", disposition=c.FILE_SUPERSEDE), create(name="d\\e\\missing\\x"),
            ],
            "maximal_access": [lambda volume: volume.maximal_access()],
            "dfs_link": [
                lambda volume: volume.dfs_link("dfs\\x"), lambda volume: volume.dfs_link("D\\E\\missing\\x"),
                create(name="d\\x"), create(name="dfs\\x"),
            ],
            "close": [lambda volume: volume.close()],
        }  # fmt: skip
        self.complete(ports.Volume, recipes)
        for name, calls in recipes.items():
            for index, recipe in enumerate(calls):
                volume = self.fresh(acl, msdfs_root=name == "dfs_link")
                self.call(f"Volume.{name}[{index}]{' (acl)' if acl else ''}", state, lambda: recipe(volume))  # noqa: B023
                volume.close()

    def file_recipes(self) -> dict[str, list[Callable[[Any], Any]]]:
        """What is called of each method of File."""
        dacl = Acl((Ace(ACCESS_ALLOWED, 0, c.FILE_GENERIC_READ, EVERYONE),))
        new = SecurityDescriptor(
            SE_SELF_RELATIVE | SE_DACL_PRESENT, UNIX_USERS.child(USER.uid), UNIX_GROUPS.child(8002), dacl
        ).encode()
        theirs = SecurityDescriptor(SE_SELF_RELATIVE, UNIX_USERS.child(0), UNIX_GROUPS.child(0)).encode()

        def written(file: Any) -> Any:
            file.write(0, b"x")
            return file

        def pipe(file: Any) -> None:
            reader, writer = os.pipe()
            try:
                os.write(writer, b"data")
                file.write_from_pipe(0, reader, 4)
            finally:
                os.close(reader)
                os.close(writer)

        def listed(file: Any) -> None:
            for _ in file.list_directory():
                self.somebody_else()

        def source(file: Any) -> Any:
            intent = CreateIntent("d\\x", "", c.FILE_READ_DATA, c.FILE_OPEN, 0, 0)
            return file.volume().create(intent).file

        def duplicate(file: Any) -> Any:
            return file.duplicate() or SimpleNamespace(close=lambda: None)

        def rejoined_late(file: Any) -> None:
            made = duplicate(file)
            if not isinstance(made, SimpleNamespace):
                made.write(0, b"x")
                made.set_allocation(9000)
            file.close()
            self.somebody_else()
            file.rejoin(made)

        def reparsed(file: Any) -> None:
            file.set_reparse_point(0x80000023, b"")
            self.somebody_else()
            file.delete_reparse_point(0x80000023)

        def locked(file: Any) -> None:
            side = file.lock_side()
            if side is not None:
                self.somebody_else()
                side.lock(ports.WRITE_LOCK, 0, 9)
                side.lock(ports.UNLOCKED, 0, 9)

        def unnamed(file: Any) -> None:
            if file.stream:
                intent = CreateIntent("f", "", c.FILE_WRITE_DATA, c.FILE_OPEN, 0, 0)
                data = file.volume().create(intent).file
                data.set_end_of_file(0)
                data.close()
                self.somebody_else()
            file.become_unnamed(True).close()

        return {
            "fileno": [lambda file: file.fileno()],
            "folded": [lambda file: file.folded("S")],
            "handle": [lambda file: file.handle()],
            "lock_side": [locked],
            "become_unnamed": [unnamed, lambda file: file.become_unnamed(False)],
            "stream_name": [lambda file: file.stream_name],
            "disk_name": [lambda file: file.disk_name],
            "parent_key": [lambda file: file.parent_key],
            "file_system": [lambda file: file.file_system],
            "path": [lambda file: file.path],
            "is_snapshot": [lambda file: file.is_snapshot],
            "quota": [
                lambda file: file.quota(UNIX_USERS.child(USER.uid)), lambda file: file.quota(UNIX_USERS.child(0)),
            ],
            "quotas": [lambda file: file.quotas(0, 9)],
            "quota_position": [lambda file: file.quota_position(UNIX_USERS.child(USER.uid))],
            "set_quotas": [lambda file: file.set_quotas([QuotaEntry(UNIX_USERS.child(USER.uid), 0, -1, 1 << 30)])],
            "volume_info": [lambda file: file.volume_info()],
            "previous_versions": [lambda file: file.previous_versions()],
            "info": [lambda file: file.info()],
            "read": [lambda file: file.read(0, 4)],
            "read_into": [lambda file: file.read_into(0, memoryview(bytearray(4)))],
            "end_of_file": [lambda file: file.end_of_file()],
            "prefetch": [lambda file: file.prefetch(0, 4)],
            "write": [lambda file: file.write(0, b"data"), lambda file: file.write(0, b"data", True)],
            "write_from_pipe": [pipe],
            "finish_writes": [lambda file: written(file).finish_writes()],
            "flush": [lambda file: file.flush(), lambda file: file.flush(True)],
            "duplicate": [lambda file: duplicate(file).close()],
            "rejoin": [lambda file: file.rejoin(duplicate(file)), rejoined_late],
            "overwrite": [lambda file: file.overwrite(c.FILE_ATTRIBUTE_HIDDEN, False, [("two", 0, b"2")])],
            "undo_create": [lambda file: file.undo_create()],
            "close": [lambda file: file.close(), self.closed_later],
            "unlink": [lambda file: file.unlink()],
            "unlink_file": [lambda file: file.unlink_file()],
            "check_delete": [lambda file: file.check_delete()],
            "rename": [
                lambda file: file.rename(":t" if file.stream else "renamed", False),
                lambda file: file.rename("d\\x", True), lambda file: file.rename("d\\e\\y", False, True),
            ],
            "link": [lambda file: file.link("linked", False), lambda file: file.link("d\\x", True)],
            "set_basic": [
                lambda file: file.set_basic(1 << 56, 1 << 56, 1 << 56, 1 << 56, c.FILE_ATTRIBUTE_HIDDEN),
                lambda file: file.set_basic(0, 0, -1, 0, 0),
            ],
            "set_end_of_file": [lambda file: file.set_end_of_file(3), lambda file: file.set_end_of_file(30)],
            "set_allocation": [lambda file: file.set_allocation(2), lambda file: file.set_allocation(9000)],
            "security_descriptor": [lambda file: file.security_descriptor(EVERYTHING)],
            "set_security_descriptor": [
                lambda file: file.set_security_descriptor(7, new), lambda file: file.set_security_descriptor(3, theirs),
                lambda file: file.set_security_descriptor(4, new),
            ],
            "maximal_access": [lambda file: file.maximal_access()],
            "extended_attributes": [lambda file: file.extended_attributes()],
            "set_extended_attributes": [
                lambda file: file.set_extended_attributes([("one", 0, b""), ("two", 0, b"2")])
            ],
            "streams": [lambda file: file.streams()],
            "list_directory": [listed],
            "lookup_entry": [lambda file: file.lookup_entry("X"), lambda file: file.lookup_entry("..")],
            "normalized_name": [lambda file: file.normalized_name()],
            "short_name": [lambda file: file.short_name()],
            "reparse_point": [lambda file: file.reparse_point()],
            "set_reparse_point": [
                lambda file: file.set_reparse_point(SYMLINK, encode_symlink("g", True)),
                lambda file: file.set_reparse_point(SYMLINK, encode_symlink("\\outside", False)),
            ],
            "delete_reparse_point": [reparsed],
            "set_sparse": [lambda file: file.set_sparse(True)],
            "zero_data": [lambda file: file.zero_data(1, 5)],
            "allocated_ranges": [lambda file: file.allocated_ranges(0, 9, 9)],
            "copy_range": [lambda file: file.copy_range(source(file), 0, 0, 4)],
            "clone_range": [lambda file: file.clone_range(source(file), 0, 0, 4)],
            "compression": [lambda file: file.compression()],
            "set_compression": [lambda file: file.set_compression(0), lambda file: file.set_compression(2)],
            "object_id": [lambda file: file.object_id(False), lambda file: file.object_id(True)],
            "volume": [lambda file: file.volume()],
            "watch": [
                lambda file: file.watch(ALL_CHANGES, False).close(), lambda file: file.watch(ALL_CHANGES, True).close(),
            ],
        }  # fmt: skip

    def somebody_else(self) -> None:
        """Within a call: others run between two entries of a listing, between a write and the close."""
        credentials.assume(OTHER)
        self.switched = True

    def closed_later(self, file: Any) -> None:
        """What was written and reserved is settled at the close, perhaps by somebody else's request."""
        file.write(0, b"x")
        file.set_allocation(9000)
        self.somebody_else()
        file.close()

    def file_port(self, state: str, kind: str, acl: bool) -> None:
        recipes = self.file_recipes()
        self.complete(ports.File, recipes)
        for name, calls in recipes.items():
            for index, recipe in enumerate(calls):
                volume = self.fresh(acl)
                file = self.open(volume, kind)
                what = f"File.{name}[{index}] of a {kind}{' (acl)' if acl else ''}"
                self.call(what, state, lambda: recipe(file))  # noqa: B023
                file.close()
                volume.close()

    def local_open(self, state: str) -> None:
        """The descriptor of an open beside those of local processes."""
        recipes: dict[str, Callable[[Any, Any], Any]] = {
            "fileno": lambda local, _: local.fileno(),
            "open_data": lambda local, _: local.open_data(),
            "join": lambda local, other: local.join(other),
            "lease": lambda local, _: local.lease(ports.READ_LEASE),
            "lease_left": lambda local, _: local.lease_left(),
            "lock": lambda local, _: local.lock(ports.WRITE_LOCK, 0, 9),
            "locked": lambda local, _: local.locked(0, 9, True),
        }
        self.complete(ports.LocalOpen, recipes)
        for name, recipe in recipes.items():
            volume = self.fresh(kernel_oplocks=True, posix_locking=True)
            intent = CreateIntent("f", "", c.FILE_READ_DATA | c.FILE_WRITE_DATA, c.FILE_OPEN, 0, 0)
            one, other = volume.create(intent), volume.create(intent)
            assert one.local is not None and other.local is not None
            if name != "enter":
                one.local.open_data()
                other.local.open_data()
            self.call(f"LocalOpen.{name}", state, lambda: recipe(one.local, other.local))  # noqa: B023
            one.file.close()
            other.file.close()
            volume.close()

    # ---------------------------------------------------------------- what no request of the user's own thread runs

    def beside(self, state: str) -> None:
        """Notifications, timers, the scavenger, helper threads."""
        for whole in (False, True):
            volume = self.fresh()
            folder = self.open(volume, "folder")
            watch = folder.watch(ALL_CHANGES, True)
            if whole:
                watch._too_many = True
                watch._use_fanotify()
            credentials.as_server()
            os.makedirs(f"{self.folder}/share/d/new/below")
            poll = select.poll()
            poll.register(self.files.notify_fileno(), select.POLLIN)
            assert poll.poll(5000)
            name = f"on_notify_readable{' (whole file system)' if whole else ''}"
            self.call(name, state, self.files.on_notify_readable)
            future = watch.next(4096)
            self.call("Watch.next", state, lambda: watch.next(4096))  # noqa: B023
            assert future.done
            self.call("Watch.close", state, watch.close)
            folder.close()
            volume.close()

        volume = self.fresh()
        one, other = self.open(volume, "file"), self.open(volume, "file")
        one.write(0, b"x")
        one.set_allocation(9000)
        one.close()
        assert self.files.pending_releases.waiting
        self.call("a timer that cannot give back blocks yet", state, self.files.pending_releases._again)
        keep = os.dup(other.fileno())
        other.close()  # which tries it as well; the duplicate has the file open still
        assert self.files.pending_releases.waiting
        os.close(keep)
        self.call("a timer that gives back blocks", state, self.files.pending_releases._again)
        assert not self.files.pending_releases.waiting
        volume.close()

        for kind in ("file", "stream", "folder"):
            volume = self.fresh()
            file = self.open(volume, kind)
            self.call(f"the scavenger deletes a {kind}", state, lambda: self.scavenge(file, kind))  # noqa: B023
            volume.close()

        self.duplicates(state)
        volume = self.fresh()
        file = self.open(volume, "file")
        loop = Loop()
        helpers = Helpers(loop, 1)
        self.files.offload = helpers.submit
        seen: list[Credentials] = []
        volume.place.in_memory = False  # type: ignore[attr-defined]
        descriptor = os.open(f"{self.folder}/share/f", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        self.call("prefetch in a helper thread", state, lambda: self.prefetch(file, helpers, seen))
        if seen and seen != [NOBODY]:
            self.faults.append(f"a helper thread from {state} has the rights of {seen}")
        self.files.offload = None
        file.close()
        volume.close()

    def duplicates(self, state: str) -> None:
        """Operations that may take long, on a duplicate of the open in a helper thread."""
        recipes = self.file_recipes()
        for name in (
            "write", "flush", "overwrite", "set_end_of_file", "set_allocation", "set_security_descriptor", "zero_data",
            "copy_range", "set_basic", "set_extended_attributes", "object_id",
        ):  # fmt: skip
            for index, recipe in enumerate(recipes[name]):
                volume = self.fresh()
                file = self.open(volume, "file")
                duplicate = file.duplicate()
                after: list[Credentials] = []

                def work(recipe: Callable[[Any], Any] = recipe, duplicate: Any = duplicate, after: Any = after) -> None:
                    try:
                        recipe(duplicate)
                    except NtStatusError:
                        pass
                    finally:
                        after.append(held())

                def run(work: Callable[[], None] = work) -> None:
                    thread = threading.Thread(target=work)
                    thread.start()
                    thread.join()

                what = f"File.{name}[{index}] of a duplicate in another thread"
                self.call(what, state, run, True)
                if after != [USER]:
                    self.faults.append(f"{what} from {state}: leaves {after}")
                file.rejoin(duplicate)
                file.close()
                volume.close()

    def prefetch(self, file: Any, helpers: Helpers, seen: list[Credentials]) -> None:
        done = threading.Event()

        def look() -> None:
            seen.append(held())
            done.set()

        file.prefetch(0, 4)
        helpers.submit(look)
        done.wait(10)
        helpers.close()

    def scavenge(self, file: Any, kind: str) -> None:
        """A durable open that nobody came back for: it is to be deleted, and the whole file where it was a stream."""
        if "ksmbd.smb.open_life" in compiled_modules():  # which takes no stand-ins; it calls these
            (file.unlink_file if kind == "stream" else file.unlink)()
            file.close()
            return
        table = SimpleNamespace(directory_changed=lambda *_: None, delete_pending=lambda *_: False)
        daemon = SimpleNamespace(rpc_close=lambda *_: None)
        server: Any = SimpleNamespace(opens={}, table=table, daemon=daemon)
        handle = SimpleNamespace(
            closed=False, file=file, session=None, persistent_id=1, pipe_handle=0, waits={}, enumeration=None,
            watch=None, lease=None, ref=None, wrote=False,
        )  # fmt: skip
        purged = PurgedOpen(
            OpenRef(file.key, file.stream, 1), "share", file.path, CloseOutcome(True, kind == "stream"), handle
        )
        open_life.purge_open(server, purged)

    # ------------------------------------------------------------------------------------------------ completeness

    def complete(self, port: type, recipes: dict[str, Any]) -> None:
        """Whether each method of a port has its recipe, and none is left over."""
        wanted = methods(port)
        for name in sorted(wanted - recipes.keys()):
            self.faults.append(f"{port.__name__}.{name} is new: say in walk.py how it is called")
        for name in sorted(recipes.keys() - wanted):
            self.faults.append(f"{port.__name__}.{name} is gone")


def methods(port: type) -> set[str]:
    """The names of a port's methods and properties."""
    return {
        name for name, value in vars(port).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }  # fmt: skip


def held() -> Credentials:
    """The rights for file operations of this thread, as the kernel says them."""
    values: dict[str, list[int]] = {}
    with open("/proc/thread-self/status") as status:
        for line in status:
            key, _, rest = line.partition(":")
            if key in ("Uid", "Gid", "Groups"):
                values[key] = [int(part) for part in rest.split()]
    return Credentials(values["Uid"][3], values["Gid"][3], tuple(sorted(values["Groups"])))


def main() -> int:
    """See the module."""
    lacks = possible()
    if lacks:
        print(f"walk: left out: {lacks}")
        return 77
    try:
        folder = enter("tmpfs")
    except OSError as error:
        print(f"walk: left out: {error}")
        return 77
    ours, theirs = socket.socketpair()
    marks = Marks()
    child = os.fork()
    if child:
        theirs.close()
        Observer(f"{folder}/share", marks, ours).run()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ours.close()
    privileges.drop_worker_privileges()
    observed = Observed(theirs)
    walk = Walk(folder, marks, observed)
    descriptors.enter()
    walk.run()
    faults = list(dict.fromkeys(walk.faults))
    for fault in faults:
        print(fault)
    print(f"walk: {walk.calls} calls, {walk.seen} calls of theirs on the disk, {len(faults)} wrong; the gate lent to "
          f"{', '.join(sorted(walk.lent))}")  # fmt: skip
    sys.stdout.flush()
    os._exit(1 if faults else 0)


if __name__ == "__main__":
    sys.exit(main())
