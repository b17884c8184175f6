# SPDX-License-Identifier: GPL-2.0-or-later
"""A reload: its outcome is waited for, and what it does to those who are connected."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from controlling import control, listed, outcome, reachable
from mounted import mount
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s


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


def test_a_change_that_waits_for_the_next_start_is_told(ksmbd: KsmbdServer) -> None:
    ksmbd.config.write_text(ksmbd.config.read_text().replace("[global]\n", "[global]\n\tserver string = other\n"))
    note = "ksmbd.control: changes in [global] that concern the engine count from its next start\n"
    assert outcome(control(ksmbd, "-r")) == (0, "", note)


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


def rewrite(server: KsmbdServer, before: str, after: str) -> None:
    """Change the configuration, reload, and see it taken."""
    text = server.config.read_text()
    assert before in text
    server.config.write_text(text.replace(before, after))
    assert outcome(control(server, "-r")) == (0, "", "")


def write_status(client: RawClient, file: bytes) -> int:
    return client.status(c.WRITE, client.write_body(file, 0, 4) + b"data")


def read_status(client: RawClient, file: bytes) -> int:
    return client.status(c.READ, client.read_body(file, 0, 4))


def test_a_share_that_is_removed_is_gone_for_those_who_are_connected(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(shares={"share": {}, "other": {}}, workers=2)
    with RawClient(server) as client, RawClient(server, "other") as elsewhere:
        file, untouched = client.open("a"), elsewhere.open("b")
        assert write_status(client, file) == 0
        rewrite(server, "[share]", "[renamed]")
        assert read_status(client, file) == s.STATUS_NETWORK_NAME_DELETED
        assert client.status(c.CREATE, client.create_body("c", 0x12019F, c.FILE_OPEN_IF)) == (
            s.STATUS_NETWORK_NAME_DELETED
        )
        assert write_status(elsewhere, untouched) == 0
        assert [row["share"] for row in listed(server)["files"]] == ["other"]
        client.tree("renamed")
        client.open("c")
    assert (server.shares["share"] / "c").exists()


def test_a_share_that_becomes_read_only_takes_no_more_writes(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    with RawClient(server) as client:
        file = client.open("a")
        assert write_status(client, file) == 0
        rewrite(server, "read only = no", "read only = yes")
        assert write_status(client, file) == s.STATUS_MEDIA_WRITE_PROTECTED
        assert read_status(client, file) == 0
        assert client.status(c.CREATE, client.create_body("new", 0x12019F, c.FILE_OPEN_IF)) in (
            s.STATUS_ACCESS_DENIED, s.STATUS_MEDIA_WRITE_PROTECTED,
        )  # fmt: skip
        rewrite(server, "read only = yes", "read only = no")
        assert write_status(client, file) == 0
    assert sorted(path.name for path in server.share_path.iterdir()) == ["a"]


def test_a_user_whom_the_share_names_no_longer_is_put_out_and_others_stay(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(users={"user": "secret", "ann": "pw"})
    with RawClient(server) as one, RawClient(server, user="ann") as two:
        first, second = one.open("a"), two.open("b")
        rewrite(server, "read only = no", "read only = no\n\tvalid users = user")
        assert read_status(two, second) == s.STATUS_NETWORK_NAME_DELETED
        assert write_status(one, first) == 0
        assert two.status(c.TREE_CONNECT, b"\0" * 8) != 0


def test_a_client_whose_address_is_refused_now_is_put_out(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd()
    with RawClient(server) as client:
        file = client.open("a")
        rewrite(server, "read only = no", "read only = no\n\thosts deny = 127.0.0.1")
        assert read_status(client, file) == s.STATUS_NETWORK_NAME_DELETED


def test_a_user_who_is_removed_is_put_out(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(users={"user": "secret", "ann": "pw"})
    with RawClient(server) as one, RawClient(server, user="ann") as two:
        first, second = one.open("a"), two.open("b")
        lines = server.pwddb.read_text().splitlines(keepends=True)
        server.pwddb.write_text("".join(line for line in lines if not line.startswith("ann:")))
        assert outcome(control(server, "-r")) == (0, "", "")
        assert read_status(two, second) == s.STATUS_USER_SESSION_DELETED
        assert write_status(one, first) == 0
        assert [row["account"] for row in listed(server)["sessions"]] == ["user"]


@pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")
def test_a_reload_during_a_copy_loses_no_byte(start_ksmbd: StartKsmbd, tmp_path: Path) -> None:
    """smbclient copies from a pipe, which is filled as far as the test goes: each reload comes in the middle."""
    rounds, piece = 10, os.urandom(16 << 20)
    with mount("tmpfs", tmp_path, size=400 << 20) as folder:
        server = start_ksmbd(shares={"share": {"path": str(folder)}}, options={"smb3 encryption": "mandatory"})
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        command = [
            "smbclient", "//127.0.0.1/share", "-p", str(server.port), "-U", f"{server.user}%{server.password}",
            "-s", "/dev/null", "-c", f"put {pipe} copied",
        ]  # fmt: skip
        digest = hashlib.sha256()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
            with pipe.open("wb") as stream:
                for number in range(rounds):
                    data = number.to_bytes(4, "big") + piece[4:]
                    digest.update(data)
                    stream.write(data)
                    text = server.config.read_text()
                    server.config.write_text(text + f"[more{number}]\n\tpath = {folder}\n\tcreate mask = 0644\n")
                    assert outcome(control(server, "-r")) == (0, "", "")
                    assert "copied" in [row["path"] for row in listed(server, "--files")["files"]]
            assert client.stdout is not None
            shown = client.stdout.read()
        assert client.returncode == 0 and "NT_STATUS" not in shown, shown
        copied = folder / "copied"
        assert copied.stat().st_size == rounds * len(piece)
        with copied.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == digest.hexdigest()
