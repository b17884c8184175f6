# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports of ksmbd.smb, scripted: every method is a step of a Playbook, which also says what it answers.

No steps are plain facts, which a test sets: a file's names and keys, the time, how far a stream has come. Cryptography
is the fakes'. `Server(...)`, `CreateResult(...)` and `call_later` check each class against its Protocol: a method that
is added to a port and not here is an error of types.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from fakes import NOW
from playbook import Act, Call, Named, Playbook, show, value_of

from ksmbd.smb import constants as c
from ksmbd.smb.ports import (
    BreakKind,
    BreakNotice,
    CloseOutcome,
    CreateIntent,
    CreateResult,
    DirectoryEntry,
    DurableReconnect,
    File,
    FileInfo,
    FileKey,
    Frame,
    Identity,
    LocalOpen,
    LockElement,
    LoginResponse,
    OpenGrant,
    OpenRef,
    OpenRequest,
    PurgedOpen,
    QuotaEntry,
    Reconnected,
    Replaced,
    ShareConfig,
    StreamInfo,
    Timer,
    TreeConnectResult,
    Volume,
    VolumeInfo,
    Watch,
)
from ksmbd.smb.sid import Sid
from ksmbd.smb.waiting import Future

P = ParamSpec("P")
T = TypeVar("T")


