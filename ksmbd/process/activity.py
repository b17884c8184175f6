# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists who is connected to this worker, and what is open (ksmbd.ipc.activity).

A worker may have thousands of opens, so an answer is made in time slices (ksmbd.smb.scheduler) and sent in parts; while
mountd has not read the earlier parts, no more are made. What ends meanwhile is left out, what begins may be.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, Protocol

from ksmbd.ipc.activity import BudgetRow, FileRow, LockRow, Row, SessionRow, TreeRow
from ksmbd.oplock import report
from ksmbd.oplock.record import OpenEntry
from ksmbd.oplock.store import Store
from ksmbd.smb import constants as c
from ksmbd.smb.model import Connection, Open, Server, Session, TreeConnect
from ksmbd.smb.ports import Identity, OpenRef, Transport
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import pause

PART: Final = 16 << 10
"""A part is sent when it has so many characters; one row more may follow."""
STEP: Final = 32
"""Rows that are made at most before others are served: fewer than a time slice has room for, because a list is long and
nobody should feel it."""
PATH_MAX: Final = 4096
"""Characters of a path that are told."""
RETRY: Final = 0.005
"""Seconds until an answer goes on for which mountd had no room."""
CIPHERS: Final = {
    c.CIPHER_AES128_CCM: "AES-128-CCM", c.CIPHER_AES128_GCM: "AES-128-GCM", c.CIPHER_AES256_CCM: "AES-256-CCM",
    c.CIPHER_AES256_GCM: "AES-256-GCM",
}  # fmt: skip
_SIGNING: Final = {
    c.SIGNING_HMAC_SHA256: "HMAC-SHA256", c.SIGNING_AES_CMAC: "AES-128-CMAC", c.SIGNING_AES_GMAC: "AES-128-GMAC",
}  # fmt: skip
_SHARE_MODE: Final = (("R", c.FILE_SHARE_READ), ("W", c.FILE_SHARE_WRITE), ("D", c.FILE_SHARE_DELETE))
Kept = tuple[OpenRef, OpenEntry]


class Answering(Protocol):
    """The answer to one question: ksmbd.ipc.answering.Answering."""

    @property
    def congested(self) -> bool: ...

    def part(self, text: str) -> None: ...

    def end(self) -> None: ...


