# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of LocalOpenTable (table.py) that is about names: deletions, renames and links."""
from __future__ import annotations

from functools import partial

from ksmbd.oplock import requests
from ksmbd.oplock.executor import DecisionExecutor
from ksmbd.oplock.record import NO_LINK, Link, OpenEntry
from ksmbd.oplock.requests import Encoded, Result
from ksmbd.oplock.sequence import Make, run_in_sequence
from ksmbd.oplock.share import sharing_violation
from ksmbd.smb.constants import FILE_ADD_FILE, FILE_SHARE_READ, FILE_SHARE_WRITE
from ksmbd.smb.ports import FileKey, OpenRef, Replaced
from ksmbd.smb.status import STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SHARING_VIOLATION, NtStatusError
from ksmbd.smb.waiting import Future


class NamingTable(DecisionExecutor):
    """The open table's answers about the names of what is open."""

    def delete_pending(self, file: FileKey) -> bool:
        """See OpenTable.delete_pending."""
        record = self._store.peek(file)
        return record is not None and bool(record.deleted_links)

    def link_deleted(self, ref: OpenRef) -> bool:
        """See OpenTable.link_deleted."""
        record = self._store.peek(ref.file)
        if record is None or not record.deleted_links:
            return False
        entry = record.opens.get(ref.open_id)
        return entry is not None and entry.link in record.deleted_links

    def set_delete_on_close(self, ref: OpenRef, delete: bool, posix: bool = False) -> Future[None]:
        """See OpenTable.set_delete_on_close."""
        waiter_id = self._number()
        return self._start(ref.file, waiter_id, requests.SetDelete(waiter_id, ref.open_id, delete, posix), _none)

    def check_rename(self, ref: OpenRef, target: Replaced | None, posix: bool = False) -> Future[None]:
        """See OpenTable.check_rename."""
        try:
            entry = self._entry(ref)
            if not posix:
                self._check_parent(entry)
        except NtStatusError as error:
            return Future.failed(error)
        steps: list[tuple[FileKey, Make]] = []
        if entry.is_directory and not entry.stream and not posix:
            steps += [(file, requests.MoveWithFolder) for file in self._store.files_below(entry.share, entry.path)]
        steps.append((ref.file, partial(_rename_of, ref.open_id)))
        if target is not None and target.file != ref.file:
            steps.append(_replacing(target, posix))
        return run_in_sequence(steps, self._start_step)

    def check_replace(self, target: Replaced, posix: bool = False) -> Future[None]:
        """See OpenTable.check_replace."""
        return run_in_sequence([_replacing(target, posix)], self._start_step)

    def _start_step(self, file: FileKey, make: Make) -> Future[None]:
        waiter_id = self._number()
        return self._start(file, waiter_id, make(waiter_id), _none)

    def _check_parent(self, entry: OpenEntry) -> None:
        """Check the parent's share modes: a rename of a file opens the parent directory to add an entry, without
        sharing deletion (MS-FSA 2.1.5.15.12). Not for directories. Raises STATUS_SHARING_VIOLATION."""
        if entry.parent is None or entry.stream or entry.is_directory:
            return
        record = self._store.peek(entry.parent)
        if record is not None and sharing_violation(record, "", FILE_ADD_FILE, FILE_SHARE_READ | FILE_SHARE_WRITE):
            raise NtStatusError(STATUS_SHARING_VIOLATION, "the folder is open, and not to be changed")

    def renamed(self, ref: OpenRef, path: str, parent: FileKey | None, name: bytes) -> None:
        """See OpenTable.renamed."""
        entry = self._entry(ref)
        self._run(ref.file, requests.Moved(ref.open_id, path, parent, name))
        if entry.is_directory:
            for file in self._store.files_below(entry.share, entry.path):
                self._run(file, requests.Rebase(entry.share, entry.path, path))

    def open_paths_below(self, file: FileKey) -> bool:
        """See OpenTable.open_paths_below."""
        record = self._store.peek(file)
        if record is None:
            return False
        places = {(entry.share, entry.path) for entry in record.opens.values()}
        return any(self._store.files_below(share, path) for share, path in places)

    def check_stream_rename(self, ref: OpenRef, stream: str) -> Future[None]:
        """See OpenTable.check_stream_rename."""
        waiter_id = self._number()
        return self._start(ref.file, waiter_id, requests.RenameStream(waiter_id, ref.open_id, stream), _none)

    def stream_renamed(self, ref: OpenRef, stream: str) -> OpenRef:
        """See OpenTable.stream_renamed."""
        self._run(ref.file, requests.StreamMoved(ref.open_id, stream))
        entry = self._entry(ref)
        leased, durable = bool(entry.lease_key), bool(entry.durable or entry.persistent)
        self.retries.do(partial(self.indexes.enter, ref.file, entry, leased, durable))
        return OpenRef(ref.file, stream, ref.open_id)

    def _entry(self, ref: OpenRef) -> OpenEntry:
        record = self._store.peek(ref.file)
        entry = record.opens.get(ref.open_id) if record is not None else None
        if entry is None:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such open")
        return entry


def _none(result: Result | Encoded) -> None:
    return None


def _replacing(target: Replaced, posix: bool) -> tuple[FileKey, Make]:
    parent = target.parent
    link = (parent[0], parent[1], target.name) if parent is not None else NO_LINK
    return target.file, partial(_replace_of, link, posix)


def _replace_of(link: Link, posix: bool, waiter_id: int) -> requests.Replace:
    return requests.Replace(waiter_id, link, posix)


def _rename_of(open_id: int, waiter_id: int) -> requests.Rename:
    return requests.Rename(waiter_id, open_id)