class Scripted(Named):
    """An object whose methods are steps."""

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(name)
        self.play = play

    def _tell(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The server calls `method`: what the script answers."""
        assert not kwargs
        return cast(T, self.play.happens(self, cast(Any, method).__name__, args))


# --------------------------------------------------------------------------------------------------------------- clock


class ScriptedTimer(Scripted):
    """A call that is to come. `fires` is the act."""

    def __init__(self, play: Playbook, name: str, clock: ScriptedClock) -> None:
        super().__init__(play, name)
        self._clock = clock
        self._call: Callable[[], None] | None = None
        self._due = 0.0

    def arm(self, seconds: float, call: Callable[[], None]) -> None:
        """The clock was asked for it."""
        assert self._call is None, f"{self} runs already"
        self._call, self._due = call, self._clock.now + seconds
        self.play.left[self] = lambda: f"{self} was not cancelled" if self._call is not None else ""

    def cancel(self) -> None:
        self._call = None
        self._tell(self.cancel)

    def fires(self) -> Act:
        """Its time has come."""

        def fire() -> None:
            call, self._call = self._call, None
            assert call is not None, f"{self} does not run"
            self._clock.now = max(self._clock.now, self._due)
            call()

        return Act(f"{self} fires", fire)


class ScriptedClock(Scripted):
    """Time stands still until a timer fires."""

    now = 1000.0

    def timer(self, name: str) -> ScriptedTimer:
        """For `call(clock.call_later, ...).gives(...)`."""
        return ScriptedTimer(self.play, name, self)

    def passes(self, seconds: float) -> Act:
        """Time goes on; no timer fires by that."""

        def go() -> None:
            self.now += seconds

        return Act(f"{seconds} s pass", go)

    def monotonic(self) -> float:
        return self.now

    def filetime(self) -> int:
        return NOW + int((self.now - 1000.0) * 10_000_000)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = self._tell(self.call_later, seconds, call)
        if isinstance(timer, ScriptedTimer):
            timer.arm(seconds, call)
        return timer


# --------------------------------------------------------------------------------------------------------------- files


class ScriptedFile(Scripted):
    """One open file. `opened` and `made` are answers of Volume.create."""

    def __init__(
        self, play: Playbook, name: str, key: FileKey = (1, 101), parent: FileKey | None = (1, 100),
        directory: bool = False, stream: str = "", access: int = c.FILE_ALL_ACCESS,
    ) -> None:  # fmt: skip
        super().__init__(play, name)
        self.key = key
        self.stream = stream
        self.path = name.split(":")[0]
        self.is_directory = directory
        self.granted_access = access
        self.stream_name = stream
        self.parent_key = parent
        self.is_snapshot = False
        self.disk_name = self.path.rpartition("\\")[2].encode()
        self.file_system = "tmpfs"
        self.is_closed = False

    def facts(self) -> FileInfo:
        """What it is like, for answers."""
        kind = c.FILE_ATTRIBUTE_DIRECTORY if self.is_directory else c.FILE_ATTRIBUTE_ARCHIVE
        return FileInfo(NOW, NOW, NOW, NOW, 0, 0, kind, 1, self.key[1], is_directory=self.is_directory)

    def opened(self, local: LocalOpen | None = None) -> CreateResult:
        """It was there."""
        return CreateResult(self, c.FILE_OPENED, self.granted_access, self.facts(), local)

    def made(self, local: LocalOpen | None = None) -> CreateResult:
        """It has just been made."""
        return CreateResult(self, c.FILE_CREATED, self.granted_access, self.facts(), local)

    def fileno(self) -> int:
        return -1

    def end_of_file(self) -> int:
        return 0

    def normalized_name(self) -> str:
        return self.path

    def short_name(self) -> str:
        return self._tell(self.short_name)

    def info(self) -> FileInfo:
        return self._tell(self.info)

    def read(self, offset: int, length: int) -> bytes:
        return self._tell(self.read, offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return self._tell(self.read_into, offset, buffer)

    def prefetch(self, offset: int, length: int) -> Future[None] | None:
        return self._tell(self.prefetch, offset, length)

    def write(self, offset: int, data: memoryview | bytes, write_through: bool = False) -> int:
        return self._tell(self.write, offset, bytes(data), write_through)

    def write_from_pipe(self, offset: int, pipe: int, count: int) -> None:
        self._tell(self.write_from_pipe, offset, pipe, count)

    def finish_writes(self) -> None:
        self._tell(self.finish_writes)

    def flush(self, full: bool = False) -> None:
        self._tell(self.flush, full)

    def duplicate(self) -> File | None:
        return self._tell(self.duplicate)

    def rejoin(self, duplicate: File) -> None:
        self._tell(self.rejoin, duplicate)

    def overwrite(
        self, attributes: int, supersede: bool, extended_attributes: Sequence[tuple[str, int, bytes]],
        allocation_size: int = 0,
    ) -> None:  # fmt: skip
        self._tell(self.overwrite, attributes, supersede, extended_attributes, allocation_size)

    def undo_create(self) -> None:
        self._tell(self.undo_create)

    def close(self) -> None:
        self.is_closed = True
        self._tell(self.close)

    def unlink(self) -> None:
        self._tell(self.unlink)

    def unlink_file(self) -> None:
        self._tell(self.unlink_file)

    def check_delete(self) -> None:
        self._tell(self.check_delete)

    def rename(self, target: str, replace: bool, posix: bool = False) -> None:
        self._tell(self.rename, target, replace, posix)

    def link(self, target: str, replace: bool) -> None:
        self._tell(self.link, target, replace)

    def set_basic(self, creation: int, access: int, write: int, change: int, attributes: int) -> None:
        self._tell(self.set_basic, creation, access, write, change, attributes)

    def set_end_of_file(self, size: int) -> None:
        self._tell(self.set_end_of_file, size)

    def set_allocation(self, size: int) -> None:
        self._tell(self.set_allocation, size)

    def security_descriptor(self, information: int) -> bytes:
        return self._tell(self.security_descriptor, information)

    def set_security_descriptor(self, information: int, descriptor: bytes) -> None:
        self._tell(self.set_security_descriptor, information, descriptor)

    def maximal_access(self) -> int:
        return self._tell(self.maximal_access)

    def extended_attributes(self) -> list[tuple[str, int, bytes]]:
        return self._tell(self.extended_attributes)

    def set_extended_attributes(self, attributes: Sequence[tuple[str, int, bytes]]) -> None:
        self._tell(self.set_extended_attributes, attributes)

    def streams(self) -> list[StreamInfo]:
        return self._tell(self.streams)

    def list_directory(self, matches: Callable[[str], bool] | None = None) -> Iterator[DirectoryEntry | None]:
        return self._tell(self.list_directory, matches)

    def lookup_entry(self, name: str) -> DirectoryEntry | None:
        return self._tell(self.lookup_entry, name)

    def reparse_point(self) -> tuple[int, bytes]:
        return self._tell(self.reparse_point)

    def set_reparse_point(self, tag: int, data: bytes) -> None:
        self._tell(self.set_reparse_point, tag, data)

    def delete_reparse_point(self, tag: int) -> None:
        self._tell(self.delete_reparse_point, tag)

    def set_sparse(self, sparse: bool) -> None:
        self._tell(self.set_sparse, sparse)

    def zero_data(self, offset: int, beyond: int) -> None:
        self._tell(self.zero_data, offset, beyond)

    def allocated_ranges(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        return self._tell(self.allocated_ranges, offset, length, most)

    def copy_range(self, source: File, source_offset: int, target_offset: int, length: int) -> int:
        return self._tell(self.copy_range, source, source_offset, target_offset, length)

    def clone_range(self, source: File, source_offset: int, target_offset: int, length: int) -> None:
        self._tell(self.clone_range, source, source_offset, target_offset, length)

    def compression(self) -> int:
        return self._tell(self.compression)

    def set_compression(self, state: int) -> None:
        self._tell(self.set_compression, state)

    def object_id(self, create: bool) -> bytes | None:
        return self._tell(self.object_id, create)

    def volume(self) -> Volume:
        return self._tell(self.volume)

    def previous_versions(self) -> list[int]:
        return self._tell(self.previous_versions)

    def volume_info(self) -> VolumeInfo:
        return self._tell(self.volume_info)

    def quota(self, sid: Sid) -> QuotaEntry:
        return self._tell(self.quota, sid)

    def quotas(self, position: int, most: int) -> tuple[list[QuotaEntry], int]:
        return self._tell(self.quotas, position, most)

    def quota_position(self, sid: Sid) -> int:
        return self._tell(self.quota_position, sid)

    def set_quotas(self, entries: Sequence[QuotaEntry]) -> None:
        self._tell(self.set_quotas, entries)

    def watch(self, completion_filter: int, tree: bool, later: bool = False) -> Watch:
        return self._tell(self.watch, completion_filter, tree, later)


class ScriptedLocalOpen(Scripted):
    """An open's descriptor beside those of local processes."""

    kernel_oplocks = True
    posix_locking = False
    writable = True

    def fileno(self) -> int:
        return -1

    def open_data(self, both: bool = False) -> bool:
        return self._tell(self.open_data, both)

    def join(self, other: LocalOpen) -> bool:
        return self._tell(self.join, other)

    def lease(self, kind: int) -> bool:
        return self._tell(self.lease, kind)

    def lease_left(self) -> int:
        return self._tell(self.lease_left)

    def lock(self, kind: int, first: int, last: int) -> bool:
        return self._tell(self.lock, kind, first, last)

    def locked(self, first: int, last: int, write: bool) -> bool:
        return self._tell(self.locked, first, last, write)


class ScriptedWatch(Scripted):
    """Changes of one directory."""

    def next(self, limit: int) -> Future[list[tuple[int, str]] | None]:
        return self._tell(self.next, limit)

    def go_on(self) -> bool:
        return self._tell(self.go_on)

    def close(self) -> None:
        self._tell(self.close)


class ScriptedVolume(Scripted):
    """A share's tree."""

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(play, name)
        self.given: list[ScriptedFile] = []
        """What `create` has opened."""

    def create(self, intent: CreateIntent) -> CreateResult:
        result = self._tell(self.create, intent)
        if isinstance(result.file, ScriptedFile):
            self.given.append(result.file)
        return result

    def maximal_access(self) -> int:
        return self._tell(self.maximal_access)

    def close(self) -> None:
        self._tell(self.close)


class ScriptedFiles(Scripted):
    """The file system room."""

    def volume(self, share: ShareConfig, identity: Identity, read_only: bool) -> Volume:
        return self._tell(self.volume, share, identity, read_only)


# ---------------------------------------------------------------------------------------------------------- open table


class ScriptedTable(Scripted):
    """The open table. It remembers which opens it has, so that none is left that the protocol has forgotten."""

    on_break: Callable[[BreakNotice], bool]
    on_purge: Callable[[PurgedOpen], None]
    on_delete_pending: Callable[[FileKey], None]

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(play, name)
        self.held: set[OpenRef] = set()

    # --- acts

    def breaks(self, notice: BreakNotice) -> Act:
        """Somebody else's act takes away what a client caches."""

        def do() -> None:
            self.play.happens(self, "told", (self.on_break(value_of(notice)),))

        return Act(f"table.on_break({show(notice)})", do)

    def told(self, reached: bool) -> Call[None]:
        """What `on_break` returns: whether there was a channel to tell the client."""
        return Call(self, "told", (reached,), False, True)

    def purges(self, purged: PurgedOpen) -> Act:
        """An open has ended by itself."""

        def do() -> None:
            known = value_of(purged)
            self.held.discard(known.ref)
            self.on_purge(known)

        return Act(f"table.on_purge({show(purged)})", do)

    # --- calls

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        future = self._tell(self.open, request)

        def enter(ended: Future[OpenGrant]) -> None:
            try:
                ended.result()
            except BaseException:  # noqa: BLE001  (also Cancelled: whatever it is, there is no open)
                return
            self.held.add(request.ref)

        future.add_callback(enter)
        return future

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        return self._tell(self.admit, ref, local, grant)

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        self._tell(self.readmit, ref, local)

    def close(self, ref: OpenRef) -> CloseOutcome:
        self.held.discard(ref)
        return self._tell(self.close, ref)

    def delete_pending(self, file: FileKey) -> bool:
        return self._tell(self.delete_pending, file)

    def link_deleted(self, ref: OpenRef) -> bool:
        return self._tell(self.link_deleted, ref)

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        return self._tell(self.set_delete_on_close, ref, delete, posix)

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        return self._tell(self.check_rename, ref, target, posix)

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        return self._tell(self.check_replace, target, posix)

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        self._tell(self.renamed, ref, path, parent, name)

    def open_paths_below(self, file: FileKey) -> bool:
        return self._tell(self.open_paths_below, file)

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        return self._tell(self.break_caching, ref, kind)

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        self._tell(self.directory_changed, directory, parent_lease_key, client_guid)

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        return self._tell(self.acknowledge_oplock, ref, level)

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        return self._tell(self.acknowledge_lease, client_guid, key, state)

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        return self._tell(self.lock, ref, elements, wait)

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        self._tell(self.unlock, ref, elements)

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        self._tell(self.check_io, ref, offset, length, write)

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        self._tell(self.make_resilient, ref, timeout)

    def keep(self, ref: OpenRef, handle: Any) -> None:
        self._tell(self.keep, ref, handle)

    def disconnect(self, ref: OpenRef) -> bool:
        kept = self._tell(self.disconnect, ref)
        if kept:
            self.held.discard(ref)  # it waits for its client, and ends by itself
        return kept

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        return self._tell(self.find_kept, request)

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        again = self._tell(self.reconnect, request)
        self.held.add(again.request.ref)
        return again

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        return self._tell(self.find_replay, client_guid, create_guid)


# -------------------------------------------------------------------------------------------------------------- daemon


class ScriptedDaemon(Scripted):
    """Mountd."""

    def login(self, account: str) -> Future[LoginResponse]:
        return self._tell(self.login, account)

    def logout(self, account: str, failed: bool) -> None:
        self._tell(self.logout, account, failed)

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        return self._tell(self.share_config, name)

    def tree_connect(
        self, session_id: int, connect_id: int, account: str, is_guest: bool, share: str, peer: str
    ) -> Future[TreeConnectResult]:
        return self._tell(self.tree_connect, session_id, connect_id, account, is_guest, share, peer)

    def check_tree_connect(self, account: str, is_guest: bool, share: str, peer: str) -> Future[TreeConnectResult]:
        return self._tell(self.check_tree_connect, account, is_guest, share, peer)

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        self._tell(self.tree_disconnect, session_id, connect_id)

    def spnego_authen(self, blob: bytes) -> Future[tuple[LoginResponse, bytes, bytes] | None]:
        return self._tell(self.spnego_authen, blob)

    def rpc_open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        return self._tell(self.rpc_open, pipe, account, restricted)

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        return self._tell(self.rpc_write, handle, data)

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_read, handle, size)

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_peek, handle)

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        return self._tell(self.rpc_transceive, handle, data, size)

    def rpc_close(self, handle: int) -> None:
        self._tell(self.rpc_close, handle)


# ----------------------------------------------------------------------------------------------------------- transport


class ScriptedTransport(Scripted):
    """A connection's other side. What is sent goes to `receive`, which makes steps of it."""

    local = "192.0.2.1"

    def __init__(self, play: Playbook, name: str, peer: str, receive: Callable[[bytes], None]) -> None:
        super().__init__(play, name)
        self.peer = peer
        self._receive = receive
        self.sent = 0
        self.progress = 0
        """Bytes that the client's machine has confirmed; an act of `confirms` adds to them."""

    def confirms(self, count: int) -> Act:
        """The client's machine confirms so many bytes more."""

        def do() -> None:
            self.progress += count

        return Act(f"{self} confirms {count} bytes", do)

    def send(self, frame: Frame) -> None:
        data = bytes(frame.data)
        self.sent += len(data)
        self._receive(data[4:])

    def close(self, reason: str) -> None:
        self._tell(self.close, reason)

    def room(self) -> Future[None] | None:
        return None

    def delivery_mark(self) -> int:
        return self.sent

    def delivery_seconds(self) -> float:
        return 0.5

    def confirmed(self) -> int:
        return self.progress

    def delivered(self, mark: int) -> bool:
        return self._tell(self.delivered, mark)

