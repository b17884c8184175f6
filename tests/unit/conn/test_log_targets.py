# SPDX-License-Identifier: GPL-2.0-or-later
"""The forms of a line, and where it goes: terminal, file, journal."""
from __future__ import annotations

import json
import os
import socket
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import log, refusals
from ksmbd.log_record import Record, as_datagram, as_json, as_line, as_text, from_json, shortened
from ksmbd.log_targets import JSON, NONE, PIPE_BUF, RELAY, TIMES, Journal, LogFile, LogSettings, Target, Terminal
from ksmbd.overriding import override

REFUSED = Record(
    syslog.LOG_NOTICE, "refused log-on from 192.0.2.7: wrong password", "log-on-refused",
    {"address": "192.0.2.7", "reason": "wrong password", "account": 'x"\n', "component": "auth"}, "ksmbd/1", 42,
    1795795200.25,
)  # fmt: skip


@pytest.fixture
def settings() -> Iterator[None]:
    """Puts back what the log was."""
    before = log.settings()
    yield
    log.configure(before)


def test_text_has_the_local_time_and_json_the_same_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    line = as_line(REFUSED, times=True)
    assert line.endswith(".250 ksmbd: refused log-on from 192.0.2.7: wrong password") and line[4] == line[7] == "-"
    assert as_line(REFUSED, times=False).startswith("ksmbd: refused")
    assert as_json(REFUSED) == (
        '{"time": "2026-11-27T16:00:00.250000+00:00", "level": "notice", "id": "log-on-refused", '
        '"address": "192.0.2.7", "reason": "wrong password", "account": "x\\"\\n", "component": "auth", '
        '"process": "ksmbd/1", "pid": 42, "message": "refused log-on from 192.0.2.7: wrong password"}'
    )
    assert from_json(as_json(REFUSED)) == REFUSED


@pytest.mark.parametrize("line", ["", "x", "{}", "[]", '{"time": 1}', '{"time": "now", "level": "x"}'])
def test_anything_else_is_no_record(line: str) -> None:
    assert from_json(line) is None


@given(st.text(), st.text())
def test_no_text_leaves_its_line_or_its_field(text: str, account: str) -> None:
    record = Record(syslog.LOG_NOTICE, text, "x", {"address": "192.0.2.7", "account": account}, "p", 1, 0.0)
    line = as_json(record)
    assert line.isascii() and line.isprintable() and json.loads(line)["address"] == "192.0.2.7"
    assert from_json(line) == record
    assert as_line(record, times=True).isprintable()
    fields = parsed(as_datagram(record, "ksmbd"))
    assert fields["KSMBD_ADDRESS"] == b"192.0.2.7" and fields["SYSLOG_IDENTIFIER"] == b"ksmbd"
    assert fields["KSMBD_ACCOUNT"] == account.encode("utf-8", "backslashreplace")


@given(
    st.text(min_size=1, max_size=8).map(lambda text: (text * 6000)[:6000]),
    st.text(min_size=1, max_size=8).map(lambda text: (text * 256)[:256]),
)
def test_a_line_for_mountd_is_one_write_of_a_pipe(text: str, name: str) -> None:
    facts = dict.fromkeys(("account", "domain", "workstation", "share"), name)
    record = Record(syslog.LOG_NOTICE, text, "x", {"address": "192.0.2.7", "reason": "why", **facts}, "ksmbd/1", 1, 0.0)
    line = shortened(record, PIPE_BUF)
    assert len(line) < PIPE_BUF and json.loads(line)["address"] == "192.0.2.7"
    small = Record(syslog.LOG_INFO, "small", "x", {}, "ksmbd/1", 1, 0.0)
    assert shortened(small, PIPE_BUF) == as_json(small)


