# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools on a terminal: prompts, completion, and passwords that are not shown."""

from __future__ import annotations

import errno
import os
import pty
import sys

import pytest
from toolbench import Place

from mountd import accounts
from mountd.config import load


def on_a_terminal(command: list[str], typed: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command on a terminal of its own; for each (prompt, answer) wait for the prompt and type the answer."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    shown = ""
    position = 0
    try:
        for prompt, answer in [*typed, ("", "")]:
            while prompt == "" or prompt not in shown[position:]:
                try:
                    piece = os.read(terminal, 4096)
                except OSError as error:
                    assert error.errno == errno.EIO
                    piece = b""
                if not piece:
                    assert prompt == "", shown
                    break
                shown += piece.decode()
            if prompt:
                position = shown.index(prompt, position) + len(prompt)
                os.write(terminal, answer.encode())
    finally:
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown


def command(place: Place, tool: str, *argv: str) -> list[str]:
    return [
        sys.executable,
        "-Pm",
        f"ksmbd.tools.{tool}",
        *argv,
        "-C",
        str(place.config),
        "-P",
        str(place.database),
        "-R",
        place.rundir.path,
    ]


def test_a_password_is_asked_for_twice_and_never_shown(place: Place) -> None:
    typed = [("New password: ", "s3cret\n"), ("Retype new password: ", "s3cret\n")]
    status, shown = on_a_terminal(command(place, "adduser", "-a", "u"), typed)
    assert status == 0, shown
    assert "s3cret" not in shown
    assert place.hash("u") == accounts.nt_hash("s3cret")


def test_passwords_that_differ_are_asked_for_again(place: Place) -> None:
    typed = [
        ("New password: ", "a\n"),
        ("Retype new password: ", "b\n"),
        ("New password: ", "c\n"),
        ("Retype new password: ", "c\n"),
    ]
    status, shown = on_a_terminal(command(place, "adduser", "u"), typed)
    assert (status, place.hash("u")) == (0, accounts.nt_hash("c"))
    assert "the passwords differ, try again" in shown


def test_an_end_of_input_changes_nothing(place: Place) -> None:
    status, shown = on_a_terminal(command(place, "adduser", "u"), [("New password: ", "\x04")])
    assert status == 1
    assert "nothing is changed" in shown
    assert not place.database.exists()


def test_what_exists_is_refused_before_a_password_is_asked_for(place: Place) -> None:
    place.call("adduser", "-a", "-p", "x", "u")
    status, shown = on_a_terminal(command(place, "adduser", "-a", "u"), [])
    assert status == 1
    assert "New password" not in shown


def test_a_share_is_asked_for_with_completion(place: Place) -> None:
    pytest.importorskip("readline")
    typed = [
        ("[s] ", f"pat\t{place.folder}\n"),
        ("[s] ", "nonsense = 1\n"),
        ("[s] ", "guest ok\ty\t\n"),
        ("[s] ", "\n"),
    ]
    status, shown = on_a_terminal(command(place, "addshare", "-a", "s"), typed)
    assert status == 0, shown
    assert "unknown share parameter `nonsense`" in shown
    share = load(place.config).shares["s"]
    assert (share.path, share.guest_ok) == (str(place.folder), True)
