# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug toggles with the real daemon: what is on prints, in all processes and at once; what is off is silent."""
from __future__ import annotations

import re

import pytest
from rawclient import RawClient
from server import StartKsmbd
from test_two_clients import BATCH, LEVEL_2, acknowledge, create, opened

from ksmbd.smb import constants as c

EXPECTED = {
    "smb": r"smb: ksmbd/1\[\d+\]: 127\.0\.0\.1 user: CREATE 'f' on \[share\] .* STATUS_SUCCESS",
    "auth": r"auth: ksmbd/1\[\d+\]: log-on: user 'user' is uid \d+.*, from 127\.0\.0\.1",
    "vfs": r"vfs: ksmbd/1\[\d+\]: create 'f' .* granted 0x.*, on \[share\] from 127\.0\.0\.1",
    "oplock": r"oplock: ksmbd/1\[\d+\]: open 0x[0-9a-f]+ of f: granted \w.* on \[share\], to 127\.0\.0\.1 user",
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


def test_a_refused_open_and_a_refused_log_on_are_told_with_name_and_user(start_ksmbd: StartKsmbd) -> None:
    ksmbd = start_ksmbd()
    for component in ("smb", "auth"):
        ksmbd.command_output("ksmbd.control", "-R", str(ksmbd.rundir), "-d", component)
    assert ksmbd.smbclient("get nobody-s").returncode != 0
    ksmbd.wait_for(
        r"smb: ksmbd/1\[\d+\]: 127\.0\.0\.1 user: CREATE 'nobody-s' on \[share\] .*: STATUS_OBJECT_NAME_NOT_FOUND"
    )
    assert ksmbd.smbclient("ls", user="user%wrong").returncode != 0
    ksmbd.wait_for(r"auth: ksmbd/1\[\d+\]: log-on of 'user' refused: STATUS_LOGON_FAILURE.*, from 127\.0\.0\.1")


def test_one_client_s_lines_alone(start_ksmbd: StartKsmbd) -> None:
    ksmbd = start_ksmbd()

    def toggle(what: str) -> str:
        return ksmbd.command_output("ksmbd.control", "-R", str(ksmbd.rundir), "-d", what)

    off = "smb auth vfs oplock ipc conn rdma\n"
    assert toggle("all@192.0.2.7").startswith(off + "smb@192.0.2.7 auth@192.0.2.7")
    assert toggle("vfs@127.0.0.1").startswith(off) and toggle("conn") == off.replace("conn", "[conn]")
    assert toggle("conn") == off, "the answer about a component alone says nothing of clients"
    assert toggle("all@192.0.2.7") == off + "vfs@127.0.0.1\n"
    assert ksmbd.smbclient("put /etc/hostname f").returncode == 0
    ksmbd.wait_for(r"vfs: ksmbd/1\[\d+\]: create 'f' ")
    printed = set(re.findall(r"(?m)^ksmbd: (\w+): ksmbd/\d+\[", ksmbd.stderr))
    assert printed <= {"vfs", "conn"}
    assert toggle("vfs@::ffff:127.0.0.1") == off + "for no client alone\n"
    toggle("smb@192.0.2.7")
    ksmbd.wait_stats(r"(?m)^connections: 0$")
    before = len(ksmbd.stderr)
    assert ksmbd.smbclient("del f").returncode == 0
    ksmbd.wait_stats(r"(?m)^connections: 0$")
    assert not re.search(r"(?m)^ksmbd: \w+: ksmbd/\d+\[", ksmbd.stderr[before:])


def test_a_break_is_told_with_the_file_and_both_clients(start_ksmbd: StartKsmbd) -> None:
    ksmbd = start_ksmbd()
    ksmbd.command_output("ksmbd.control", "-R", str(ksmbd.rundir), "-d", "oplock@127.0.0.1")
    with RawClient(ksmbd, guid=b"first client    ") as first, RawClient(ksmbd, guid=b"second client   ") as second:
        file, _ = opened(first.reply(first.post(c.CREATE, create("report", BATCH))))
        waiting = second.post(c.CREATE, create("report", BATCH, access=0x120089))
        ksmbd.wait_for(r"oplock: ksmbd/1\[\d+\]: break of report on \[share\]: oplock to II, to 127\.0\.0\.1")
        first.post(c.OPLOCK_BREAK, acknowledge(file, LEVEL_2))
        ksmbd.wait_for(r"oplock: ksmbd/1\[\d+\]: report: oplock level 1 acknowledged by 127\.0\.0\.1 user")
        opened(second.reply(waiting))


def test_log_level_turns_components_on_and_off_at_a_reload(start_ksmbd: StartKsmbd) -> None:
    ksmbd = start_ksmbd(options={"log level": "1"})

    def reloaded(level: str) -> str:
        text = ksmbd.config.read_text()
        ksmbd.config.write_text(re.sub(r"log level = .*", f"log level = {level}", text))
        ksmbd.command_output("ksmbd.control", "-R", str(ksmbd.rundir), "-r")
        return ksmbd.control("debug").read_text().split("\n")[0]

    assert reloaded("1 vfs:5 smb2:7") == "[smb] auth [vfs] oplock ipc conn rdma"
    assert ksmbd.smbclient("put /etc/hostname f; del f").returncode == 0
    ksmbd.wait_for(EXPECTED["vfs"])
    ksmbd.command_output("ksmbd.control", "-R", str(ksmbd.rundir), "-d", "conn")
    assert reloaded("1 vfs:6 smb2:5") == "[smb] auth [vfs] oplock ipc [conn] rdma", "what was toggled stays"
    assert reloaded("1") == "smb auth vfs oplock ipc conn rdma"