def parsed(datagram: bytes) -> dict[str, bytes]:
    """What the journal reads."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        fields[name.decode()] = value
        datagram = rest
    return fields


def test_the_journal_gets_the_fields(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        target = Journal(path)
        target.write(REFUSED)
        target.close()
        target.write(REFUSED)
        first, second = journal.recv(65536), journal.recv(65536)
        target.close()
    assert first == second
    fields = parsed(first)
    assert fields["MESSAGE"] == as_text(REFUSED).encode() and fields["PRIORITY"] == b"5"
    assert fields["KSMBD_ACCOUNT"] == b'x"\n' and fields["KSMBD_ID"] == b"log-on-refused"
    assert len(fields["MESSAGE_ID"]) == 32 and fields["SYSLOG_FACILITY"] == b"3"


def test_without_the_journal_syslog_has_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: told.append(text))
    target = Journal(str(tmp_path / "nobody"))
    target.write(REFUSED)
    target.close()
    assert told == [as_text(REFUSED)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_is_made_anew_where_it_was_moved_away(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "log"
    target = LogFile(str(path), False, 0, clock)
    target.write(REFUSED)
    path.rename(tmp_path / "log.1")
    target.write(REFUSED)
    clock.now = 1.0
    target.write(REFUSED)
    target.close()
    assert len((tmp_path / "log.1").read_text().splitlines()) == 2
    assert path.read_text() == as_line(REFUSED, times=True) + "\n" and path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_has_grown_becomes_the_old_one(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "log"
    target = LogFile(str(path), True, 1, clock)
    for second in range(8):
        clock.now = float(second)
        target.write(REFUSED)
    target.close()
    size = len(as_json(REFUSED)) + 1
    assert (tmp_path / "log.old").stat().st_size == path.stat().st_size == 4 * size >= 1024


def test_a_file_that_cannot_be_opened_is_told_and_the_terminal_has_the_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], settings: None
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path, why in ((tmp_path / "lost" / "log", "No such file or directory"),
                      (tmp_path / "link", "Too many levels of symbolic links")):  # fmt: skip
        log.configure(LogSettings(path=str(path)))
        log.info("hello")
        assert capfd.readouterr().err == f"ksmbd: warning: log file {path}: {why}\nksmbd: hello\n"


def test_the_file_and_the_terminal_have_the_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], settings: None
) -> None:
    log.configure(LogSettings(TIMES, path=str(tmp_path / "log")))
    log.warning("hello")
    assert capfd.readouterr().err == (tmp_path / "log").read_text() != ""
    log.configure(LogSettings(NONE, path=str(tmp_path / "log")))
    log.warning("again")
    assert capfd.readouterr().err == "" and (tmp_path / "log").read_text().count("\n") == 2


def test_a_level_leaves_out_what_is_beyond_it(settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Kept(Terminal):
        @override
        def write(self, record: Record) -> None:
            told.append(record.text)

    kept: list[Target] = [Kept(JSON)]
    monkeypatch.setattr(log, "_targets", kept)
    monkeypatch.setattr(log, "_settings", LogSettings(level=syslog.LOG_WARNING, levels={"auth": syslog.LOG_NOTICE}))
    refusals._limited.forget()
    log.info("information")
    log.notice("notice")
    refusals.refused("log-on", "192.0.2.7", "wrong password")
    refusals.refused("connection", "192.0.2.7", "no common dialect")
    log.warning("warning")
    log.info("listening on [::]:445", "listening")
    log.record("{}")
    refusals._limited.forget()
    assert told == ["refused log-on from 192.0.2.7: wrong password", "warning", "listening on [::]:445", "{}"]


def test_a_refusal_has_its_fields(settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Record] = []
    monkeypatch.setattr(log, "write", told.append)
    refusals._limited.forget()
    refusals.refused(
        "tree connect", "192.0.2.7", "`hosts allow` or `hosts deny`", "STATUS_ACCESS_DENIED", "/srv", share="data",
        account="",
    )  # fmt: skip
    refusals._limited.forget()
    assert told[0].event == "tree-connect-refused" and dict(told[0].fields) == {
        "address": "192.0.2.7", "reason": "`hosts allow` or `hosts deny`", "rule": "hosts allow, hosts deny",
        "status": "STATUS_ACCESS_DENIED", "path": "/srv", "share": "data", "component": "smb",
    }  # fmt: skip


def test_only_a_process_that_mountd_says_it_to_sends_lines_to_it(
    settings: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KSMBD_LOG", raising=False)
    before = log.settings()
    log.use_relay()
    assert log.settings() == before
    monkeypatch.setenv("KSMBD_LOG", RELAY)
    log.use_relay()
    log.info("hello")
    record = from_json(capfd.readouterr().err.rstrip("\n"))
    assert record is not None and (record.text, record.pid) == ("hello", os.getpid())
