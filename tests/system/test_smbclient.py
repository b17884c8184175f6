# SPDX-License-Identifier: GPL-2.0-or-later
"""Samba's smbclient: dialects and protection, names, trees, who may do what."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from server import KsmbdServer, StartKsmbd

pytestmark = pytest.mark.skipif(shutil.which("smbclient") is None, reason="needs smbclient")

DIALECTS = ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11")
PROTECTIONS = ("off", "sign", "encrypt")
SIZE = 3_000_001
GUEST_SHARE = {"guest ok": "yes", "read only": "yes"}


@pytest.fixture(scope="module")
def shared(start_shared: StartKsmbd) -> KsmbdServer:
    """One server for all that only needs shares of different kinds."""
    return start_shared(
        options={"server min protocol": "SMB2_02", "map to guest": "bad user", "smb2 max credits": "512"},
        shares={
            "share": {"comment": "Where all may write"},
            "readonly": {"read only": "yes"},
            "guests": GUEST_SHARE,
            "hidden": {"browseable": "no"},
            "sealed": {"smb3 encryption": "mandatory"},
            "Ünïcode": {},
        },
    )


@pytest.fixture(scope="module")
def sealing(start_shared: StartKsmbd) -> KsmbdServer:
    """A server that serves nobody in the clear."""
    return start_shared(options={"smb3 encryption": "mandatory"})


@pytest.fixture
def place(shared: KsmbdServer) -> str:
    """A folder of the share that is this test's own."""
    name = f"place{len(os.listdir(shared.share_path))}"
    path = shared.share_path / name
    path.mkdir()
    path.chmod(0o777)
    return name


