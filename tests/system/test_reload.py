# SPDX-License-Identifier: GPL-2.0-or-later
"""A reload: its outcome is waited for, and what it does to those who are connected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from controlling import control, outcome, reachable
from server import KsmbdServer


def test_a_good_file_is_taken_and_a_bad_one_is_told_with_its_lines(ksmbd: KsmbdServer) -> None:
    assert outcome(control(ksmbd, "-r")) == (0, "", "")
    good = ksmbd.config.read_text()
    ksmbd.config.write_text(good.replace("[share]", "[other]"))
    assert outcome(control(ksmbd, "-r")) == (0, "", "")
    assert "Disk|other|" in ksmbd.list_shares().stdout
    bad = good + "\tcreate mask = 9\n\tbrowseable = maybe\n"
    ksmbd.config.write_text(bad)
    last = bad.count("\n")
    status, out, err = outcome(control(ksmbd, "-r"))
    assert (status, out) == (1, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{ksmbd.config}:{last - 1}: `create mask = 9`")
    assert lines[1].startswith(f"{ksmbd.config}:{last}: `browseable = maybe`")
    shares = ksmbd.list_shares().stdout
    assert "Disk|other|" in shares and "Disk|share|" not in shares, "the former configuration stays"
    ksmbd.config.write_text(good)
    assert outcome(control(ksmbd, "-r")) == (0, "", "")
    assert "Disk|share|" in ksmbd.list_shares().stdout


def test_a_broken_user_database_is_told_too(ksmbd: KsmbdServer) -> None:
    ksmbd.pwddb.write_text("no such line\n")
    status, _, err = outcome(control(ksmbd, "-r"))
    assert status == 1
    assert err.startswith(f"{ksmbd.pwddb}:1: ")
    assert ksmbd.smbclient("ls").returncode == 0, "the former users stay"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a stranger")
def test_a_stranger_may_not(ksmbd: KsmbdServer, tmp_path: Path) -> None:
    reachable(tmp_path)
    status, out, err = outcome(control(ksmbd, "-r", user=65534))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "not allowed" in err


def test_an_orderly_stop_leaves_no_socket(ksmbd: KsmbdServer) -> None:
    assert (ksmbd.rundir / "ksmbd.socket").is_socket()
    assert ksmbd.finish() == ""
    assert not (ksmbd.rundir / "ksmbd.socket").exists()
