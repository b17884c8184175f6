# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose rights file operations have, what lies outside the share, and who is let in."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rawclient import BenchError, RawClient
from server import KsmbdServer, StartKsmbd
from unixusers import People, people

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make users")]

READ, WRITE, ALL = 0x120089, 0x120116, 0x1F01FF
DENIED = s.STATUS_ACCESS_DENIED
PLAIN = {"force user": ""}
"""A share whose files are accessed as whoever logged on."""
ROOT_IS_CLOSED = not os.stat("/").st_mode & stat.S_IXOTH
"""As in a root made with mktemp -d: no user gets anywhere by an absolute path, as `wide links` does."""


@pytest.fixture(scope="module")
def users() -> Iterator[People]:
    with people() as them:
        yield them


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that users can reach by its path: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        for one in (path, path / "wide", path / "outside"):
            one.mkdir(exist_ok=True)
            one.chmod(0o777)
        yield path


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd, users: People, open_folder: Path) -> KsmbdServer:
    """No share maps users that have no Unix account."""
    readable = {**PLAIN, "read only": "yes"}
    return start_shared(
        users={users.alice: "a-secret", users.bob: "b-secret", "ghost": "g-secret"},
        shares={
            "share": PLAIN,
            "follow": {**PLAIN, "follow symlinks": "yes"},
            "wide": {**PLAIN, "follow symlinks": "yes", "wide links": "yes", "path": str(open_folder / "wide")},
            "valid": {**PLAIN, "valid users": users.alice},
            "group": {**PLAIN, "valid users": f"@{users.team}"},
            "invalid": {**PLAIN, "invalid users": users.alice},
            "both": {**PLAIN, "valid users": users.alice, "invalid users": f"@{users.team}"},
            "readlist": {**PLAIN, "read list": users.alice},
            "writelist": {**readable, "write list": users.alice},
            "admins": {**PLAIN, "admin users": users.alice},
            "readadmins": {**readable, "admin users": users.alice},
            "denied": {**PLAIN, "hosts deny": "127."},
            "allowed": {**PLAIN, "hosts allow": "127.0.0.1", "hosts deny": "ALL"},
            "elsewhere": {**PLAIN, "hosts allow": "192.0.2.1", "hosts deny": "ALL"},
            "vetoed": {**PLAIN, "veto files": "/*.secret/hidden/"},
            "masked": {**PLAIN, "create mask": "0640", "directory mask": "0750", "force create mode": "0004"},
        },
    )


@pytest.fixture(scope="module")
def forcing(start_shared: StartKsmbd, users: People) -> KsmbdServer:
    """Shares that map everybody."""
    return start_shared(
        users={users.alice: "a-secret", "ghost": "g-secret"},
        shares={
            "forced": {"force user": users.bob},
            "grouped": {"force user": users.bob, "force group": users.team},
            "plain": PLAIN,
        },
    )


@pytest.fixture
def alice(server: KsmbdServer, users: People) -> Iterator[RawClient]:
    with RawClient(server, user=users.alice) as client:
        yield client


@pytest.fixture
def bob(server: KsmbdServer, users: People) -> Iterator[RawClient]:
    with RawClient(server, user=users.bob) as client:
        yield client


def status(client: RawClient, name: str, access: int = READ, disposition: int = c.FILE_OPEN, options: int = 0) -> int:
    """The status of a CREATE; what it opened is closed again."""
    reply = client.reply(client.post(c.CREATE, client.create_body(name, access, disposition, options)))
    code = int(struct.unpack_from("<I", reply, 8)[0])
    if code == 0:
        client.close(bytes(reply[128:144]))
    return code


def give(path: Path, owner: int, group: int, mode: int, text: str = "content") -> Path:
    """A file that belongs to somebody."""
    path.write_text(text)
    os.chown(path, owner, group)
    path.chmod(mode)
    return path


# ------------------------------------------------------------------------------------------------- whose rights


def test_a_private_file_of_another_user(server: KsmbdServer, users: People, alice: RawClient, bob: RawClient) -> None:
    private = give(server.share_path / "private", users.uid(users.bob), users.gid(users.bob), 0o600)
    for access in (READ, WRITE, ALL):
        assert status(alice, "private", access) == DENIED
    assert status(alice, "private", WRITE, c.FILE_OVERWRITE) == DENIED
    assert status(alice, "private", ALL, c.FILE_SUPERSEDE) == DENIED
    assert private.read_text() == "content"
    for access in (READ, WRITE):
        assert status(bob, "private", access) == 0