class Activity:
    """The sessions, tree connects, opens, locks and used limits of a worker."""

    def __init__(
        self,
        server: Server,
        store: Store,
        worker: int,
        last_received: Callable[[Transport], float],
        budgets: Callable[[], Iterable[tuple[str, int, int, str]]] = tuple,
        kept: Callable[[], Iterator[Kept | None]] | None = None,
    ) -> None:
        """`last_received`: when a client was last heard, in seconds of the monotonic clock. `budgets`: (name, used,
        most, unit) of limits. `kept`: the opens in the table that wait for disconnected clients, None where all of them
        are Opens of the server, too."""
        self.kept = kept
        self._server = server
        self._store = store
        self._worker = worker
        self._last_received = last_received
        self._budgets = budgets

    async def list(self, kinds: Sequence[str], answering: Answering) -> None:
        """Answer with the rows of these kinds."""
        time_slice = self._server.scheduler.time_slice(answering)
        for kind in kinds:
            rows: list[str] = []
            size = 0
            for number, row in enumerate(self._rows(kind), 1):
                if row is not None:
                    text = json.dumps(vars(row))
                    rows.append(text)
                    size += len(text)
                if size >= PART:
                    answering.part(_part(kind, rows))
                    rows, size = [], 0
                    while answering.congested:
                        await pause(self._server.clock, RETRY)
                if not number % STEP or time_slice.is_over():
                    await time_slice.renew()
            if rows:
                answering.part(_part(kind, rows))
        answering.end()

    def _rows(self, kind: str) -> Iterator[Row | None]:
        """The rows of a kind; None for what has none, so that its time counts, too."""
        match kind:
            case "sessions":
                return map(self._session, list(self._server.sessions.values()))
            case "tree_connects":
                sessions = list(self._server.sessions.values())
                return (self._tree(tree) for session in sessions for tree in list(session.tree_connects.values()))
            case "files":
                return chain(map(self._file, list(self._server.opens.values())), self._kept_files())
            case "locks":
                return (row for open_ in list(self._server.opens.values()) for row in self._locks(open_))
        return (BudgetRow(*budget, worker=self._worker) for budget in self._budgets())

    # -------------------------------------------------------------------------------------------------------- rows

    def _session(self, session: Session) -> SessionRow | None:
        identity = session.identity
        if identity is None or session.state in (SessionState.IN_PROGRESS, SessionState.DELETED):
            return None
        clock = self._server.clock
        heard = [self._last_received(connection.transport) for connection in session.channels]
        return SessionRow(
            id=session_id(session),
            account=identity.account,
            domain=identity.domain,
            guest=identity.is_guest,
            address=_address(session),
            dialect=c.DIALECT_NAMES.get(session.dialect, hex(session.dialect)),
            cipher=CIPHERS.get(_cipher(session), "") if session.sealer is not None else "",
            encrypted=session.encrypt_data,
            signing=_SIGNING.get(session.signing_algorithm, "") if session.signer is not None else "",
            signing_required=session.signing_required,
            channels=[connection.transport.peer for connection in session.channels],
            tree_connects=len(session.tree_connects),
            opens=len(session.opens),
            connected=seconds_of(session.creation_time),
            idle=max(0.0, round(clock.monotonic() - max(heard, default=clock.monotonic()), 1)),
            client_guid=session.client_guid.hex(),
            worker=self._worker,
        )

    def _tree(self, tree: TreeConnect) -> TreeRow | None:
        session = tree.session
        if tree.closed or session.identity is None:
            return None
        return TreeRow(
            id=f"{tree.tree_id:#x}",
            session=session_id(session),
            account=session.identity.account,
            address=_address(session),
            share=tree.share.name,
            read_only=tree.read_only,
            admin=tree.is_admin,
            guest=tree.is_guest or session.identity.is_guest,
            encrypted=tree.encrypt_data or session.encrypt_data,
            opens=sum(1 for _ in tree.opens),
            connected=seconds_of(tree.creation_time),
            worker=self._worker,
        )

    def _file(self, open_: Open) -> FileRow | None:
        if open_.closed:
            return None
        file, session = open_.file, open_.session
        state = None
        if open_.ref is not None:
            try:
                state = report.report(self._store, open_.ref)
            except NtStatusError:
                state = None  # the table is full or gone; the open is told of nevertheless
        who = identity_of(open_)
        return FileRow(
            id=open_id(open_),
            session=session_id(session) if session is not None else "",
            account=who.account if who is not None else "",
            address=_address(session) if session is not None else who.address if who is not None else "",
            share=share_of(open_, state),
            path=path_of(open_),
            stream=file.stream_name if file is not None else "",
            kind="pipe" if file is None else "directory" if file.is_directory else "file",
            access=f"{open_.granted_access:#010x}",
            share_mode=_share_mode(open_.share_access),
            oplock=c.OPLOCK_NAMES.get(open_.oplock_level, "none") if file is not None else "none",
            lease=report.caching_text(state.caching) if state is not None and state.is_lease else "",
            lease_key=state.lease_key.hex() if state is not None else "",
            breaking=state is not None and state.breaking,
            durable=(
                "persistent" if open_.is_persistent else "resilient" if open_.is_resilient
                else "durable" if open_.is_durable else ""
            ),
            delete_pending=state is not None and state.delete_pending,
            locks=state.locks if state is not None else 0,
            worker=self._worker,
        )

    def _kept_files(self) -> Iterator[FileRow | None]:
        """The persistent opens of an earlier server whose clients have not come back: the open table alone has them."""
        for found in self.kept() if self.kept is not None else ():
            if found is None or found[1].open_id in self._server.opens:
                yield None
                continue
            ref, entry = found
            state = report.report(self._store, ref)
            yield FileRow(
                id=f"{entry.open_id:#x}",
                session="",
                account=account_of(entry),
                address="",
                share=entry.share,
                path=slashed(entry.path)[:PATH_MAX],
                stream=entry.stream,
                kind="directory" if entry.is_directory else "file",
                access=f"{entry.access:#010x}",
                share_mode=_share_mode(entry.share_access),
                oplock="lease" if entry.lease_key else "batch" if state is not None and state.caching else "none",
                lease=report.caching_text(state.caching) if state is not None and state.is_lease else "",
                lease_key=entry.lease_key.hex(),
                breaking=state is not None and state.breaking,
                durable="persistent" if entry.persistent else "durable",
                delete_pending=state is not None and state.delete_pending,
                locks=state.locks if state is not None else 0,
                worker=self._worker,
            )

    def _locks(self, open_: Open) -> Iterator[LockRow | None]:
        yield None
        if open_.closed or open_.ref is None or open_.file is None:
            return
        try:
            state = report.report(self._store, open_.ref)
            locks = report.locks_of(self._store, open_.ref) if state is not None and state.locks else []
        except NtStatusError:
            return
        session, who = open_.session, identity_of(open_)
        for lock in locks:
            yield LockRow(
                file=open_id(open_),
                session=session_id(session) if session is not None else "",
                account=who.account if who is not None else "",
                share=share_of(open_, state),
                path=path_of(open_),
                offset=lock.first,
                length=lock.last - lock.first + 1,
                exclusive=lock.exclusive,
                worker=self._worker,
            )


def _share_mode(share_access: int) -> str:
    return "".join(letter for letter, bit in _SHARE_MODE if share_access & bit)


def _part(kind: str, rows: list[str]) -> str:
    return f'{{"{kind}": [{", ".join(rows)}]}}'


def session_id(session: Session) -> str:
    """A SessionId as text."""
    return f"{session.session_id:#010x}"


def open_id(open_: Open) -> str:
    """The id of an open as text: the persistent half of its FileId."""
    return f"{open_.persistent_id:#x}"


def identity_of(open_: Open) -> Identity | None:
    """Whose open it is, also while its client is disconnected."""
    return open_.session.identity if open_.session is not None else open_.made_by


def account_of(entry: OpenEntry) -> str:
    """The account whose open it is, in lower case (ksmbd.smb.durable.owner_of)."""
    return entry.owner.rpartition("\0")[2]


def slashed(path: str) -> str:
    """A path below a share with `/` between its components."""
    return path.replace("\\", "/")


def path_of(open_: Open) -> str:
    """The path below the share with `/`, or the name of a pipe."""
    return slashed(open_.file.path)[:PATH_MAX] if open_.file is not None else open_.pipe_name


def share_of(open_: Open, state: report.OpenReport | None) -> str:
    """The name of its share, also while its client is disconnected."""
    return open_.tree.share.name if open_.tree is not None else state.share if state is not None else ""


def seconds_of(filetime: int) -> float:
    """A FILETIME (MS-DTYP 2.3.3) in seconds since 1970, with three decimals."""
    return round((filetime - c.FILETIME_UNIX_EPOCH) / 10_000_000, 3)


def _address(session: Session) -> str:
    return next((connection.transport.peer for connection in session.channels), "")


def _cipher(session: Session) -> int:
    connection: Connection | None = next(iter(session.channels), None)
    return session.cipher or (connection.cipher if connection is not None else 0)
