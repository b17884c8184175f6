# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that runs from an smb.conf: home directories, variables, included and copied sections, with smbclient."""

from __future__ import annotations

import os
import shutil

import pytest
from server import COMMANDS, KsmbdServer, StartKsmbd
from unixusers import People

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, tmp_path_factory: pytest.TempPathFactory, them: People) -> KsmbdServer:
    base = tmp_path_factory.mktemp("homes")
    os.chmod(base, 0o755)
    for name in (them.alice, them.bob):
        home = base / name
        home.mkdir()
        os.chown(home, them.uid(name), them.gid(name))
        home.chmod(0o700)
        (home / "whose").write_text(name)
    more = base / "more.conf"
    more.write_text("map to guest = bad user\n[included]\nread only = no\npath = " + str(base) + "\nguest ok = yes\n")
    return start_shared(
        options={"config file": "smb.conf", "include": str(more)},
        shares={
            "homes": {"path": f"{base}/%S", "valid users": "%S", "browseable": "no", "force user": ""},
            "mine": {"path": f"{base}/%U", "force user": "", "comment": "of %U"},
            "copied": {"copy": "mine", "read only": "yes", "path": f"{base}/%u", "force user": ""},
        },
        users={them.alice: "secret", them.bob: "secret"},
    )


def whose(server: KsmbdServer, share: str, user: str) -> str:
    """The file `whose` of a share, or the error."""
    result = server.smbclient("get whose -", share=share, user=f"{user}%secret")
    return result.stdout.strip() if result.returncode == 0 else result.stdout.split()[-1]


def test_each_has_the_home(server: KsmbdServer, them: People) -> None:
    for user in (them.alice, them.bob):
        for share in ("homes", user, user.upper()):
            assert whose(server, share, user).startswith(user), (share, user)


def test_lists_show_the_own_home_alone(server: KsmbdServer, them: People) -> None:
    def listed(user: str) -> set[str]:
        return {line.split("|")[1] for line in server.list_shares("-g", user=user).stdout.splitlines() if "|" in line}

    assert listed(f"{them.alice}%secret") - listed("stranger%x") == {them.alice}
    assert listed(f"{them.bob}%secret") - listed(f"{them.alice}%secret") == {them.bob}


def test_nobody_has_anothers(server: KsmbdServer, them: People) -> None:
    assert whose(server, them.bob, them.alice) == "NT_STATUS_ACCESS_DENIED"
    assert whose(server, "nobody-of-this-name", them.alice) == "NT_STATUS_BAD_NETWORK_NAME"


def test_guests_have_none(server: KsmbdServer, them: People) -> None:
    assert whose(server, "homes", "stranger") == "NT_STATUS_BAD_NETWORK_NAME"
    assert whose(server, "mine", "..") in ("NT_STATUS_BAD_NETWORK_NAME", "NT_STATUS_ACCESS_DENIED")
    assert "whose" not in server.smbclient("ls", share="included", user="stranger%x").stdout
    assert them.alice in server.smbclient("ls", share="included", user="stranger%x").stdout


def test_variables_are_those_of_the_session(server: KsmbdServer, them: People) -> None:
    for share in ("mine", "copied"):
        for user in (them.alice, them.bob):
            assert whose(server, share, user).startswith(user)
    user = f"{them.alice}%secret"
    assert "NT_STATUS_" not in server.smbclient("mkdir x", share="mine", user=user).stdout
    assert "NT_STATUS_" in server.smbclient("mkdir y", share="copied", user=user).stdout


def test_a_reload_keeps_who_is_connected(server: KsmbdServer, them: People) -> None:
    command = f"!{COMMANDS}/ksmbd.control -r -R {server.rundir} >&2; get whose -"
    result = server.smbclient(command, share="homes", user=f"{them.alice}%secret")
    assert result.stdout.strip().startswith(them.alice), result