def test_a_file_that_others_may_read(server: KsmbdServer, users: People, alice: RawClient) -> None:
    give(server.share_path / "readable", users.uid(users.bob), users.gid(users.bob), 0o644)
    assert status(alice, "readable", READ) == 0
    assert status(alice, "readable", WRITE) == DENIED


def test_supplementary_groups_count(server: KsmbdServer, users: People, alice: RawClient, bob: RawClient) -> None:
    give(server.share_path / "of the team", 0, users.team_gid, 0o660)
    assert status(alice, "of the team", READ) == 0
    assert status(alice, "of the team", WRITE) == 0
    assert status(bob, "of the team", READ) == DENIED


def test_a_folder_of_root(server: KsmbdServer, alice: RawClient) -> None:
    folder = server.share_path / "of root"
    folder.mkdir(mode=0o700)
    (folder / "file").write_text("content")
    (folder / "file").chmod(0o666)
    assert status(alice, "of root", READ, options=1) == DENIED
    assert status(alice, "of root\\file") == DENIED
    assert status(alice, "of root\\new", WRITE, c.FILE_CREATE) == DENIED
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_new_files_belong_to_the_user(server: KsmbdServer, users: People, alice: RawClient, bob: RawClient) -> None:
    """Two users take turns in one worker, so that its identity changes with each request."""
    for index in range(20):
        for client in (alice, bob):
            options = 1 if index % 2 else 0x40
            assert status(client, f"new {index} {client is alice}", READ, c.FILE_CREATE, options) == 0
    for index in range(20):
        for name, mine in ((users.alice, True), (users.bob, False)):
            found = (server.share_path / f"new {index} {mine}").stat()
            assert (found.st_uid, found.st_gid) == (users.uid(name), users.gid(name))


def test_two_users_at_the_same_time(server: KsmbdServer, users: People) -> None:
    failures: list[object] = []

    def work(name: str) -> None:
        try:
            with RawClient(server, user=name) as client:
                for index in range(100):
                    file = client.open(f"busy {name} {index}")
                    client.ask(c.WRITE, client.write_body(file, 0, 70_000) + bytes(70_000), charge=2)
                    client.close(file)
        except BaseException as error:  # noqa: BLE001  (shown by the assertion below)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in (users.alice, users.bob)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    for name in (users.alice, users.bob):
        files = list(server.share_path.glob(f"busy {name} *"))
        assert len(files) == 100
        assert {(path.stat().st_uid, path.stat().st_gid, path.stat().st_size) for path in files} == {
            (users.uid(name), users.gid(name), 70_000)
        }


def test_deleting_and_renaming_in_a_sticky_folder(server: KsmbdServer, users: People, alice: RawClient) -> None:
    sticky = server.share_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    give(sticky / "of bob", users.uid(users.bob), users.gid(users.bob), 0o666)
    reply = alice.reply(alice.post(c.CREATE, alice.create_body("sticky\\of bob", 0x10000 | READ, c.FILE_OPEN, 0x1000)))
    if struct.unpack_from("<I", reply, 8)[0] == 0:
        alice.close(bytes(reply[128:144]))
    assert (sticky / "of bob").exists()


def test_taking_what_belongs_to_another(server: KsmbdServer, users: People, alice: RawClient) -> None:
    """Neither the owner nor the rights of bob's file can be set by alice, who may write its content."""
    path = give(server.share_path / "kept by bob", users.uid(users.bob), users.gid(users.bob), 0o666)
    for access in (0x80000, 0x40000):  # WRITE_OWNER, WRITE_DAC
        assert status(alice, "kept by bob", access) == DENIED
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (users.uid(users.bob), 0o666)


