# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug toggles with the real daemon: what is on prints, in all processes and at once; what is off is silent."""
from __future__ import annotations

import re

import pytest
from server import StartKsmbd

EXPECTED = {
    "smb": r"smb: ksmbd/1\[\d+\]: 127\.0\.0\.1 user: CREATE .* STATUS_SUCCESS",
    "auth": r"auth: ksmbd/1\[\d+\]: log-on: user 'user' is uid \d+",
    "vfs": r"vfs: ksmbd/1\[\d+\]: create 'f' .* granted 0x",
    "oplock": r"oplock: ksmbd/1\[\d+\]: open 0x[0-9a-f]+ of f: granted",
    "ipc": r"ipc: ksmbd/1\[\d+\]: to mountd: LOGIN_REQUEST",
    "conn": r"conn: ksmbd/1\[\d+\]: 127\.0\.0\.1: connected",
}


@pytest.mark.parametrize("component", sorted(EXPECTED))
def test_a_component_prints_while_it_is_toggled_on(start_ksmbd: StartKsmbd, component: str) -> None:
    ksmbd = start_ksmbd()
    toggle = ("ksmbd.control", "-R", str(ksmbd.rundir), "-d", component)
    assert f"[{component}]" in ksmbd.command_output(*toggle)
    assert ksmbd.smbclient("put /etc/hostname f; del f").returncode == 0
    ksmbd.wait_for(EXPECTED[component])
    printed = set(re.findall(r"(?m)^ksmbd: (\w+): ksmbd/\d+\[", ksmbd.stderr))
    assert printed == {component}, "one toggle, one component"
    assert f"[{component}]" not in ksmbd.command_output(*toggle)
    ksmbd.wait_stats(r"(?m)^connections: 0$")
    before = len(ksmbd.stderr)
    assert ksmbd.smbclient("ls").returncode == 0
    ksmbd.wait_stats(r"(?m)^connections: 0$")
    assert not re.search(r"(?m)^ksmbd: \w+: ksmbd/\d+\[", ksmbd.stderr[before:])
