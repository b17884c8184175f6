# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of one CREATE of a file as a transition table (MS-SMB2 3.3.5.9, "Open Execution" and what follows).

    DECODED -OPENED-> OPENED -GRANTED-> GRANTED -EMPTIED-> EMPTIED -REGISTERED-> REGISTERED -ANSWERED-> ANSWERED
    any of them but the last -FAIL-> UNDONE

Rules:

1. A file is first opened without being truncated. The open table decides, and may wait for oplock and lease breaks.
   Only then is the file truncated. So a client that is refused, or goes away while it waits, has changed nothing.
2. FAIL undoes the steps that were made, in the order of WAY_BACK[state]. An error, a CANCEL and the end of the
   connection are handled alike.
3. A pair that is not in TRANSITIONS is a programming error and raises KeyError.
"""
from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from ksmbd.smb.constants import (
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_OPENED,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_OVERWRITTEN,
    FILE_SUPERSEDE,
    FILE_SUPERSEDED,
)
from ksmbd.smb.model import Open, Server
from ksmbd.smb.ports import CreateIntent, File, FileInfo, LocalOpen, OpenGrant, OpenRef, OpenRequest, Volume
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


class CreateState(Enum):
    """The steps that are done."""

    # By identity, as they compare: Enum's own hash is a call into Python, and every CREATE makes ten of them.
    __hash__ = object.__hash__

    DECODED = "the request is understood"
    OPENED = "the file is open, perhaps made, not emptied"
    GRANTED = "the open is in the open table"
    EMPTIED = "an existing file is emptied, where the disposition says so"
    REGISTERED = "the Open is in the session's and the server's tables"
    ANSWERED = "the reply is made"
    UNDONE = "all taken back"


class CreateInput(Enum):
    """The events that lead to the next step."""

    # By identity, as they compare: Enum's own hash is a call into Python, and every CREATE makes ten of them.
    __hash__ = object.__hash__

    OPENED = "Volume.create returned a file"
    GRANTED = "OpenTable.open granted the open"
    EMPTIED = "File.overwrite is done, or not called for"
    REGISTERED = "the tables have the Open"
    ANSWERED = "the reply is made"
    FAIL = "an error, a CANCEL, the connection's end"


class Undo(Enum):
    """One step to undo."""

    UNREGISTER = "take the Open out of the tables"
    TABLE_CLOSE = "take the open out of the open table"
    UNDO_CREATE = "remove the file, if this CREATE made it"
    CLOSE_FILE = "close the file"


_S, _I = CreateState, CreateInput
_OPENED, _GRANTED, _EMPTIED, _REGISTERED, _ANSWERED = _I.OPENED, _I.GRANTED, _I.EMPTIED, _I.REGISTERED, _I.ANSWERED

TRANSITIONS: Final[dict[tuple[CreateState, CreateInput], CreateState]] = {
    (_S.DECODED, _I.OPENED): _S.OPENED,
    (_S.OPENED, _I.GRANTED): _S.GRANTED,
    (_S.GRANTED, _I.EMPTIED): _S.EMPTIED,
    (_S.EMPTIED, _I.REGISTERED): _S.REGISTERED,
    (_S.REGISTERED, _I.ANSWERED): _S.ANSWERED,
    (_S.DECODED, _I.FAIL): _S.UNDONE,
    (_S.OPENED, _I.FAIL): _S.UNDONE,
    (_S.GRANTED, _I.FAIL): _S.UNDONE,
    (_S.EMPTIED, _I.FAIL): _S.UNDONE,
    (_S.REGISTERED, _I.FAIL): _S.UNDONE,
}

WAY_BACK: Final[dict[CreateState, tuple[Undo, ...]]] = {
    _S.DECODED: (),
    _S.OPENED: (Undo.UNDO_CREATE, Undo.CLOSE_FILE),
    _S.GRANTED: (Undo.TABLE_CLOSE, Undo.UNDO_CREATE, Undo.CLOSE_FILE),
    _S.EMPTIED: (Undo.TABLE_CLOSE, Undo.UNDO_CREATE, Undo.CLOSE_FILE),
    _S.REGISTERED: (Undo.UNREGISTER, Undo.TABLE_CLOSE, Undo.UNDO_CREATE, Undo.CLOSE_FILE),
}



def _on(event: CreateInput) -> dict[CreateState, CreateState]:
    """The transitions of one event: a look-up by the state alone takes a third of the time."""
    return {state: after for (state, of), after in TRANSITIONS.items() if of is event}


_ON_OPENED: Final = _on(_OPENED)
_ON_GRANTED: Final = _on(_GRANTED)
_ON_EMPTIED: Final = _on(_EMPTIED)
_ON_REGISTERED: Final = _on(_REGISTERED)
_ON_ANSWERED: Final = _on(_ANSWERED)
_EMPTYING: Final = frozenset((FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF))


class Creation:
    """One CREATE and the resources that it holds so far."""

    __slots__ = ("server", "state", "file", "action", "granted_access", "ref", "open", "options", "info", "local",
                 "deletable")  # fmt: skip

    def __init__(self, server: Server, options: int) -> None:
        self.server = server
        self.options = options
        self.state = CreateState.DECODED
        self.file: File | None = None
        self.action = FILE_OPENED
        self.granted_access = 0
        self.ref: OpenRef | None = None
        self.open: Open | None = None
        self.info: FileInfo | None = None
        """The metadata of the file, None where it may have changed since."""
        self.deletable = False
        self.local: LocalOpen | None = None

    def open_file(self, volume: Volume, intent: CreateIntent) -> File:
        """DECODED -> OPENED: resolve the name and open the file, without truncating it. Raises what Volume.create
        raises."""
        opened = volume.create(intent)
        file = self.file = opened.file
        self.action = opened.action
        self.granted_access = opened.granted_access
        self.info = opened.info
        self.deletable = opened.deletable
        self.local = opened.local
        self.state = _ON_OPENED[self.state]
        return file

    def ask(self, request: OpenRequest) -> Future[OpenGrant]:
        """In OPENED: request the open from the open table. The caller calls `granted` once the Future is complete."""
        assert self.state is _S.OPENED
        self.ref = request.ref
        return self.server.table.open(request)

    @property
    def is_gone(self) -> bool:
        """Whether the existing file that was opened has been deleted since: its name is free, or another file's."""
        if self.file is None or self.action == FILE_CREATED:
            return False
        return self.file.info().number_of_links == 0

    def granted(self) -> None:
        """OPENED -> GRANTED."""
        self.state = _ON_GRANTED[self.state]

    def empty(self, intent: CreateIntent) -> None:
        """GRANTED -> EMPTIED: truncate an existing file if the disposition demands it (MS-FSA 2.1.5.1.2.1)."""
        disposition = intent.disposition
        if self.action == FILE_OPENED and disposition in _EMPTYING:
            assert self.file is not None
            self.info = None
            supersede = disposition == FILE_SUPERSEDE
            self.file.overwrite(
                intent.attributes, supersede, intent.extended_attributes, intent.allocation_size
            )
            self.action = FILE_SUPERSEDED if supersede else FILE_OVERWRITTEN
        self.state = _ON_EMPTIED[self.state]

    def register(self, open_: Open) -> None:
        """EMPTIED -> REGISTERED: enter the Open into Session.OpenTable and GlobalOpenTable."""
        assert open_.session is not None
        self.open = open_
        open_.session.opens[open_.volatile_id] = open_
        self.server.opens[open_.persistent_id] = open_
        self.state = _ON_REGISTERED[self.state]

    def answered(self) -> None:
        """REGISTERED -> ANSWERED."""
        self.state = _ON_ANSWERED[self.state]

    def fail(self) -> None:
        """Undo the steps that were made. An NtStatusError in one of them does not stop the others."""
        steps = WAY_BACK[self.state]
        self.state = TRANSITIONS[self.state, CreateInput.FAIL]
        for step in steps:
            try:
                _UNDO[step](self)
            except NtStatusError:
                # The client gets the status of the first failure; a file that cannot be removed stays on the disk.
                continue

    def _unregister(self) -> None:
        open_ = self.open
        assert open_ is not None and open_.session is not None
        open_.closed = True
        open_.session.opens.pop(open_.volatile_id, None)
        self.server.opens.pop(open_.persistent_id, None)

    def _table_close(self) -> None:
        assert self.ref is not None and self.file is not None
        outcome = self.server.table.close(self.ref)
        # A failed open does not delete by its own FILE_DELETE_ON_CLOSE, only where another open asked for it.
        if outcome.delete and self.action != FILE_CREATED and not self.options & FILE_DELETE_ON_CLOSE:
            self.file.unlink()

    def _undo_create(self) -> None:
        assert self.file is not None
        if self.action == FILE_CREATED:
            self.file.undo_create()

    def _close_file(self) -> None:
        assert self.file is not None
        self.file.close()


_UNDO: Final[dict[Undo, Callable[[Creation], None]]] = {
    Undo.UNREGISTER: Creation._unregister,
    Undo.TABLE_CLOSE: Creation._table_close,
    Undo.UNDO_CREATE: Creation._undo_create,
    Undo.CLOSE_FILE: Creation._close_file,
}