def test_masks(server: KsmbdServer, alice: RawClient, users: People) -> None:
    with RawClient(server, "masked", user=users.alice) as client:
        assert status(client, "file", READ, c.FILE_CREATE, 0x40) == 0
        assert status(client, "folder", READ, c.FILE_CREATE, 1) == 0
    shared = server.shares["masked"]
    assert stat.S_IMODE((shared / "file").stat().st_mode) & ~0o100 == 0o644
    assert stat.S_IMODE((shared / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize("user", ["alice", "ghost"])
def test_force_user_and_force_group(forcing: KsmbdServer, users: People, user: str) -> None:
    name = users.alice if user == "alice" else user
    for share, group in (("forced", users.gid(users.bob)), ("grouped", users.team_gid)):
        with RawClient(forcing, share, user=name) as client:
            assert status(client, f"by {user}", WRITE, c.FILE_CREATE) == 0
        found = (forcing.shares[share] / f"by {user}").stat()
        assert (found.st_uid, found.st_gid) == (users.uid(users.bob), group)


def test_a_user_without_a_unix_account(server: KsmbdServer, forcing: KsmbdServer) -> None:
    """Refused at the log-on where no share maps it, else at the shares that do not; one line each says why."""
    shown = server.smbclient("ls", user="ghost%g-secret").stdout
    assert "NT_STATUS_LOGON_FAILURE" in shown or "NT_STATUS_ACCESS_DENIED" in shown
    server.wait_for("ghost has no Unix account")
    assert server.drain().count("ghost has no Unix account") == 1
    assert "NT_STATUS_ACCESS_DENIED" in forcing.smbclient("ls", share="plain", user="ghost%g-secret").stdout
    forcing.wait_for("ghost has no Unix account")
    assert forcing.drain().count("ghost has no Unix account") == 1


# -------------------------------------------------------------------------------------------------- out of the share


@pytest.fixture(scope="module")
def outside(server: KsmbdServer, open_folder: Path) -> Path:
    """A folder out of the shares that everybody may write, and links of all kinds to it in three shares."""
    folder = open_folder / "outside"
    beside = server.folder / "shares" / "outside"
    beside.mkdir()
    (beside / "secret").write_text("beside the shares")
    (folder / "secret").write_text("secret")
    (folder / "secret").chmod(0o666)
    for name in ("share", "follow", "wide"):
        share = server.shares[name]
        (share / "inner").mkdir()
        (share / "inner").chmod(0o777)
        (share / "inner" / "file").write_text("inside")
        (share / "inner" / "file").chmod(0o666)
        for link, target in (
            ("to-file-absolute", folder / "secret"), ("to-file-relative", os.path.relpath(folder / "secret", share)),
            ("to-folder-absolute", folder), ("to-folder-relative", os.path.relpath(folder, share)),
            ("to-new", folder / "made-through-a-link"), ("to-root", "/"), ("to-parent", ".."),
            ("inside-relative", "inner/file"), ("inside-absolute", share / "inner" / "file"),
            ("inside-folder", "inner"), ("loop", "loop"),
            ("inner/up", "../.."), ("to-proc", "/proc/self/root"),
        ):  # fmt: skip
            os.symlink(target, share / link)
    return folder


ESCAPES = (
    "to-file-absolute", "to-file-relative", "to-folder-absolute\\secret", "to-folder-relative\\secret", "to-new",
    "to-root\\etc\\passwd", "to-parent\\follow\\inner\\file", "to-parent\\..\\outside\\secret",
    "inner\\up\\wide\\inner\\file",
    "to-folder-relative\\new", "to-folder-absolute\\new", "to-proc\\etc\\passwd", "loop", "loop\\x",
)  # fmt: skip


@pytest.mark.parametrize("share", ["share", "follow"])
@pytest.mark.parametrize("name", ESCAPES)
def test_links_never_lead_out_of_the_share(
    server: KsmbdServer, users: People, outside: Path, share: str, name: str
) -> None:
    """Nothing is read, made, changed, renamed into or deleted there, whatever `follow symlinks` is."""
    with RawClient(server, share, user=users.alice) as client:
        for access, disposition, options in (
            (READ, c.FILE_OPEN, 0x40), (ALL, c.FILE_OPEN_IF, 0x40), (ALL, c.FILE_OVERWRITE_IF, 0x40),
            (ALL, c.FILE_CREATE, 0x40), (ALL, c.FILE_CREATE, 1), (READ, c.FILE_OPEN, 1),
        ):  # fmt: skip
            reply = client.reply(client.post(c.CREATE, client.create_body(name, access, disposition, options)))
            assert struct.unpack_from("<I", reply, 8)[0] & 0x80000000, f"{access:x} {disposition} {options:x}"
        file = client.open("moves", ALL)
        raw = name.encode("utf-16-le")
        rename = struct.pack("<B7xQI", 0, 0, len(raw)) + raw
        body = struct.pack("<HBBIHHI16s", 33, 1, 10, len(rename), 96, 0, 0, file) + rename
        moved = client.status(c.SET_INFO, body)
        client.close(file)
        assert moved & 0x80000000 or "\\" not in name
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    for path in server.shares[share].glob("moves"):
        path.unlink()


def content(client: RawClient, name: str) -> bytes | int:
    """What a file holds, or the status of opening it."""
    reply = client.reply(client.post(c.CREATE, client.create_body(name, READ, c.FILE_OPEN)))
    code = int(struct.unpack_from("<I", reply, 8)[0])
    if code:
        return code
    file = bytes(reply[128:144])
    data = bytes(client.ask(c.READ, client.read_body(file, 0, 100)))[80:]
    client.close(file)
    return data


def test_links_inside_the_share(server: KsmbdServer, users: People, outside: Path) -> None:
    links = ("inside-relative", "inside-absolute", "inside-folder\\file")
    for share in ("follow",) if ROOT_IS_CLOSED else ("follow", "wide"):
        with RawClient(server, share, user=users.alice) as client:
            for name in links:
                assert content(client, name) == b"inside", f"{share} {name}"
    with RawClient(server, "share", user=users.alice) as client:
        for name in links:
            assert isinstance(content(client, name), int), name
        assert content(client, "inner\\file") == b"inside"


@pytest.mark.skipif(ROOT_IS_CLOSED, reason="users may not search /")
def test_wide_links_lead_out_on_purpose(server: KsmbdServer, users: People, outside: Path) -> None:
    with RawClient(server, "wide", user=users.alice) as client:
        for name in ("to-file-absolute", "to-file-relative", "to-folder-absolute\\secret"):
            assert content(client, name) == b"secret", name


@pytest.mark.parametrize(
    "name",
    [
        "..", "..\\", "..\\..", "..\\outside\\secret", "..\\..\\outside\\secret", "inner\\..\\..\\..\\outside\\secret",
        "inner\\..\\..", ".\\..\\..\\outside\\secret", "\\..\\..\\outside\\secret", "/../../outside/secret",
        "../../outside/secret", "inner/../../../outside/secret", "..\\share\\inner\\file", "inner\\..\\..\\share",
        "/etc/passwd", "\\etc\\passwd", "C:\\etc\\passwd", "\\\\127.0.0.1\\share\\..\\x",
        "nothing\\..\\..\\..\\outside\\secret",
        "inner\0\\..\\..\\..\\outside\\secret", "\uff0e\uff0e\\\uff0e\uff0e\\outside\\secret",
        "..::$DATA", "inner\\..:x",
    ],
    ids=ascii,
)  # fmt: skip
def test_names_never_lead_out_of_the_share(
    server: KsmbdServer, outside: Path, alice: RawClient, name: str
) -> None:
    before = {path for path in server.folder.rglob("*") if server.share_path not in path.parents}
    for access, disposition, options in (
        (READ, c.FILE_OPEN, 0), (ALL, c.FILE_OPEN_IF, 0x40), (ALL, c.FILE_CREATE, 1), (ALL, c.FILE_OVERWRITE_IF, 0x40),
    ):  # fmt: skip
        reply = alice.reply(alice.post(c.CREATE, alice.create_body(name, access, disposition, options)))
        assert struct.unpack_from("<I", reply, 8)[0] & 0x80000000, f"{access:x} {disposition}"
    file = alice.open("moves", ALL)
    raw = name.encode("utf-16-le")
    rename = struct.pack("<B7xQI", 0, 0, len(raw)) + raw
    body = struct.pack("<HBBIHHI16s", 33, 1, 10, len(rename), 96, 0, 0, file) + rename
    assert alice.status(c.SET_INFO, body) & 0x80000000
    alice.close(file)
    assert (server.share_path / "moves").exists()
    assert {path for path in server.folder.rglob("*") if server.share_path not in path.parents} == before
    assert os.listdir(outside) == ["secret"]


def test_a_link_that_takes_the_place_of_a_folder(server: KsmbdServer, users: People, outside: Path) -> None:
    """While a client works in a folder, somebody on the machine swaps it for a link out of the share, and back."""
    share = server.share_path
    (share / "swapped").mkdir()
    (share / "swapped").chmod(0o777)
    (share / "swapped" / "secret").write_text("inside")
    (share / "swapped" / "secret").chmod(0o666)
    os.symlink(outside, share / "swap-link")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for one, two in (("swapped", "swap-away"), ("swap-link", "swapped"), ("swapped", "swap-link"),
                             ("swap-away", "swapped")):  # fmt: skip
                os.rename(share / one, share / two)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        with RawClient(server, user=users.alice) as client:
            seen = [content(client, "swapped\\secret") for _ in range(1500)]
            for index in range(200):
                status(client, f"swapped\\made {index}", WRITE, c.FILE_OPEN_IF, 0x40)
    finally:
        done.set()
        swapper.join(20)
    assert b"secret" not in seen
    assert b"inside" in seen
    assert os.listdir(outside) == ["secret"]


def test_vetoed_names_do_not_exist(server: KsmbdServer, users: People) -> None:
    share = server.shares["vetoed"]
    (share / "a.secret").write_text("x")
    (share / "hidden").mkdir()
    (share / "hidden" / "file").write_text("x")
    (share / "seen").write_text("x")
    with RawClient(server, "vetoed", user=users.alice) as client:
        for name in ("a.secret", "A.SECRET", "hidden", "hidden\\file"):
            assert status(client, name) & 0x80000000, name
        assert status(client, "b.secret", WRITE, c.FILE_CREATE) & 0x80000000
        assert status(client, "seen") == 0
    listed = server.smbclient("ls", share="vetoed", user=f"{users.alice}%a-secret").stdout
    assert "seen" in listed and "secret" not in listed and "hidden" not in listed


# ------------------------------------------------------------------------------------------------------ who is let in


@pytest.mark.parametrize(
    ("share", "alice_may", "bob_may"),
    [
        ("share", "write", "write"), ("valid", "write", ""), ("group", "write", ""), ("invalid", "", "write"),
        ("both", "", ""), ("readlist", "read", "write"), ("writelist", "write", "read"), ("admins", "write", "write"),
        ("readadmins", "read", "read"),  # as with Samba: whose rights count, and not whether they may write
        ("denied", "", ""), ("allowed", "write", "write"), ("elsewhere", "", ""),
    ],
)  # fmt: skip
def test_lists_of_users_and_hosts(
    server: KsmbdServer, users: People, share: str, alice_may: str, bob_may: str
) -> None:
    for user, may in ((users.alice, alice_may), (users.bob, bob_may)):
        if not may:
            with pytest.raises(BenchError, match="0xC0000022"):
                RawClient(server, share, user=user)
            continue
        with RawClient(server, share, user=user) as client:
            assert status(client, "", READ, options=1) == 0
            made = status(client, f"by {user}", WRITE, c.FILE_OPEN_IF, 0x40)
            if may == "write":
                assert made == 0
            else:
                assert made in (DENIED, s.STATUS_MEDIA_WRITE_PROTECTED)
        assert (server.shares[share] / f"by {user}").exists() == (may == "write")


def test_admin_users_work_as_root(server: KsmbdServer, users: People) -> None:
    share = server.shares["admins"]
    give(share / "of root", 0, 0, 0o600)
    with RawClient(server, "admins", user=users.alice) as client:
        assert status(client, "of root", ALL) == 0
        assert status(client, "made by an admin", WRITE, c.FILE_CREATE, 0x40) == 0
    assert (share / "made by an admin").stat().st_uid == 0
    with RawClient(server, "admins", user=users.bob) as client:
        assert status(client, "of root", READ) == DENIED


def test_the_server_itself_is_not_another_user_s_for_long(server: KsmbdServer, users: People) -> None:
    """After all of this a file of root's is still refused to a user: nobody was left with root's rights."""
    give(server.share_path / "root's own", 0, 0, 0o600)
    with RawClient(server, user=users.alice) as client:
        assert status(client, "root's own", READ) == DENIED
    (server.share_path / "root's own").unlink()
