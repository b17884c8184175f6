# SPDX-License-Identifier: GPL-2.0-or-later
"""The port OpenTable in memory."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    BreakKind,
    BreakNotice,
    CloseOutcome,
    DurableReconnect,
    FileKey,
    LocalOpen,
    LockElement,
    OpenGrant,
    OpenRef,
    OpenRequest,
    PurgedOpen,
    Reconnected,
    Replaced,
)
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


class FakeTable:
    """Grants everything; `calls` records, `fail` refuses by method name, `wait` makes a method's Future pend."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, int] = {}
        self.wait: dict[str, Future[Any]] = {}
        self.opens: dict[OpenRef, OpenRequest] = {}
        self.pending_delete: set[FileKey] = set()
        self.locks: list[tuple[OpenRef, LockElement]] = []
        self.keep_on_disconnect = False
        self.outcome: CloseOutcome | None = None
        """What `close` answers, whatever the table holds."""
        self.reclaim: Callable[[DurableReconnect], Reconnected] | None = None
        """What `reconnect` gives back; without it there is nothing."""
        self.kept_elsewhere: OpenRequest | None = None
        """What `find_kept` finds, whatever can be reclaimed."""
        self.kept: dict[OpenRef, Any] = {}
        self.replays: dict[tuple[bytes, bytes], OpenRef] = {}
        self.on_break: Callable[[BreakNotice], bool] = lambda notice: False
        self.on_purge: Callable[[PurgedOpen], None] = lambda purged: None
        self.on_delete_pending: Callable[[FileKey], None] = lambda directory: None

    def _do(self, name: str, result: Any, *arguments: Any) -> Future[Any]:
        self.calls.append((name, *arguments))
        if name in self.fail:
            return Future.failed(NtStatusError(self.fail[name]))
        return self.wait.get(name) or Future.of(result)

    def open(self, request: OpenRequest) -> Future[OpenGrant]:
        if "open" not in self.fail:
            self.opens[request.ref] = request
        return self._do("open", OpenGrant(request.oplock_level if request.oplock_level != 0xFF else 0), request)

    def hold(self, open_: Open) -> None:
        """Enter an open that no CREATE has made (Bench.open)."""
        assert open_.ref is not None and open_.file is not None
        self.opens[open_.ref] = OpenRequest(
            open_.ref, b"G" * 16, session_id=1, owner="alice", share="share", path=open_.file.path,
            is_directory=open_.file.is_directory, created=False, granted_access=open_.granted_access, share_access=7,
            disposition=c.FILE_OPEN, options=0, oplock_level=0,
        )  # fmt: skip

    def admit(self, ref: OpenRef, local: LocalOpen, grant: OpenGrant) -> OpenGrant | None:
        self.calls.append(("admit", ref, local, grant))
        if "admit" in self.fail:
            raise NtStatusError(self.fail["admit"])
        return grant if local.open_data() else None

    def readmit(self, ref: OpenRef, local: LocalOpen) -> None:
        self.calls.append(("readmit", ref, local))
        if not local.open_data():
            raise NtStatusError(s.STATUS_FILE_NOT_AVAILABLE)

    def close(self, ref: OpenRef) -> CloseOutcome:
        self.calls.append(("close", ref))
        if "close" in self.fail:
            raise NtStatusError(self.fail["close"])
        if self.outcome is not None:
            return self.outcome
        self.opens.pop(ref, None)
        self.locks = [held for held in self.locks if held[0] != ref]
        last = not any(other.file == ref.file for other in self.opens)
        return CloseOutcome(last and ref.file in self.pending_delete)

    def delete_pending(self, file: FileKey) -> bool:
        return file in self.pending_delete

    def link_deleted(self, ref: OpenRef) -> bool:
        return ref.file in self.pending_delete

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        if "set_delete_on_close" not in self.fail:
            (self.pending_delete.add if delete else self.pending_delete.discard)(ref.file)
        return self._do("set_delete_on_close", None, ref, delete, *(("posix",) if posix else ()))

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        return self._do("check_rename", None, ref, target, *(("posix",) if posix else ()))

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        return self._do("check_replace", None, target)

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        self.calls.append(("renamed", ref, path, parent, name))

    def check_stream_rename(self, ref: OpenRef, stream: str) -> Future[None]:
        return self._do("check_stream_rename", None, ref, stream)

    def stream_renamed(self, ref: OpenRef, stream: str) -> OpenRef:
        self.calls.append(("stream_renamed", ref, stream))
        return ref._replace(stream=stream)

    def share_locks(self, ref: OpenRef, local: LocalOpen) -> None:
        self.calls.append(("share_locks", ref, local))

    def open_paths_below(self, file: FileKey) -> bool:
        return False

    def break_caching(self, ref: OpenRef, kind: BreakKind) -> Future[None]:
        return self._do("break_caching", None, ref, kind)

    def directory_changed(self, directory: FileKey, parent_lease_key: bytes, client_guid: bytes) -> None:
        self.calls.append(("directory_changed", directory, parent_lease_key, client_guid))

    def acknowledge_oplock(self, ref: OpenRef, level: int) -> int:
        self.calls.append(("acknowledge_oplock", ref, level))
        if "acknowledge_oplock" in self.fail:
            raise NtStatusError(self.fail["acknowledge_oplock"])
        return level

    def acknowledge_lease(self, client_guid: bytes, key: bytes, state: int) -> int:
        self.calls.append(("acknowledge_lease", client_guid, key, state))
        if "acknowledge_lease" in self.fail:
            raise NtStatusError(self.fail["acknowledge_lease"])
        return state

    def lock(self, ref: OpenRef, elements: Sequence[LockElement], wait: bool) -> Future[None]:
        if "lock" not in self.fail and "lock" not in self.wait:
            self.locks.extend((ref, element) for element in elements)
        return self._do("lock", None, ref, tuple(elements), wait)

    def unlock(self, ref: OpenRef, elements: Sequence[LockElement]) -> None:
        self.calls.append(("unlock", ref, tuple(elements)))
        for element in elements:
            held = [lock for lock in self.locks if lock[0] == ref and lock[1].offset == element.offset]
            if not held:
                raise NtStatusError(s.STATUS_RANGE_NOT_LOCKED)
            self.locks.remove(held[0])

    def check_io(self, ref: OpenRef, offset: int, length: int, write: bool) -> None:
        self.calls.append(("check_io", ref, offset, length, write))
        for holder, lock in self.locks:
            overlap = lock.offset < offset + length and offset < lock.offset + lock.length
            foreign = holder != ref and (write or lock.exclusive)
            if overlap and (foreign or (holder == ref and write and not lock.exclusive)):
                raise NtStatusError(s.STATUS_FILE_LOCK_CONFLICT)

    def make_resilient(self, ref: OpenRef, timeout: int) -> None:
        self.calls.append(("make_resilient", ref, timeout))

    def keep(self, ref: OpenRef, handle: Any) -> None:
        self.kept[ref] = handle

    def disconnect(self, ref: OpenRef) -> bool:
        self.calls.append(("disconnect", ref))
        return self.keep_on_disconnect

    def reconnect(self, request: DurableReconnect) -> Reconnected:
        self.calls.append(("reconnect", request))
        if self.reclaim is None:
            raise NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND)
        return self.reclaim(request)

    def find_kept(self, request: DurableReconnect) -> OpenRequest | None:
        if self.kept_elsewhere is not None:
            return self.kept_elsewhere
        found = self.reconnect(request)
        return found.request if found.handle is None else None

    def find_replay(self, client_guid: bytes, create_guid: bytes) -> OpenRef | None:
        return self.replays.get((client_guid, create_guid))
