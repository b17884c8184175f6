# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.control --status, --sessions, --files, --locks: who is connected and what is open, as tables or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from ksmbd.limits import CONNECTIONS
from mountd.console.tables import table, terminal_columns

Row = dict[str, Any]
Lists = dict[str, list[Row]]
"""Kind (ksmbd.ipc.activity.KINDS) -> rows."""

VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "status": ("sessions", "tree_connects", "files", "locks", "budgets"),
    "sessions": ("sessions",),
    "files": ("files",),
    "locks": ("locks",),
}
"""Option -> the kinds that it shows."""

_READ, _WRITE, _DELETE = 0x1, 0x6, 0x10000


class _View(NamedTuple):
    title: str
    columns: Mapping[str, Callable[[Row], str]]
    order: Callable[[Row], tuple[Any, ...]]


def collect(answers: Iterable[Mapping[str, Any]], kinds: Iterable[str]) -> tuple[Lists, list[int]]:
    """The rows of all answers, sorted, and the workers that were silent."""
    lists: Lists = {kind: [] for kind in kinds}
    silent: list[int] = []
    for answer in answers:
        silent += answer.get("silent", [])
        for kind, rows in lists.items():
            rows += answer.get(kind, [])
    for kind, rows in lists.items():
        rows.sort(key=_VIEWS[kind].order)
    return lists, silent


def as_json(lists: Lists, silent: list[int]) -> str:
    """One object: kind -> rows, and `silent`."""
    return json.dumps({**lists, "silent": silent}, indent=1)


def lines(lists: Lists, columns: int | None = None) -> list[str]:
    """The tables. `columns`: their width at most, 0: any; None: the terminal's."""
    most = terminal_columns() if columns is None else columns
    lists = {kind: _fullest(rows) if kind == "budgets" else rows for kind, rows in lists.items()}
    shown: list[str] = []
    for kind, rows in lists.items():
        view = _VIEWS[kind]
        if len(lists) > 1:
            shown += ["", f"{view.title}: {len(rows)}"] if kind != "budgets" else ["", view.title]
        if rows or len(lists) == 1:
            cells = [[text(row) for text in view.columns.values()] for row in rows]
            shown += table(list(view.columns), cells, most)
    return shown[1:] if len(lists) > 1 else shown


def _fullest(rows: list[Row]) -> list[Row]:
    """Of the budgets of all workers one row for each limit: the worker that is nearest to it; connections are limited
    in all workers together."""
    found: dict[str, Row] = {}
    for row in rows:
        known = found.get(row["name"])
        if known is None:
            found[row["name"]] = dict(row)
        elif row["name"] == CONNECTIONS.name:
            known["used"] += row["used"]
        elif row["used"] > known["used"]:
            known.update(row)
    return list(found.values())


# ------------------------------------------------------------------------------------------------------------- cells


def _account(row: Row) -> str:
    return (row["account"] or "(anonymous)") + (" (guest)" if row.get("guest") else "")


def _span(seconds: float) -> str:
    """A time span in one or two units: `12s`, `3m`, `4h05m`, `2d03h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def _rights(row: Row) -> str:
    mask = int(row["access"], 16)
    return "".join(letter for letter, bits in (("R", _READ), ("W", _WRITE), ("D", _DELETE)) if mask & bits) or "-"


def _path(row: Row) -> str:
    stream = row.get("stream")
    return (row["path"] or ".") + (f":{stream}" if stream else "")


def _caching(row: Row) -> str:
    text = f"lease {row['lease'] or 'none'}" if row["lease_key"] else row["oplock"]
    return text.replace("none", "-") + (" breaking" if row["breaking"] else "")


def _state(row: Row) -> str:
    kept = row["durable"] and (row["durable"] if row["session"] else f"{row['durable']}, disconnected")
    return ", ".join(filter(None, (kept, "deleted at close" if row["delete_pending"] else ""))) or "-"


def _when(holds: bool, text: str) -> str:
    """A text that holds, or in parentheses if the client alone decides about it."""
    return "-" if not text else text if holds else f"({text})"


def _tree_access(row: Row) -> str:
    words = ["read" if row["read_only"] else "write"]
    return ", ".join(words + [word for word in ("admin", "encrypted") if row[word]])


_VIEWS: Final[Mapping[str, _View]] = {
    "sessions": _View(
        "Sessions",
        {
            "SESSION": lambda row: str(row["id"]),
            "ACCOUNT": _account,
            "ADDRESS": lambda row: str(row["address"]),
            "DIALECT": lambda row: str(row["dialect"]),
            "CIPHER": lambda row: _when(row["encrypted"], row["cipher"]),
            "SIGNING": lambda row: _when(row["signing_required"], row["signing"]),
            "CHANNELS": lambda row: str(len(row["channels"])),
            "FILES": lambda row: str(row["opens"]),
            "SINCE": lambda row: _span(max(0.0, time.time() - row["connected"])),
            "IDLE": lambda row: _span(row["idle"]),
        },
        lambda row: (row["account"].casefold(), row["address"], row["id"]),
    ),
    "tree_connects": _View(
        "Tree connects",
        {
            "SHARE": lambda row: str(row["share"]),
            "ACCOUNT": _account,
            "ADDRESS": lambda row: str(row["address"]),
            "ACCESS": _tree_access,
            "FILES": lambda row: str(row["opens"]),
            "SINCE": lambda row: _span(max(0.0, time.time() - row["connected"])),
            "SESSION": lambda row: str(row["session"]),
        },
        lambda row: (row["share"].casefold(), row["account"].casefold(), row["address"], row["session"], row["id"]),
    ),
    "files": _View(
        "Open files",
        {
            "FILE": lambda row: str(row["id"]),
            "ACCOUNT": _account,
            "SHARE": lambda row: str(row["share"]),
            "PATH": _path,
            "ACCESS": _rights,
            "SHARING": lambda row: str(row["share_mode"]) or "-",
            "CACHING": _caching,
            "STATE": _state,
            "LOCKS": lambda row: str(row["locks"]),
        },
        lambda row: (row["share"].casefold(), row["path"].casefold(), row["path"], row["stream"], row["id"]),
    ),
    "locks": _View(
        "Byte-range locks",
        {
            "FILE": lambda row: str(row["file"]),
            "ACCOUNT": _account,
            "SHARE": lambda row: str(row["share"]),
            "PATH": _path,
            "OFFSET": lambda row: str(row["offset"]),
            "LENGTH": lambda row: str(row["length"]),
            "KIND": lambda row: "exclusive" if row["exclusive"] else "shared",
        },
        lambda row: (row["share"].casefold(), row["path"].casefold(), row["path"], row["offset"], row["file"]),
    ),
    "budgets": _View(
        "Limits in use (of the worker that is nearest to each)",
        {
            "LIMIT": lambda row: str(row["name"]),
            "USED": lambda row: str(row["used"]),
            "OF": lambda row: f"{row['most']} {row['unit']}",
        },
        lambda row: (),
    ),
}
