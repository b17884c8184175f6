# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is connected to the kernel's server, as far as it tells: the sessions that have tree connects, by mountd's own
records. It tells neither open files nor what was negotiated, and closes nothing for others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

from ksmbd.ipc.activity import KINDS, SessionRow, Target, TreeRow
from ksmbd.ipc.constants import TreeFlag
from ksmbd.overriding import override
from mountd.activity import Activity, NotRunning, OnClosed, OnRows
from mountd.config import Configuration
from mountd.questions import OnEnd, Questions
from mountd.sessions import Session, Sessions

KNOWN = ("sessions", "tree_connects")
"""The KINDS that can be listed."""


class Records(Protocol):
    """mountd's records: mountd.requests.Requests."""

    @property
    def configuration(self) -> Configuration: ...
    @property
    def sessions(self) -> Sessions: ...


class Driven(Protocol):
    """The engine: mountd.kernelserver.engine.KernelEngine."""

    @property
    def running(self) -> bool: ...
    @property
    def granted(self) -> Mapping[tuple[int, int], TreeFlag]: ...


class KernelActivity(Activity):
    """Lists from mountd's records."""

    def __init__(self, questions: Questions, engine: Driven, records: Records) -> None:
        super().__init__(questions)
        self._engine = engine
        self._records = records

    @override
    def list(self, kinds: Sequence[str], on_rows: OnRows, on_end: OnEnd) -> None:
        """List what is known of these KINDS. Raises ValueError where none of them is, NotRunning."""
        if not self._engine.running:
            raise NotRunning("the kernel's server does not run at present")
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"what can be listed is {', '.join(KINDS)}")
        if not set(kinds) & set(KNOWN):
            raise ValueError("the kernel's server does not tell open files, locks and budgets")
        for session_id, session in self._records.sessions.by_id():
            rows: dict[str, list[dict[str, object]]] = {}
            if "sessions" in kinds:
                rows["sessions"] = [asdict(_session(session_id, session))]
            if "tree_connects" in kinds:
                rows["tree_connects"] = [asdict(row) for row in self._trees(session_id, session)]
            on_rows(rows)
        on_end([])

    @override
    def close(self, target: Target, on_closed: OnClosed) -> None:
        """Raises ValueError."""
        raise ValueError("the kernel's server cannot close a part of what it serves; ksmbd.control -s ends all of it")

    def _trees(self, session_id: int, session: Session) -> Sequence[TreeRow]:
        shares = self._records.configuration.shares
        rows = []
        for number, key in session.trees.items():
            flags = self._engine.granted.get((session_id, number), TreeFlag(0))
            rows.append(
                TreeRow(
                    id=hex(number), session=hex(session_id), account=session.account, address=session.peer,
                    share=shares[key].name if key in shares else key, read_only=not flags & TreeFlag.WRITABLE,
                    admin=False, guest=bool(flags & TreeFlag.GUEST_ACCOUNT), encrypted=False, opens=0,
                    connected=session.started, worker=0,
                )
            )  # fmt: skip
        return rows


def _session(session_id: int, session: Session) -> SessionRow:
    return SessionRow(
        id=hex(session_id), account=session.account, domain="", guest=session.guest, address=session.peer, dialect="",
        cipher="", encrypted=False, signing="", signing_required=False, channels=[session.peer],
        tree_connects=len(session.trees), opens=0, connected=session.started,
        idle=max(time.time() - session.active, 0.0), client_guid="", worker=0,
    )  # fmt: skip
