# SPDX-License-Identifier: GPL-2.0-or-later
"""One CREATE of a file, step by step, as one table (MS-SMB2 3.3.5.9, "Open Execution" and what follows).

    DECODED -OPENED-> OPENED -GRANTED-> GRANTED -EMPTIED-> EMPTIED -REGISTERED-> REGISTERED -ANSWERED-> ANSWERED
    any of them but the last -FAIL-> UNDONE

Rules:
1. A file is opened without being truncated; the open table decides (and may wait for others' caches); only then is the
   file emptied. So a client that is refused, or goes away while it waits, has changed nothing.
2. What a step has made is taken back by FAIL in the order of WAY_BACK[state]: an error, a CANCEL and a connection that
   ends take the same way.
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
    """What there is so far."""

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
    """What moves a CREATE on."""

    # By identity, as they compare: Enum's own hash is a call into Python, and every CREATE makes ten of them.
    __hash__ = object.__hash__

    OPENED = "Volume.create returned a file"
    GRANTED = "OpenTable.open granted the open"
    EMPTIED = "File.overwrite is done, or not called for"
    REGISTERED = "the tables have the Open"
    ANSWERED = "the reply is made"
    FAIL = "an error, a CANCEL, the connection's end"


class Undo(Enum):
    """One thing to take back."""

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

_EMPTYING: Final = frozenset((FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF))


class Creation:
    """One CREATE on its way through the table."""

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
        """What the file is like, as long as nothing can have changed that."""
        self.deletable = False
        self.local: LocalOpen | None = None

    def open_file(self, volume: Volume, intent: CreateIntent) -> File:
        """DECODED -> OPENED: resolve and open, without truncating."""
        opened = volume.create(intent)
        file = self.file = opened.file
        self.action = opened.action
        self.granted_access = opened.granted_access
        self.info = opened.info
        self.deletable = opened.deletable
        self.local = opened.local
        self.state = TRANSITIONS[self.state, _OPENED]
        return file

    def ask(self, request: OpenRequest) -> Future[OpenGrant]:
        """In OPENED: the open table's decision. Its owner calls `granted` once it is there."""
        assert self.state is _S.OPENED
        self.ref = request.ref
        return self.server.table.open(request)

    def granted(self) -> None:
        """OPENED -> GRANTED."""
        self.state = TRANSITIONS[self.state, _GRANTED]

    def empty(self, intent: CreateIntent) -> None:
        """GRANTED -> EMPTIED: truncate an existing file where the disposition says so (MS-FSA 2.1.5.1.2.1)."""
        disposition = intent.disposition
        if self.action == FILE_OPENED and disposition in _EMPTYING:
            assert self.file is not None
            self.info = None
            supersede = disposition == FILE_SUPERSEDE
            self.file.overwrite(
                intent.attributes, supersede, intent.extended_attributes, intent.allocation_size
            )
            self.action = FILE_SUPERSEDED if supersede else FILE_OVERWRITTEN
        self.state = TRANSITIONS[self.state, _EMPTIED]

    def register(self, open_: Open) -> None:
        """EMPTIED -> REGISTERED: into Session.OpenTable and GlobalOpenTable."""
        assert open_.session is not None
        self.open = open_
        open_.session.opens[open_.volatile_id] = open_
        self.server.opens[open_.persistent_id] = open_
        self.state = TRANSITIONS[self.state, _REGISTERED]

    def answered(self) -> None:
        """REGISTERED -> ANSWERED."""
        self.state = TRANSITIONS[self.state, _ANSWERED]

    def fail(self) -> None:
        """Take back what was made. A step back that fails itself does not stop the others."""
        steps = WAY_BACK[self.state]
        self.state = TRANSITIONS[self.state, CreateInput.FAIL]
        for step in steps:
            try:
                _UNDO[step](self)
            except NtStatusError:
                # The client hears of the first failure; what could not be removed stays on the disk.
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
        # An open that fails does not delete by its own FILE_DELETE_ON_CLOSE, only for what somebody else has asked.
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
