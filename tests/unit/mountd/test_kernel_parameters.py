# SPDX-License-Identifier: GPL-2.0-or-later
"""Which parameters of a configuration the kernel's server does not know, and what of its state mountd knows."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mountd_doubles import configuration

from ksmbd.ipc.activity import Target
from ksmbd.ipc.constants import TreeFlag
from mountd.activity import NotRunning
from mountd.kernelserver.activity import KernelActivity
from mountd.kernelserver.control import KernelControl
from mountd.kernelserver.parameters import GLOBALS, MODULES, SHARES, TUNING, lines, unknown
from mountd.parameters import GLOBAL_PARAMETERS, SHARE_PARAMETERS
from mountd.questions import Questions
from mountd.sessions import Sessions

PLAIN = """
    [global]
    smb2 leases = yes
    server min protocol = SMB2_02
    hosts allow = 192.0.2.0/24
    [share]
    path = /srv/a
    read only = no
    create mask = 0600
    force group = staff
    vfs objects = acl_xattr streams_xattr
    inherit owner = yes
"""


def test_what_it_knows_is_not_named() -> None:
    assert lines(configuration(PLAIN)) == []


def test_what_it_does_not_know_is_named_in_two_groups() -> None:
    text = """
        [global]
        workers = 4
        ntlm auth = yes
        server max protocol = SMB2_02
        hide unreadable = yes
        [a]
        path = /a
        admin users = root
        force group = +staff
        vfs objects = acl_xattr catia
        [b]
        path = /b
        guest account = ftp
        hide unreadable = no
    """
    assert lines(configuration(text)) == [
        "the kernel's server does not know these, and access or data may differ by it: ntlm auth, server max protocol "
        "= SMB2_02, admin users [a], force group = +staff [a], guest account [b], hide unreadable [a], "
        "vfs objects = catia [a]",
        "the kernel's server does not know these, which is harmless: workers",
    ]


def test_a_long_list_is_cut() -> None:
    shares = "".join(f"[s{number}]\npath = /s\nvfs objects = acl_xattr\n" for number in range(3))
    every = "".join(f"{name} = yes\n" for name in ("map hidden", "map system", "dos filemode"))
    changes, _ = unknown(configuration("[global]\n" + every + shares))
    assert changes == [f"{name} [s0], [s1], [s2]" for name in ("dos filemode", "map hidden", "map system")]


def test_the_tables_name_parameters() -> None:
    assert set(GLOBAL_PARAMETERS) > GLOBALS > TUNING
    assert set(SHARE_PARAMETERS) > SHARES
    assert set(SHARE_PARAMETERS["vfs objects"].choices) > MODULES


def test_the_control_files(tmp_path: Path) -> None:
    control = KernelControl(str(tmp_path))
    assert control.state() == ""
    (tmp_path / "stats").write_text("2 running 445 7\n")
    assert control.state() == "running"
    (tmp_path / "stats").write_text("")
    assert control.state() == ""
    (tmp_path / "kill_server").write_text("")
    control.kill()
    assert (tmp_path / "kill_server").read_text() == "hard\n"


class Connected:
    """One user with two tree connects."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.configuration = configuration(PLAIN)
        self.engine = SimpleNamespace(running=True, granted={(7, 1): TreeFlag.WRITABLE})
        self.sessions.connect(0, 7, 1, "share", "ann", "192.0.2.7", False)
        self.sessions.connect(0, 7, 2, "ipc$", "ann", "192.0.2.7", False)
        questions = Questions(cast("Any", None), cast("Any", SimpleNamespace(workers=0)))
        self.activity = KernelActivity(questions, self.engine, self)

    def list(self, *kinds: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        silent: list[list[int]] = []
        self.activity.list(kinds, lambda rows: found.append(dict(rows)), silent.append)
        assert silent == [[]]
        return found


def test_who_is_connected() -> None:
    (found,) = Connected().list("sessions", "tree_connects", "files", "locks", "budgets")
    (session,) = found["sessions"]
    assert (session["id"], session["account"], session["address"], session["tree_connects"]) == (
        "0x7", "ann", "192.0.2.7", 2,
    )  # fmt: skip
    assert [(row["share"], row["read_only"]) for row in found["tree_connects"]] == [("share", False), ("IPC$", True)]


def test_what_cannot_be_told_or_closed() -> None:
    connected = Connected()
    with pytest.raises(ValueError, match="does not tell open files"):
        connected.list("files")
    with pytest.raises(ValueError, match="what can be listed is"):
        connected.list("printers")
    with pytest.raises(ValueError, match="cannot close a part"):
        connected.activity.close(Target(session="0x7"), lambda closed, silent: None)
    connected.engine.running = False
    with pytest.raises(NotRunning):
        connected.list("sessions")
