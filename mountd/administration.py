# SPDX-License-Identifier: GPL-2.0-or-later
"""What administrators ask over RPC (MS-SRVS 3.1.4): who is connected, what is open, to close it, and other shares.

The questions come from the process of the RPC services, which is not trusted: whether their caller is an administrator
was decided here when the pipe was opened (mountd.rpc.telling.level_of), and the acts are few.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ksmbd import limits, log
from ksmbd.ipc.activity import Target
from mountd.activity import Activity, NotRunning
from mountd.console.closing import told
from mountd.rpc.names import ROWS, Found, Outcome, Question, Rows
from mountd.rpc.rows import RowInfo, file_number, row_of
from mountd.rpc.service import Win32
from mountd.shareacts import ShareActs, text_of

Then = Callable[[Found], None]


class Administration:
    """Answers the questions of administrators: mountd.rpc.host.Administrator."""

    def __init__(self, activity: Activity, shares: ShareActs | None = None) -> None:
        self._activity = activity
        self._shares = shares

    def answer(self, question: Question, account: str, then: Then) -> None:
        """Call `then` with the answer, now or later; None where the engine cannot be asked. Raises ValueError where the
        question is none. `account` asks it."""
        try:
            if question.kind == ROWS:
                self._rows(question.value, lambda rows: then(Rows(tuple(rows))))
            else:
                self._act(question.value, account, lambda code: then(Outcome(int(code))))
        except NotRunning:
            then(None)

    def _rows(self, kind: str, then: Callable[[list[RowInfo]], None]) -> None:
        rows: list[RowInfo] = []

        def take(part: Mapping[str, Any]) -> None:
            room = limits.RPC_ROWS.value - len(rows)
            rows.extend(row_of(kind, row) for row in part.get(kind, ())[:room])

        self._activity.list([kind], take, lambda silent: then(sorted(rows, key=_order)))

    def _act(self, text: str, account: str, then: Callable[[int], None]) -> None:
        what: Any = json.loads(text)
        if not isinstance(what, dict):
            raise ValueError("an act is an object")
        match what.get("do"):
            case "close sessions":
                address, user = text_of(what, "address"), text_of(what, "account")
                target = Target(address=address, account=user)
                self._close(target, account, Win32.NERR_CLIENT_NAME_NOT_FOUND, then)
            case "close file":
                self._close_file(_number(what, "number"), account, then)
            case _:
                if self._shares is None:
                    raise ValueError("no shares to act on")
                self._shares.act(what, account, then)

    def _close_file(self, number: int, account: str, then: Callable[[int], None]) -> None:
        """Close the open with this number (file_number). Where two opens share it, neither is closed."""

        def listed(rows: list[RowInfo]) -> None:
            found = [row.id for row in rows if file_number(row.id) == number]
            if len(found) != 1:
                then(Win32.NERR_FILE_ID_NOT_FOUND)
                return
            try:
                self._close(Target(file=found[0]), account, Win32.NERR_FILE_ID_NOT_FOUND, then)
            except NotRunning:
                then(Win32.NERR_FILE_ID_NOT_FOUND)

        self._rows("files", listed)

    def _close(self, target: Target, account: str, nothing: Win32, then: Callable[[int], None]) -> None:
        def done(closed: Counter[str], silent: list[int]) -> None:
            if closed:
                named = ", ".join(f"{name} {value}" for name, value in vars(target).items() if value)
                log.info(f"closed over RPC by {account!r} ({named}): {told(closed)}")
            then(Win32.SUCCESS if closed.total() else nothing)

        self._activity.close(target, done)


def _order(row: RowInfo) -> tuple[int, RowInfo]:
    """The same for each page of an enumeration."""
    return int(row.id, 16), row


def _number(what: Mapping[str, Any], name: str) -> int:
    value = what.get(name)
    if not isinstance(value, int):
        raise ValueError(f"an act without {name}")
    return value
