# SPDX-License-Identifier: GPL-2.0-or-later
"""One decision on its way: the copy of the record that it may change, and what it wants done."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ksmbd.oplock.locks import LockOverlay, LockView
from ksmbd.oplock.record import OpenEntry, Record, WorkerTag
from ksmbd.oplock.requests import Action, Refused
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.status import STATUS_FILE_CLOSED

WAIT: Final = None
"""An operation's answer when others must give way first."""
GRANTED: Final = True


@dataclass(slots=True)
class Context:
    """One decision on its way: the record's copy that it may change, and what it wants done."""

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
    """Something has happened that waiters may have waited for: they are tried again."""

    def locks(self, stream: str) -> LockOverlay:
        """The stream's locks, to be read and changed."""
        overlay = self.overlays.get(stream)
        if overlay is None:
            overlay = self.overlays[stream] = LockOverlay(self.locks_of(stream))
        return overlay

    def entry(self, open_id: int) -> OpenEntry:
        """An open of this record. Refused with FILE_CLOSED where there is none."""
        entry = self.record.opens.get(open_id)
        if entry is None:
            raise Refused(STATUS_FILE_CLOSED)
        return entry

    def emit(self, tag: WorkerTag, action: Action) -> None:
        """Have a worker do something: the one that asked now, others through the outbox."""
        if tag == self.me:
            self.actions.append(action)
        else:
            item = (*tag, type(action).__name__, *action)
            # No more of these than opens, holders and waiters, but for what says the same again.
            if len(action) or item not in self.record.outbox:
                self.record.outbox.append(item)
            self.doorbells.add(tag)

    def wake_at(self, deadline: float) -> None:
        """Ask for Expire at this time."""
        if deadline and (not self.deadline or deadline < self.deadline):
            self.deadline = deadline
