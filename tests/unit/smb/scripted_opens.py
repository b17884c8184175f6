# SPDX-License-Identifier: GPL-2.0-or-later
"""The port OpenTable, scripted."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from playbook import Act, Call, Playbook, show, value_of
from scripted import Scripted

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
from ksmbd.smb.waiting import Future


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

    def check_stream_rename(self, ref: OpenRef, stream: str) -> Future[None]:
        return self._tell(self.check_stream_rename, ref, stream)

    def stream_renamed(self, ref: OpenRef, stream: str) -> OpenRef:
        return self._tell(self.stream_renamed, ref, stream)

    def share_locks(self, ref: OpenRef, local: LocalOpen) -> None:
        self._tell(self.share_locks, ref, local)

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
