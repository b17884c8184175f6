# SPDX-License-Identifier: GPL-2.0-or-later
"""`username map script`: what it is run with, which answers count, for how long, and what a log-on gets by it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from mountd_doubles import FakeUsers, accounts, configuration

from ksmbd import limits
from mountd import usernamescript
from mountd.login import decide
from mountd.userlookups import KnownUsers, NameWantedError, Query
from mountd.usernamescript import Script, Scripts, run_script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose scripts nobody can run, with all of its parents."""
    for each in (tmp_path, *tmp_path.parents):
        if not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    return tmp_path


def script(folder: Path, text: str) -> str:
    path = folder / "map me"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f'"{path}" --with option'


def test_it_gets_the_name_as_its_last_argument_without_a_shell(folder: Path) -> None:
    command = script(folder, 'printf "%s\\n" "$#-$1-$2-$3" second')
    assert run_script(command, "Ann; $(touch x) `id`") == "3---with-option-Ann; $(touch x) `id`"


def test_it_runs_as_nobody_with_a_clean_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    command = script(folder, 'echo "$(id -un) $(id -Gn) ${SECRET-none} $PWD"')
    if os.geteuid() == 0:
        assert run_script(command, "ann") == "nobody nogroup none /"
    else:
        assert "none /" in str(run_script(command, "ann"))


@pytest.mark.parametrize("name", ["", "-rf", "a\nb", "a\0b", "a" * 257, "a\x1b[2J"])
def test_names_that_no_script_is_run_for(folder: Path, name: str) -> None:
    assert run_script(script(folder, "echo root"), name) is None


@pytest.mark.parametrize("text", ["exit 0", "echo root; exit 3", "printf '\\033\\n'", "echo '  '", "kill $$"])
def test_answers_that_do_not_count(folder: Path, text: str) -> None:
    assert run_script(script(folder, text), "ann") is None


@pytest.mark.parametrize("command", ["/nowhere/at/all", '"/unclosed', "", "/etc"])
def test_what_is_no_program_maps_nobody(command: str) -> None:
    assert run_script(command, "ann") is None


@pytest.mark.parametrize("text", ["exec sleep 1000", "sleep 1000 & exit 0", "echo ann; exec >&-; exec sleep 1000"])
def test_it_ends_in_time_with_all_that_it_has_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    killed: list[tuple[int, int]] = []
    really = os.killpg

    def kill(group: int, number: int) -> None:
        killed.append((group, number))
        really(group, number)

    monkeypatch.setattr(os, "killpg", kill)
    monkeypatch.setattr(limits, "MAP_SCRIPT_SECONDS", replace(limits.MAP_SCRIPT_SECONDS, value=0))
    assert run_script(script(folder, text), "ann") is None
    assert [number for _, number in killed] == [signal.SIGKILL]


def test_what_it_prints_without_end_is_not_kept(folder: Path) -> None:
    assert run_script(script(folder, "exec yes ann"), "x") == "ann"


def test_answers_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    asked: list[str] = []

    def run(command: str, name: str) -> str | None:
        asked.append(name)
        return None if name == "none" else f"{name}-{len(asked)}"

    scripts = Scripts(run, lambda: now[0])
    assert [scripts.mapped(Script("x"), "a"), scripts.mapped(Script("x"), "a")] == ["a-1", "a-1"]
    assert [scripts.mapped(Script("x"), "none"), scripts.mapped(Script("x"), "none")] == [None, None]
    assert scripts.mapped(Script("y"), "a") == "a-3"
    now[0] = usernamescript.KEEP_LEAST
    assert scripts.mapped(Script("x"), "a") == "a-4"
    assert scripts.mapped(Script("x", 60), "a") == "a-5"
    now[0] += 59
    assert scripts.mapped(Script("x", 60), "a") == "a-5"
    monkeypatch.setattr(limits, "MAPPED_NAMES_KEPT", replace(limits.MAPPED_NAMES_KEPT, value=1))
    scripts.mapped(Script("x", 60), "b")
    scripts.mapped(Script("x", 60), "c")
    assert len(scripts._kept) <= len(asked) - 3


def test_a_log_on_is_that_of_the_user_whom_the_script_names() -> None:
    found = configuration("[global]\nusername map script = /x\nusername map = /nowhere\n[s]\npath = /s\n")
    assert decide("ann.lee", accounts("ann"), found, FakeUsers()).account == "ann"
    assert decide("ann", accounts("ann"), found, FakeUsers()).account == "ann"
    assert decide("ann.lee", accounts("ann"), found, FakeUsers(), mapped=True).account == "ann.lee"
    assert decide("", accounts("ann"), found, FakeUsers()).account == ""


def test_the_daemon_runs_it_in_a_thread() -> None:
    users = KnownUsers(FakeUsers())
    users.known = {}
    with pytest.raises(NameWantedError) as caught:
        users.mapped(Script("/x"), "ann.lee")
    assert caught.value.query == Query("mapped", "ann.lee", Script("/x"))
    users.known[caught.value.query] = "ann"
    assert users.mapped(Script("/x"), "ann.lee") == "ann"
