# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of ksmbd.control: aligned, cut, sorted, and harmless for a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ksmbd.ipc.activity import KINDS
from ksmbd.limits import CONNECTIONS
from mountd.console import status
from mountd.console.tables import cut, printable, table, width

FILE: dict[str, Any] = {
    "id": "0x1", "session": "0x2", "account": "ann", "address": "192.0.2.7", "share": "data", "path": "a/b.txt",
    "stream": "", "kind": "file", "access": "0x0012019f", "share_mode": "RD", "oplock": "none", "lease": "",
    "lease_key": "", "breaking": False, "durable": "", "delete_pending": False, "locks": 0, "worker": 1,
}  # fmt: skip
SESSION: dict[str, Any] = {
    "id": "0x01000001", "account": "ann", "domain": "", "guest": False, "address": "192.0.2.7", "dialect": "3.1.1",
    "cipher": "AES-128-GCM", "encrypted": False, "signing": "AES-128-GMAC", "signing_required": True,
    "channels": ["192.0.2.7", "192.0.2.8"], "tree_connects": 1, "opens": 3, "connected": 0.0, "idle": 75.5,
    "client_guid": "00", "worker": 1,
}  # fmt: skip
LOCK: dict[str, Any] = {
    "file": "0x1", "session": "0x2", "account": "ann", "share": "data", "path": "a", "offset": 1 << 62, "length": 1,
    "exclusive": True, "worker": 1,
}  # fmt: skip


def shown(kind: str, *rows: dict[str, Any], columns: int = 0) -> list[str]:
    lists, _ = status.collect([{kind: list(rows)}, {"silent": []}], [kind])
    return status.lines(lists, columns)


def test_the_samples_have_the_fields_of_the_rows() -> None:
    for kind, row in (("files", FILE), ("sessions", SESSION), ("locks", LOCK)):
        assert list(row) == list(KINDS[kind].__dataclass_fields__)


def test_the_manual_page_has_the_fields_of_the_rows() -> None:
    page = (Path(__file__).resolve().parents[3] / "man" / "ksmbd.control.8").read_text().replace("\\-", "-")
    json_part = page[page.index(".SH JSON") : page.index(".SH EXIT STATUS")]
    for kind, row in KINDS.items():
        told = json_part[json_part.index(f".B {kind}\n") :].partition(".TP")[0]
        assert set(row.__dataclass_fields__) - {"worker"} <= set(re.findall(r"\w+", told)), kind


def test_columns_are_aligned_and_rows_sorted() -> None:
    rows = ({**FILE, "path": "z"}, {**FILE, "id": "0x2222", "path": "A"}, {**FILE, "share": "Aaa"})
    assert shown("files", *rows) == [
        "FILE    ACCOUNT  SHARE  PATH     ACCESS  SHARING  CACHING  STATE  LOCKS",
        "0x1     ann      Aaa    a/b.txt  RW      RD       -        -      0",
        "0x2222  ann      data   A        RW      RD       -        -      0",
        "0x1     ann      data   z        RW      RD       -        -      0",
    ]


def test_what_a_file_is_cached_and_kept_as() -> None:
    rows = [
        {**FILE, "path": "1", "oplock": "lease", "lease": "RWH", "lease_key": "aa", "breaking": True},
        {**FILE, "path": "2", "oplock": "batch", "durable": "durable", "session": ""},
        {**FILE, "path": "3", "oplock": "lease", "lease_key": "aa", "delete_pending": True, "durable": "persistent"},
        {**FILE, "path": "4", "stream": "s", "access": "0x00110000"},
    ]
    lines = shown("files", *rows)
    assert "lease RWH breaking" in lines[1]
    assert "batch" in lines[2] and "durable, disconnected" in lines[2]
    assert "lease -" in lines[3] and "persistent, deleted at close" in lines[3]
    assert " 4:s " in lines[4] and " D " in lines[4]


def test_a_session_line() -> None:
    [head, line] = shown("sessions", SESSION)
    assert head.split() == [
        "SESSION", "ACCOUNT", "ADDRESS", "DIALECT", "CIPHER", "SIGNING", "CHANNELS", "FILES", "SINCE", "IDLE",
    ]  # fmt: skip
    words = line.split()
    assert words[:8] == ["0x01000001", "ann", "192.0.2.7", "3.1.1", "(AES-128-GCM)", "AES-128-GMAC", "2", "3"]
    assert words[-1] == "1m"
    assert "(anonymous)" in shown("sessions", {**SESSION, "account": ""})[1]
    assert "x (guest)" in shown("sessions", {**SESSION, "account": "x", "guest": True})[1]


def test_a_lock_line() -> None:
    assert shown("locks", LOCK)[1].split() == ["0x1", "ann", "data", "a", str(1 << 62), "1", "exclusive"]


def test_status_has_a_title_for_each_kind_and_its_number() -> None:
    answers: list[dict[str, Any]] = [{"sessions": [SESSION]}, {"files": [FILE, FILE]}, {"silent": [2]}]
    lists, silent = status.collect(answers, status.VIEWS["status"])
    lines = status.lines(lists, 0)
    assert silent == [2]
    assert lines[0] == "Sessions: 1"
    assert "Open files: 2" in lines and "Byte-range locks: 0" in lines and "Tree connects: 0" in lines


def test_of_the_limits_the_fullest_worker_is_shown() -> None:
    name = CONNECTIONS.name
    rows = [
        {"name": "opens", "used": 3, "most": 9, "unit": "opens", "worker": 1},
        {"name": name, "used": 5, "most": 256, "unit": "connections", "worker": 1},
        {"name": "opens", "used": 7, "most": 9, "unit": "opens", "worker": 2},
        {"name": name, "used": 6, "most": 256, "unit": "connections", "worker": 2},
    ]
    lines = shown("budgets", *rows)
    assert [line.split() for line in lines[1:]] == [["opens", "7", "9", "opens"], [name, "11", "256", "connections"]]
    assert json.loads(status.as_json({"budgets": rows}, []))["budgets"] == rows


def test_json_is_one_object_with_who_was_silent() -> None:
    lists, silent = status.collect([{"files": [FILE]}, {"silent": [1]}], ["files"])
    assert json.loads(status.as_json(lists, silent)) == {"files": [FILE], "silent": [1]}


def test_a_table_is_cut_to_the_terminal_and_its_widest_column_first() -> None:
    lines = shown("files", {**FILE, "path": "/".join(["folder"] * 40)}, columns=80)
    assert all(width(line) <= 80 for line in lines)
    assert lines[1].startswith("0x1   ann      data   folder") and "…" in lines[1]
    assert lines[1].endswith("-        -      0")


def test_no_name_of_a_client_reaches_the_terminal_raw() -> None:
    lines = shown("files", {**FILE, "path": "a\x1b]0;x\x07\n\u202eb", "account": "\x00"})
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 2


@given(st.text(max_size=40), st.integers(1, 60))
def test_cut_never_exceeds_its_columns(text: str, columns: int) -> None:
    text = printable(text)
    short = cut(text, columns)
    assert width(short) <= columns or short == "…"
    assert short == text or "…" in short


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5), st.integers(40, 100))
def test_a_table_has_a_line_for_each_row(rows: list[tuple[str, str]], columns: int) -> None:
    lines = table(["A", "B"], rows, columns)
    assert len(lines) == len(rows) + 1
    assert all(width(line) <= columns for line in lines)
