# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters, lines, JSON, the table of --summary, and files of keys."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path

import pytest
from conversation import CLIENT, FILE_ID, SERVER
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_SUCCESS
from mountd.trace import choose, keys, lines
from mountd.trace.choose import Choice
from mountd.trace.exchange import Command
from mountd.trace.keys import KeyRing, Keys
from mountd.trace.known import KNOWN_MAX, Known
from mountd.trace.summary import Row, Summary

NOW = 1_700_000_000_123_456_789


def command(name: str = "READ", *, us: float = 250.0, status: int | None = STATUS_SUCCESS, size: int = 4096) -> Command:
    made = Command(
        begun=NOW, client=CLIENT, server=SERVER, command=name, session=0x10, tree=5, message=77, user="DOM\\alice",
        share="Docs", name="Dir\\a[1].TXT",
    )  # fmt: skip
    made.status, made.size, made.file_id = status, size, FILE_ID
    made.ended = 0 if status is None else NOW + int(us * 1000)
    return made


@pytest.mark.parametrize(("choice", "taken"), [
    (Choice(), True),
    (Choice(clients=(ipaddress.ip_network("192.0.2.0/24"),)), True),
    (Choice(clients=(ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_network("192.0.2.8"))), False),
    (Choice(users=frozenset({"alice"})), True),
    (Choice(users=frozenset({"dom"})), False),
    (Choice(shares=frozenset({"docs"})), True),
    (Choice(shares=frozenset({"doc"})), False),
    (Choice(paths=(choose.path_pattern("/dir/*.txt"),)), True),
    (Choice(paths=(choose.path_pattern("*.doc"),)), False),
    (Choice(commands=frozenset({"READ"})), True),
    (Choice(commands=frozenset({"WRITE"})), False),
    (Choice(statuses=frozenset({"error"})), False),
    (Choice(statuses=frozenset({"STATUS_SUCCESS"})), True),
    (Choice(slower_us=250.0), True),
    (Choice(slower_us=251.0), False),
])  # fmt: skip
def test_a_filter_takes_what_agrees_with_it(choice: Choice, taken: bool) -> None:
    assert choice.takes(command()) is taken


def test_errors_are_all_but_success_and_steps() -> None:
    errors = Choice(statuses=frozenset({"error"}))
    assert errors.takes(command(status=STATUS_ACCESS_DENIED))
    assert not errors.takes(command(status=None))
    assert not errors.takes(command(status=0xC0000016))


def test_names_are_read_in_the_ways_that_people_write_them() -> None:
    assert {choose.command_name(text) for text in ("create", "SMB2_CREATE", "Create")} == {"CREATE"}
    assert [choose.status_name(text) for text in ("access_denied", "NT_STATUS_ACCESS_DENIED", "Error")] == [
        "STATUS_ACCESS_DENIED", "STATUS_ACCESS_DENIED", "error",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"'creat' is no command: negotiate, "):
        choose.command_name("creat")


def test_the_line_for_people() -> None:
    text = lines.as_text(command(size=3 << 20, us=1500.0))
    assert text.split("  ", 1)[1] == (
        "192.0.2.7:50000  DOM\\alice  Docs  READ              Dir\\a[1].TXT  3 MiB  1.5 ms"
    )
    refused = command("CREATE", status=STATUS_ACCESS_DENIED)
    refused.name, refused.size, refused.sealed, refused.compound = "a\x1b[2Jb", None, True, 2
    text = lines.as_text(refused, tree=True)
    assert "+- CREATE" in text and "\x1b" not in text and text.endswith("STATUS_ACCESS_DENIED  250 us  sealed")


def test_the_object_for_programs() -> None:
    told = json.loads(lines.as_json(command()))
    assert told["time"] == "2023-11-14T22:13:20.123456Z"
    assert (told["client"], told["user"], told["share"], told["command"]) == (
        "192.0.2.7:50000", "DOM\\alice", "Docs", "READ",
    )  # fmt: skip
    assert (told["status"], told["size"], told["latency_us"]) == ("STATUS_SUCCESS", 4096, 250.0)
    assert told["session"] == "0x10"
    unanswered = json.loads(lines.as_json(command(status=None)))
    assert (unanswered["status"], unanswered["latency_us"]) == (None, None)


def test_bytes_are_shown_as_digits_and_characters() -> None:
    shown = list(lines.hex_lines("request", b"\xfeSMB" + bytes(14)))
    assert shown[0].strip() == "request, 18 bytes"
    assert shown[1].startswith("    000000  fe 53 4d 42 00") and shown[1].endswith(".SMB............")
    assert shown[2].startswith("    000010  00 00 ") and list(lines.hex_lines("reply", b"")) == []


@given(st.lists(st.floats(0.5, 1e7), min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_percentiles_are_right_to_a_sixteenth(values: list[float], percent: int) -> None:
    row = Row()
    for us in values:
        made = command()
        made.ended = made.begun + round(us * 1000)
        row.add(made)
    exact = sorted(max(round(us * 1000), 1) / 1000 for us in values)[-(-len(values) * percent // 100) - 1]
    told = row.percentile(percent)
    assert told is not None and max(exact, 1.0) / 1.07 <= max(told, 1.0) <= max(exact, 1.0) * 1.07


def test_the_table_counts_what_was_done() -> None:
    summary = Summary()
    refused, lost = command("CREATE", status=STATUS_ACCESS_DENIED), command("ECHO", status=None)
    for made in (command(), command(size=100), refused, lost):
        summary.add(made)
    rows = {row["command"]: row for row in summary.objects()}
    assert (rows["READ"]["count"], rows["READ"]["bytes"], rows["CREATE"]["errors"]) == (2, 4196, 1)
    assert rows["ECHO"]["max_us"] is None and rows["READ"]["max_us"] == 250.0
    assert summary.lines()[1].split()[:4] == ["READ", "2", "0", "4.098"]


def test_a_file_of_keys_is_read_as_it_was_written() -> None:
    one, two = Keys(0x1234, b"\1\2", b"\3" * 16, b"\4" * 16), Keys(7, b"\5" * 16)
    text = f"# a comment\n\n{one.line()}\n{two.line()}\n"
    assert one.line() == f"3412000000000000,0102,{'03' * 16},{'04' * 16}"
    assert keys.read(text) == [one, two]
    with pytest.raises(ValueError, match="line 2 is not SessionId"):
        keys.read(f"{one.line()}\nxx,yy")


def test_the_files_of_a_trace_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.keys"
    path.write_text("old")
    path.chmod(0o644)
    os.close(keys.create_file(str(path)))
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text() == ""
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        keys.create_file(str(tmp_path / "link"))


def test_keys_are_new_once() -> None:
    ring = KeyRing()
    assert ring.add(Keys(1, b"k")) and not ring.add(Keys(1, b"k")) and ring.add(Keys(1, b"other"))
    assert not ring.has(1) and ring.account(2) == ""


def test_what_was_open_before_is_known_and_no_more_than_so_much_is_kept() -> None:
    known = Known()
    known.take({
        "sessions": [{"id": "0x10", "account": "alice"}],
        "tree_connects": [{"id": "0x5", "session": "0x10", "share": "Docs"}],
        "files": [{"id": "0x807060504030201", "path": "dir/a", "stream": "s"}],
    })  # fmt: skip
    assert (known.users[0x10], known.shares[0x10, 5]) == ("alice", "Docs")
    assert known.file(bytes(range(1, 9)) + bytes(8)) == "dir\\a:s"
    for number in range(KNOWN_MAX + 5):
        known.files.tell(number.to_bytes(16, "little"), "x")
    assert len(known.files) == KNOWN_MAX
