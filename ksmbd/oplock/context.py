# SPDX-License-Identifier: GPL-2.0-or-later
"""The context of one decision: the copy of the record that it changes, and the actions that it collects."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ksmbd.oplock.locks import LockOverlay, LockView
from ksmbd.oplock.record import Link, OpenEntry, Record, WorkerTag
from ksmbd.oplock.requests import Action, Refused
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.status import STATUS_FILE_CLOSED

WAIT: Final = None
"""The result of an operation that must wait for others first."""
GRANTED: Final = True
"""The result of an operation that succeeded and has nothing else to return."""


@dataclass(slots=True)
class Context:
    """The state of one decision. `now` is in monotonic seconds; `me` is the worker that asked."""

    record: Record
    locks_of: Callable[[str], LockView]
    now: float
    settings: OplockSettings
    me: WorkerTag
    actions: list[Action] = field(default_factory=list)
    doorbells: set[WorkerTag] = field(default_factory=set)
    overlays: dict[str, LockOverlay] = field(default_factory=dict)
    deadline: float = 0.0
    retry_needed: bool = False
    """Something has happened that waiting operations may have waited for, so they must be tried again."""
    gone: set[tuple[Link, str]] = field(default_factory=set)
    """(name, stream, '' = the whole file) that the workers delete because of this decision. It cannot be opened any
    longer."""

    def locks(self, stream: str) -> LockOverlay:
        """The stream's byte-range locks; the caller may read and change them."""
        overlay = self.overlays.get(stream)
        if overlay is None:
            overlay = self.overlays[stream] = LockOverlay(self.locks_of(stream))
        return overlay

    def entry(self, open_id: int) -> OpenEntry:
        """An open of this record. Raises Refused (STATUS_FILE_CLOSED) where there is none."""
        entry = self.record.opens.get(open_id)
        if entry is None:
            raise Refused(STATUS_FILE_CLOSED)
        return entry

    def emit(self, tag: WorkerTag, action: Action) -> None:
        """Give a worker an action: the asking worker at once, others through the record's outbox."""
        if tag == self.me:
            self.actions.append(action)
        else:
            item = (*tag, type(action).__name__, *action)
            # The outbox is bounded by opens, holders and waiters, because an action without fields is not repeated.
            if len(action) or item not in self.record.outbox:
                self.record.outbox.append(item)
            self.doorbells.add(tag)

    def wake_at(self, deadline: float) -> None:
        """Request Expire at this time (monotonic seconds) at the latest; 0 is ignored."""
        if deadline and (not self.deadline or deadline < self.deadline):
            self.deadline = deadline
