# SPDX-License-Identifier: GPL-2.0-or-later
"""Users who are disabled or expired, with smbclient: what they are told, and what the administrator."""

from __future__ import annotations

import shutil

import pytest
from server import KsmbdServer, StartKsmbd

pytestmark = pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")


@pytest.fixture(scope="module")
def barring(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(users={"away": "secret", "late": "secret"})


@pytest.mark.parametrize("user, argument, status, why", [
    ("away", "--disable", "NT_STATUS_ACCOUNT_DISABLED", "the account is disabled"),
    ("late", "--expires=2001-02-03", "NT_STATUS_ACCOUNT_EXPIRED", "the account has expired"),
])
def test_a_user_who_may_not_log_on_any_longer(
    barring: KsmbdServer, user: str, argument: str, status: str, why: str
) -> None:
    files = ["-P", str(barring.pwddb), "-R", str(barring.rundir)]
    assert barring.smbclient("ls", user=f"{user}%secret").returncode == 0
    barring.command_output("ksmbd.adduser", argument, *files, user)
    assert status in barring.smbclient("ls", user=f"{user}%secret").stdout
    barring.wait_for(rf'(?m)^ksmbd: refused log-on from 127\.0\.0\.1: {why} \(account="{user}"')
    assert "NT_STATUS_LOGON_FAILURE" in barring.smbclient("ls", user=f"{user}%wrong").stdout
    barring.command_output("ksmbd.adduser", "--enable", *files, user)
    assert barring.smbclient("ls", user=f"{user}%secret").returncode == 0