@pytest.fixture(scope="module")
def gibibyte(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of 1 GiB that repeats no page, and its hash."""
    path = tmp_path_factory.mktemp("big") / "big"
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(256):
            piece = os.urandom(4 << 20)
            digest.update(piece)
            stream.write(piece)
    return path, digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ok(result: subprocess.CompletedProcess[str]) -> str:
    """What it printed; it must have found nothing wrong."""
    shown = result.stdout + result.stderr
    assert result.returncode == 0 and "NT_STATUS" not in shown, shown
    return result.stdout


def refused(result: subprocess.CompletedProcess[str], status: str) -> None:
    """It printed this status. (Its exit status says nothing: it is 0 after some commands that failed.)"""
    shown = result.stdout + result.stderr
    assert f"NT_STATUS_{status}" in shown, shown


# ----------------------------------------------------------------------------------------------- dialects, protection


@pytest.mark.parametrize("protection", PROTECTIONS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_put_and_get(shared: KsmbdServer, place: str, dialect: str, protection: str) -> None:
    source, back = shared.folder / f"{place}.source", shared.folder / f"{place}.back"
    source.write_bytes(os.urandom(SIZE))
    result = shared.smbclient(
        f"cd {place}; put {source.name} copy; get copy {back.name}; ls; del copy; ls",
        "-m", dialect, f"--client-protection={protection}",
    )  # fmt: skip
    if protection == "encrypt" and dialect < "SMB3":
        assert result.returncode != 0, "encryption came with 3.0"
        return
    listed = ok(result)
    assert f"{SIZE}" in listed and listed.count("copy") >= 1
    assert sha256(source) == sha256(back)
    assert list((shared.share_path / place).iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("protection", ["off", "encrypt"])
def test_a_gibibyte_there_and_back(ksmbd: KsmbdServer, gibibyte: tuple[Path, str], protection: str) -> None:
    source, digest = gibibyte
    protected = f"--client-protection={protection}"
    ok(ksmbd.smbclient(f"put {source} big; get big back", "-m", "SMB3_11", protected, timeout=240))
    assert (ksmbd.share_path / "big").stat().st_size == 1 << 30
    assert sha256(ksmbd.share_path / "big") == digest
    (ksmbd.share_path / "big").unlink()
    assert sha256(ksmbd.folder / "back") == digest
    (ksmbd.folder / "back").unlink()


def test_dialects_outside_the_range_are_not_spoken(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"server min protocol": "SMB3_00", "server max protocol": "SMB3_02"})
    assert server.smbclient("ls", "-m", "SMB2_10").returncode != 0
    ok(server.smbclient("ls", "-m", "SMB3_11"))
    assert server.smbclient("ls", "-m", "SMB3_11", "--option=client min protocol=SMB3_11").returncode != 0
    ok(server.smbclient("ls", "-m", "SMB3_02", "--client-protection=encrypt"))


@pytest.mark.parametrize("dialect", DIALECTS[1:])
def test_mandatory_encryption(sealing: KsmbdServer, dialect: str) -> None:
    """2.x clients cannot encrypt; from 3.0 on smbclient does when the log-on's answer says so."""
    if dialect < "SMB3":
        refused(sealing.smbclient("mkdir clear", "-m", dialect), "ACCESS_DENIED")
        assert list(sealing.share_path.iterdir()) == []
    else:
        ok(sealing.smbclient(f"mkdir {dialect}", "-m", dialect, "--client-protection=encrypt"))
        ok(sealing.smbclient(f"rmdir {dialect}", "-m", dialect))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_share_may_demand_encryption(shared: KsmbdServer, dialect: str) -> None:
    if dialect < "SMB3":
        refused(shared.smbclient("mkdir clear", "-m", dialect, share="sealed"), "ACCESS_DENIED")
        assert list(shared.shares["sealed"].iterdir()) == []
    else:
        ok(shared.smbclient(f"mkdir {dialect}", "-m", dialect, "--client-protection=encrypt", share="sealed"))
        ok(shared.smbclient(f"rmdir {dialect}", "-m", dialect, share="sealed"))


def test_mandatory_signing_signs_all(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(options={"server signing": "mandatory", "server min protocol": "SMB2_02"})
    for dialect in DIALECTS:
        ok(server.smbclient(f"mkdir {dialect}", "-m", dialect, "--option=client signing=auto"))


# --------------------------------------------------------------------------------------------------- who may do what


def test_shares_are_listed(shared: KsmbdServer) -> None:
    result = shared.list_shares()
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert "Disk|share|Where all may write" in lines
    assert {"Disk|readonly|", "Disk|guests|", "Disk|sealed|", "Disk|Ünïcode|"} <= set(lines)
    assert any(line.startswith("IPC|IPC$|") for line in lines)
    assert not any("hidden" in line for line in lines)
    ok(shared.smbclient("ls", share="hidden"))
    ok(shared.smbclient("ls", share="Ünïcode"))
    ok(shared.smbclient("ls", share="SHARE"))


@pytest.mark.parametrize("dialect", ["SMB2_10", "SMB3_11"])
def test_a_wrong_password_is_refused(shared: KsmbdServer, dialect: str) -> None:
    refused(shared.smbclient("ls", "-m", dialect, user=f"{shared.user}%wrong"), "LOGON_FAILURE")
    refused(shared.smbclient("ls", "-m", dialect, user=f"{shared.user}%"), "LOGON_FAILURE")
    ok(shared.smbclient("ls", "-m", dialect, user=f"{shared.user.upper()}%{shared.password}"))


def test_an_unknown_share_is_refused(shared: KsmbdServer) -> None:
    refused(shared.smbclient("ls", share="nothing"), "BAD_NETWORK_NAME")


def test_nothing_is_written_to_a_read_only_share(shared: KsmbdServer) -> None:
    share = shared.shares["readonly"]
    (share / "kept").write_text("kept")
    (shared.folder / "new").write_text("new")
    for command in (
        "put new kept", "put new new", "del kept", "mkdir d", "rename kept other", "setmode kept +h",
        "utimes kept -1 -1 -1 2001:01:01-00:00:00",
    ):  # fmt: skip
        shown = shared.smbclient(command, share="readonly").stdout
        assert "NT_STATUS_ACCESS_DENIED" in shown or "NT_STATUS_MEDIA_WRITE_PROTECTED" in shown, f"{command}: {shown}"
    assert {path.name: path.read_text() for path in share.iterdir()} == {"kept": "kept"}
    assert os.listxattr(share / "kept") == []
    ok(shared.smbclient("get kept read-only", share="readonly"))


def test_a_user_that_does_not_exist(shared: KsmbdServer, start_ksmbd: StartKsmbd) -> None:
    """With `map to guest = bad user` a guest, who comes into shares with `guest ok` alone; else refused."""
    (shared.shares["guests"] / "seen").write_text("by all")
    ok(shared.smbclient("get seen seen", share="guests", user="nobody-of-ours%any"))
    refused(shared.smbclient("ls", user="nobody-of-ours%any"), "ACCESS_DENIED")
    refused(shared.smbclient("ls", share="guests", user=f"{shared.user}%wrong"), "LOGON_FAILURE")
    strict = start_ksmbd(shares={"share": {}, "guests": GUEST_SHARE})
    refused(strict.smbclient("ls", share="guests", user="nobody-of-ours%any"), "LOGON_FAILURE")


def test_the_anonymous_user(shared: KsmbdServer, start_ksmbd: StartKsmbd) -> None:
    ok(shared.smbclient("ls", "-N", share="guests", user="%"))
    refused(shared.smbclient("ls", "-N", user="%"), "ACCESS_DENIED")
    assert "Disk|guests|" in shared.list_shares("-N", user="%").stdout
    strict = start_ksmbd(options={"restrict anonymous": "1"}, shares={"share": {}, "guests": {"read only": "yes"}})
    assert "Disk|" not in strict.list_shares("-N", user="%").stdout


# --------------------------------------------------------------------------------------------------------------- names


NAMES = (
    "🎉 party 🧑‍🚀.txt", "crème brûlée.txt", "cre\u0300me.txt", "Ω ≈ ç √.md", "漢字かな交じり文", "עברית", "a b  c",
    "#hash", "%41", "semi,comma", "'quoted'", "[brackets]", "{braces}", "~tilde$", "many.dots.in.here", "-dash",
    "x" * 255, "é" * 127, "\U00010400" * 60, "+plus=equals", "`back`",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_a_name_comes_back_as_it_went(shared: KsmbdServer, place: str, name: str) -> None:
    (shared.folder / "small").write_text(name)
    ok(shared.smbclient(f'cd {place}; put small "{name}"; get "{name}" "{place}.back"; ls'))
    assert [path.name for path in (shared.share_path / place).iterdir()] == [name]
    assert (shared.folder / f"{place}.back").read_text() == name
    listed = ok(shared.smbclient(f'cd {place}; ls "{name}"' if "[" not in name else f"cd {place}; ls"))
    assert name in listed
    ok(shared.smbclient(f'cd {place}; rename "{name}" plain; mkdir "{name}"; rmdir "{name}"; del plain'))
    assert list((shared.share_path / place).iterdir()) == []


def test_upper_and_lower_case_are_one_name(shared: KsmbdServer, place: str) -> None:
    folder = shared.share_path / place
    (shared.folder / "one").write_text("one")
    (shared.folder / "two").write_text("two")
    ok(
        shared.smbclient(
            f"cd {place}; mkdir Größe; put one GRÖSSE; cd gRÖßE; put one ÄrGer; put two äRgEr; get ÄRGER case"
        )
    )
    assert (shared.folder / "case").read_text() == "two"
    assert [path.name for path in (folder / "Größe").iterdir()] == ["ÄrGer"]
    assert (folder / "Größe" / "ÄrGer").read_text() == "two"
    refused(shared.smbclient(f"mkdir {place}/GRÖßE"), "OBJECT_NAME_COLLISION")
    ok(shared.smbclient(f"cd {place}/größe; rename ärger ÄRGER"))
    assert [path.name for path in (folder / "Größe").iterdir()] == ["ÄRGER"]


@pytest.mark.parametrize("name", ["a<b", "a>b", "a|b", "a\tb", "a\x01b", "a\x7f|"], ids=ascii)
def test_names_that_windows_forbids_are_refused(shared: KsmbdServer, place: str, name: str) -> None:
    refused(shared.smbclient(f'mkdir "{place}/{name}"'), "OBJECT_NAME_INVALID")
    assert list((shared.share_path / place).iterdir()) == []


def test_names_on_disk_that_windows_forbids_are_still_listed(shared: KsmbdServer, place: str) -> None:
    """They were made by others: a client sees that something is there, and all the rest of the folder."""
    folder = shared.share_path / place
    for name in ("colon:here", "ends.", "ends ", "back\\slash", "plain", 'q"uote', "star*"):
        (folder / name).write_text("x")
    (folder / os.fsdecode(b"latin-\xe9")).write_text("x")
    listed = ok(shared.smbclient(f"cd {place}; ls"))
    assert "plain" in listed
    ok(shared.smbclient(f"get {place}/plain plain"))


def test_names_that_are_too_long_are_refused(shared: KsmbdServer, place: str) -> None:
    for name in ("y" * 256, "é" * 128, "z" * 4000):
        shown = shared.smbclient(f"mkdir {place}/{name}").stdout
        assert "NT_STATUS_OBJECT_NAME_INVALID" in shown or "NT_STATUS_NAME_TOO_LONG" in shown, shown
    ok(shared.smbclient(f"cd {place}; ls"))


def test_a_deep_path(shared: KsmbdServer, place: str) -> None:
    levels = ["level" + "x" * 40 + str(index) for index in range(20)]
    path = "/".join([place, *levels])
    (shared.folder / "deep").write_text("deep")
    commands = "; ".join(f"mkdir {'/'.join([place, *levels[:depth]])}" for depth in range(1, len(levels) + 1))
    ok(shared.smbclient(f"{commands}; put deep {path}/file; get {path}/file deep.back; ls {path}/*"))
    assert (shared.share_path / path / "file").read_text() == "deep" == (shared.folder / "deep.back").read_text()
    refused(shared.smbclient(f"get {place}/no/such/path x"), "OBJECT_PATH_NOT_FOUND")
    refused(shared.smbclient(f"get {place}/nothing x"), "OBJECT_NAME_NOT_FOUND")


# ----------------------------------------------------------------------------------------------- smbclient's commands


def test_a_tree_there_and_back(shared: KsmbdServer, place: str) -> None:
    source = shared.folder / "tree"
    expected = {}
    for index in range(40):
        path = source / f"d{index % 4}" / f"e{index % 3}" / f"datei-{index}-ä"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(index * 997))
        expected[path.relative_to(source)] = sha256(path)
    ok(shared.smbclient(f"cd {place}; prompt off; recurse on; lcd tree; mput *"))
    copy = shared.share_path / place
    assert {path.relative_to(copy): sha256(path) for path in copy.rglob("*") if path.is_file()} == expected
    (shared.folder / "tree.back").mkdir()
    ok(shared.smbclient(f"cd {place}; prompt off; recurse on; lcd tree.back; mget *"))
    back = shared.folder / "tree.back"
    assert {path.relative_to(back): sha256(path) for path in back.rglob("*") if path.is_file()} == expected
    assert "blocks" in ok(shared.smbclient(f"cd {place}; du"))
    ok(shared.smbclient(f"deltree {place}/d0"))
    assert not (copy / "d0").exists() and (copy / "d1").exists()


def test_rename_and_delete(shared: KsmbdServer, place: str) -> None:
    folder = shared.share_path / place
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    refused(shared.smbclient(f"cd {place}; rename a b"), "OBJECT_NAME_COLLISION")
    ok(shared.smbclient(f"cd {place}; rename a b -f; mkdir d; rename b d/c"))
    assert (folder / "d" / "c").read_text() == "a"
    refused(shared.smbclient(f"cd {place}; rmdir d"), "DIRECTORY_NOT_EMPTY")
    ok(shared.smbclient(f"cd {place}; del d/c; rmdir d"))
    assert list(folder.iterdir()) == []
    refused(shared.smbclient(f"cd {place}; rmdir d"), "OBJECT_NAME_NOT_FOUND")


def test_what_smbclient_can_ask_of_a_file(shared: KsmbdServer, place: str) -> None:
    path = shared.share_path / place / "file"
    path.write_bytes(b"x" * 12345)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    shown = ok(shared.smbclient(f"cd {place}; allinfo file"))
    assert "attributes: A (20)" in shown or "attributes: (80)" in shown
    assert "stream: [::$DATA], 12345 bytes" in shown
    assert "Sun Sep  9 " in next(line for line in shown.splitlines() if line.startswith("write_time"))
    ok(shared.smbclient(f"cd {place}; setmode file +rh"))
    assert "attributes: RH" in ok(shared.smbclient(f"cd {place}; allinfo file"))
    refused(shared.smbclient(f"cd {place}; del file"), "CANNOT_DELETE")
    ok(shared.smbclient(f"cd {place}; setmode file -r; del file"))
    assert "blocks of size" in ok(shared.smbclient("du"))
    assert "serial" in ok(shared.smbclient("volume")).lower()


def test_the_posix_command_is_refused_politely(shared: KsmbdServer) -> None:
    """smbclient's `posix` is about SMB1: it says so, and the connection goes on."""
    shown = shared.smbclient("posix; ls").stdout
    assert "blocks available" in shown, shown


def test_the_rest_of_a_file_is_fetched(shared: KsmbdServer, place: str) -> None:
    whole = os.urandom(2_000_000)
    (shared.share_path / place / "file").write_bytes(whole)
    (shared.folder / "part").write_bytes(whole[:700_000])
    ok(shared.smbclient(f"cd {place}; reget file part"))
    assert (shared.folder / "part").read_bytes() == whole


def test_everything_is_closed_in_the_end(shared: KsmbdServer) -> None:
    shared.wait_stats("\nconnections: 0\nsessions: 0\nopens: 0\n")
