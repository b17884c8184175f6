# SPDX-License-Identifier: GPL-2.0-or-later
"""What `log level`, `log file` and `max log size` mean, and where the lines go before the configuration is read."""
from __future__ import annotations

import os
import syslog
from pathlib import Path

import pytest
from mountd_doubles import configuration

from ksmbd import debug, log
from ksmbd.log_record import Record
from ksmbd.log_targets import JSON, NONE, PLAIN, TIMES, LogSettings
from mountd import logsettings
from mountd.engine import Engine
from mountd.logsettings import levels
from mountd.main import _engine_line
from mountd.rundir import RunDirectory
from mountd.server import Options, engine_settings, read_configuration

WARNING, NOTICE, INFO = syslog.LOG_WARNING, syslog.LOG_NOTICE, syslog.LOG_INFO


@pytest.mark.parametrize(
    ("text", "priority", "components", "on"),
    [
        ("", INFO, {}, 0),
        ("0", WARNING, {}, 0),
        ("1", NOTICE, {}, 0),
        ("2", INFO, {}, 0),
        ("4", INFO, {}, 0),
        ("5", INFO, {}, debug.ALL),
        ("10", INFO, {}, debug.ALL),
        ("all:0", WARNING, {}, 0),
        ("1 auth:3 smb2:5", NOTICE, {"auth": INFO, "smb": INFO}, debug.SMB),
        ("0 auth:1 kerberos:2", WARNING, {"auth": INFO}, 0),
        ("5 locking:0 vfs:1", INFO, {"oplock": WARNING, "vfs": NOTICE}, debug.ALL & ~debug.OPLOCK & ~debug.VFS),
        ("1 full_audit:10@/var/log/audit tdb:10", NOTICE, {"vfs": INFO}, debug.VFS),
    ],
)
def test_levels_are_samba_s(text: str, priority: int, components: dict[str, int], on: int) -> None:
    assert levels(text) == (priority, components, on, ())


def test_words_that_mean_nothing_are_told_and_stop_nothing() -> None:
    read = configuration("[global]\nlog level = loud 1 auth:x\nlog file = log.%m\n")
    assert not read.errors
    assert logsettings.problems(read.settings) == [
        "log level: loud means nothing", "log level: auth:x means nothing",
        "log file: log.%m is not an absolute path, and is left out",
    ]
    found = logsettings.of_parameters(LogSettings(), read.settings)
    assert (found.level, found.path) == (NOTICE, "")


def test_a_file_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logsettings.socket, "gethostname", lambda: "box")  # type: ignore[attr-defined]
    read = configuration("[global]\nnetbios name = NAS\nlog file = /l/%h/%L/log.%m%%\nmax log size = 1000\n")
    found = logsettings.of_parameters(LogSettings(TIMES, True), read.settings)
    assert (found.path, found.max_kib) == ("/l/box/nas/log.ksmbd%", 1000)
    assert (found.terminal, found.json) == (TIMES, True), "what the command line said stays"


def test_the_debug_part_of_the_level_goes_to_the_engine() -> None:
    read = configuration("[global]\nlog level = 1 smb2:10\n")
    options = Options("/c", "/p", RunDirectory("/run"), "/state")
    assert engine_settings(read, options, (1, 2, 3)).debug == debug.SMB


@pytest.mark.parametrize(
    ("form", "foreground", "terminal", "as_objects"),
    [("", True, TIMES, False), ("text", True, TIMES, False), ("json", True, JSON, True),
     ("", False, PLAIN, False), ("json", False, JSON, True)],
)  # fmt: skip
def test_where_lines_go_at_first(form: str, foreground: bool, terminal: str, as_objects: bool) -> None:
    assert logsettings.at_start(form, foreground) == LogSettings(terminal, as_objects)


def test_standard_error_that_is_the_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "x", "wb") as stream:
        found = os.fstat(stream.fileno())
        for said, is_journal in ((f"{found.st_dev}:{found.st_ino}", True), (f"{found.st_dev}:1", False), ("x", False)):
            monkeypatch.setenv("JOURNAL_STREAM", said)
            assert logsettings.stderr_is_journal(stream.fileno()) is is_journal
    monkeypatch.setattr(logsettings, "stderr_is_journal", lambda: True)
    assert logsettings.at_start("", True).terminal == NONE


def test_the_configuration_sets_the_log_before_its_warnings_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, told = tmp_path / "ksmbd.conf", tmp_path / "log"
    file.write_text(f"[global]\nlog file = {told}\nlog level = 0\n[lost]\npath = /no/such\n")
    before = log.settings()
    try:
        log.configure(LogSettings(TIMES))
        read_configuration(Options(str(file), "", RunDirectory(str(tmp_path)), ""))
        assert told.read_text().endswith("nobody can connect until the folder is there\n")
        log.info("not at this level")
        assert len(told.read_text().splitlines()) == 1
        file.write_text("[global\n")
        with pytest.raises(Exception, match=r"ksmbd\.conf:1"):
            read_configuration(Options(str(file), "", RunDirectory(str(tmp_path)), ""))
        assert log.settings().path == str(told), "a bad file changes nothing"
    finally:
        log.configure(before)


def test_a_line_of_the_engine_is_told_as_its_own_and_anything_else_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Record] = []
    monkeypatch.setattr(log, "write", told.append)
    _engine_line('{"time": "2026-11-27T16:00:00+00:00", "level": "notice", "id": "x", "address": "192.0.2.7", '
                 '"process": "ksmbd/1", "pid": 5, "message": "hello"}')  # fmt: skip
    _engine_line("Fatal Python error: Segmentation fault")
    assert told[0] == Record(NOTICE, "hello", "x", {"address": "192.0.2.7"}, "ksmbd/1", 5, 1795795200.0)
    assert told[1].text.startswith("Fatal") and told[1].priority == INFO


def test_the_engine_never_waits_for_its_log() -> None:
    """Lines beyond the pipe's room are lost at once, as long as mountd does other things."""
    made: Engine = object.__new__(Engine)
    made._on_line = lambda line: None
    theirs = made._make_pipe()
    assert theirs is not None
    try:
        written = 0
        with pytest.raises(BlockingIOError):
            while True:
                written += os.write(theirs, b"x" * 4096)
        assert written >= 64 << 10
    finally:
        os.close(theirs)
        made._close_pipe()
