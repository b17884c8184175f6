# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import FLAGS, USER, Share

from ksmbd.kernel import credentials
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.status import NtStatusError


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


@pytest.mark.parametrize(
    ("disposition", "missing", "existing"),
    [
        (c.FILE_SUPERSEDE, c.FILE_CREATED, c.FILE_OPENED),
        (c.FILE_OPEN, s.STATUS_OBJECT_NAME_NOT_FOUND, c.FILE_OPENED),
        (c.FILE_CREATE, c.FILE_CREATED, s.STATUS_OBJECT_NAME_COLLISION),
        (c.FILE_OPEN_IF, c.FILE_CREATED, c.FILE_OPENED),
        (c.FILE_OVERWRITE, s.STATUS_OBJECT_NAME_NOT_FOUND, c.FILE_OPENED),
        (c.FILE_OVERWRITE_IF, c.FILE_CREATED, c.FILE_OPENED),
    ],
)
def test_dispositions(share: Share, disposition: int, missing: int, existing: int) -> None:
    """MS-SMB2 2.2.13: what each makes of a name that is free and one that is taken."""
    for wanted in (missing, existing):
        if wanted > 4:
            assert status_of(lambda: share.create("f", disposition=disposition)) == wanted
            share.create("f")
        else:
            result = share.create("f", disposition=disposition)
            assert result.action == wanted
            result.file.close()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("none\\f", s.STATUS_OBJECT_PATH_NOT_FOUND),
        ("file\\f", s.STATUS_OBJECT_PATH_NOT_FOUND),
        ("none", s.STATUS_OBJECT_NAME_NOT_FOUND),
        ("..\\x", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("dir\\..\\..\\x", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("a/b", s.STATUS_OBJECT_NAME_INVALID),
        ("a?", s.STATUS_OBJECT_NAME_INVALID),
        ("x" * 300, s.STATUS_OBJECT_NAME_INVALID),
    ],
)
def test_names(share: Share, name: str, status: int) -> None:
    (share.path / "file").touch()
    (share.path / "dir").mkdir()
    assert status_of(lambda: share.create(name, disposition=c.FILE_OPEN)) == status


def test_kinds(share: Share) -> None:
    share.mkdir("dir")
    share.open("file")
    non, only = c.FILE_NON_DIRECTORY_FILE, c.FILE_DIRECTORY_FILE
    assert status_of(lambda: share.create("dir", options=non)) == s.STATUS_FILE_IS_A_DIRECTORY
    assert status_of(lambda: share.create("file", options=only)) == s.STATUS_NOT_A_DIRECTORY
    assert status_of(lambda: share.create("file", disposition=c.FILE_CREATE, options=only)) == (
        s.STATUS_OBJECT_NAME_COLLISION
    )
    assert share.open("dir").is_directory and not share.open("file").is_directory


def test_case(share: Share) -> None:
    """Case-insensitive and case-preserving, directories too."""
    share.mkdir("Dir")
    share.open("Dir\\File").write(0, b"x")
    again = share.create("dIR\\fILE", disposition=c.FILE_OPEN)
    assert again.file.path == "Dir\\File" and again.file.read(0, 9) == b"x"
    assert status_of(lambda: share.create("DIR\\FILE", disposition=c.FILE_CREATE)) == s.STATUS_OBJECT_NAME_COLLISION
    share.open("DIR\\new")
    assert share.names("dir") == ["File", "new"]
    assert os.listdir(share.path) == ["Dir"]


def test_posix_names_have_case_and_any_character(share: Share) -> None:
    share.open("name")
    assert status_of(lambda: share.create("NAME", disposition=c.FILE_OPEN, posix_mode=0)) == (
        s.STATUS_OBJECT_NAME_NOT_FOUND
    )
    share.open('a:*"', posix_mode=0o640)
    assert share.on_disk() == ['a:*"', "name"]
    assert (share.path / 'a:*"').stat().st_mode & 0o777 == 0o640


def test_posix_clients_name_a_file_either_way(share: Share) -> None:
    """As it is, and with the private area for what Windows forbids; its path is the same."""
    made = share.open("a\uf022b\uf026\uf029", posix_mode=0o640)
    assert share.on_disk() == ["a:b\\."] and made.path == "a\uf022b\uf026\uf029"
    again = share.open("a\uf022b\uf026\uf029", disposition=c.FILE_OPEN)
    assert again.key == made.key and again.path == made.path
    assert [entry.name for entry in share.open("", posix_mode=0).list_directory()][2:] == ["a:b\\."]
    assert share.names() == ["a\uf022b\uf026\uf029"]
    made.rename("c\uf021", False)
    assert (share.on_disk(), again.path) == (["c*"], "c\uf021")


def test_posix_clients_reach_what_other_servers_named_by_the_private_area(share: Share) -> None:
    (share.path / "d\uf022").mkdir(0o777)
    (share.path / "d\uf022").chmod(0o777)
    (share.path / "d\uf022" / "f\uf021").touch()
    assert share.create("d\uf022\\f\uf021", access=c.FILE_READ_ATTRIBUTES, disposition=c.FILE_OPEN, posix_mode=0)


def test_names_that_windows_cannot_write_are_reachable(share: Share) -> None:
    for name in (b"a:b", b"end.", b"caf\xe9"):
        (share.path / os.fsdecode(name)).touch()
    shown = share.names()
    assert sorted(shown) == sorted(["a\uf022b", "end\uf029", "caf\uf0e9"])
    for each in shown:
        share.open(each, access=c.FILE_READ_ATTRIBUTES, disposition=c.FILE_OPEN)
        assert share.open(each.upper(), access=c.READ_CONTROL, disposition=c.FILE_OPEN).path == each


def test_no_read_permission_is_needed_for_attributes(share: Share) -> None:
    file = share.open("secret")
    file.close()
    os.chmod(share.path / "secret", 0)
    attributes = share.open("secret", access=c.FILE_READ_ATTRIBUTES, disposition=c.FILE_OPEN)
    assert attributes.fileno() == -1 and attributes.info().end_of_file == 0
    if os.geteuid() or USER:
        assert status_of(lambda: share.create("secret", access=c.FILE_READ_DATA, disposition=c.FILE_OPEN)) == (
            s.STATUS_ACCESS_DENIED
        )


def test_a_fifo_is_never_waited_for(share: Share) -> None:
    os.mkfifo(share.path / "fifo")
    os.chmod(share.path / "fifo", 0o666)
    for access in (c.FILE_READ_DATA, c.FILE_WRITE_DATA, c.FILE_ALL_ACCESS):
        assert status_of(lambda: share.create("fifo", access=access)) == s.STATUS_ACCESS_DENIED  # noqa: B023
    info = share.open("fifo", access=c.FILE_READ_ATTRIBUTES).info()
    assert info.attributes & c.FILE_ATTRIBUTE_REPARSE_POINT and info.end_of_file == 0
    share.open("fifo", access=c.DELETE).unlink()
    assert share.on_disk() == []


def test_modes(make_share: Callable[..., Share]) -> None:
    share = make_share(create_mask=0o640, force_create_mode=0o004, directory_mask=0o750, force_directory_mode=0o2000)
    share.open("f")
    share.mkdir("d")
    assert (share.path / "f").stat().st_mode & 0o7777 == 0o644
    assert (share.path / "d").stat().st_mode & 0o777 == 0o750


def test_read_only(make_share: Callable[..., Share]) -> None:
    share = make_share(read_only=True)
    (share.path / "f").write_text("x")
    os.chmod(share.path / "f", 0o777)
    read = c.FILE_GENERIC_READ
    assert share.open("f", access=read, disposition=c.FILE_OPEN).read(0, 1) == b"x"
    for access in (c.FILE_WRITE_DATA, c.DELETE, c.WRITE_DAC, c.FILE_WRITE_ATTRIBUTES):
        assert status_of(lambda: share.create("f", access=access)) == s.STATUS_ACCESS_DENIED  # noqa: B023
    assert status_of(lambda: share.create("new", access=read)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: share.create("f", access=read, disposition=c.FILE_OVERWRITE)) == s.STATUS_ACCESS_DENIED
    everything = share.create("f", access=c.MAXIMUM_ALLOWED)
    assert everything.granted_access & (c.FILE_WRITE_DATA | c.DELETE) == 0
    assert everything.granted_access & c.FILE_READ_DATA
    assert not share.volume.maximal_access() & c.FILE_ADD_FILE


def test_the_read_only_attribute(share: Share) -> None:
    share.open("f", attributes=c.FILE_ATTRIBUTE_READONLY).write(0, b"made by its creator")
    assert status_of(lambda: share.create("f", access=c.FILE_WRITE_DATA)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: share.create("f", disposition=c.FILE_OVERWRITE)) == s.STATUS_ACCESS_DENIED
    delete = c.FILE_DELETE_ON_CLOSE
    assert status_of(lambda: share.create("f", access=c.DELETE, options=delete)) == s.STATUS_CANNOT_DELETE
    file = share.open("f", access=c.DELETE | c.FILE_READ_DATA)
    assert status_of(file.check_delete) == s.STATUS_CANNOT_DELETE
    granted = share.create("f", access=c.MAXIMUM_ALLOWED).granted_access
    assert granted & c.FILE_READ_DATA and not granted & c.FILE_WRITE_DATA


def test_maximum_allowed_opens_the_data(share: Share) -> None:
    share.open("f").write(0, b"1")
    file = share.open("f", access=c.MAXIMUM_ALLOWED, disposition=c.FILE_OPEN)
    file.write(1, b"2")
    assert file.read(0, 5) == b"12" and file.fileno() >= 0


def test_hidden_files_are_not_overwritten_by_the_way(share: Share) -> None:
    share.open("f", attributes=c.FILE_ATTRIBUTE_HIDDEN)
    assert status_of(lambda: share.create("f", disposition=c.FILE_OVERWRITE_IF)) == s.STATUS_ACCESS_DENIED
    share.create("f", disposition=c.FILE_OVERWRITE_IF, attributes=c.FILE_ATTRIBUTE_HIDDEN)


def test_veto(make_share: Callable[..., Share]) -> None:
    share = make_share(veto_files=("*.secret", "hid?"))
    (share.path / "a.secret").touch()
    (share.path / "hide").mkdir()
    (share.path / "hide" / "f").touch()
    (share.path / "seen").touch()
    assert share.names() == ["seen"]
    assert status_of(lambda: share.create("A.SECRET", disposition=c.FILE_OPEN)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status_of(lambda: share.create("new.secret")) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status_of(lambda: share.create("hide\\f")) == s.STATUS_OBJECT_PATH_NOT_FOUND


def test_links(make_share: Callable[..., Share]) -> None:
    share = make_share()
    follower = make_share(flags=FLAGS | {"follow_symlinks"})
    (share.path / "real").write_text("data")
    os.chmod(share.path / "real", 0o666)
    (share.path / "in").symlink_to("real")
    (share.path / "out").symlink_to("/etc/passwd")
    (share.path / "nothing").symlink_to("missing")
    read: dict[str, Any] = {"access": c.FILE_GENERIC_READ, "disposition": c.FILE_OPEN}
    assert follower.open("in", **read).read(0, 9) == b"data"
    assert follower.open("in", **read).key == share.open("real", **read).key
    assert status_of(lambda: follower.create("out", **read)) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: follower.create("nothing", **read)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status_of(lambda: follower.create("nothing")) == s.STATUS_OBJECT_NAME_NOT_FOUND
    for name in ("in", "out", "nothing"):
        assert status_of(lambda: share.create(name, **read)) == s.STATUS_ACCESS_DENIED  # noqa: B023
    link = share.open("out", access=c.FILE_READ_ATTRIBUTES | c.DELETE, options=c.FILE_OPEN_REPARSE_POINT)
    assert link.info().reparse_tag == 0xA000000C
    assert link.reparse_point()[0] == 0xA000000C
    link.unlink()
    follower.open("in", access=c.DELETE, disposition=c.FILE_OPEN).unlink()
    assert share.on_disk() == ["nothing", "real"]


def test_a_failed_create_leaves_nothing(share: Share) -> None:
    call = lambda: share.create("f", extended_attributes=[("", 0, b"x")])  # noqa: E731
    assert status_of(call) == s.STATUS_INVALID_EA_NAME
    assert share.on_disk() == []
    result = share.create("g")
    result.file.undo_create()
    assert share.on_disk() == []


def test_ten_thousand_new_names_read_the_directory_once(share: Share) -> None:
    for number in range(300):
        share.create(f"New File {number}").file.close()
    assert share.files.cache.scans <= 1
    assert share.open("NEW file 7", disposition=c.FILE_OPEN).path == "New File 7"


def test_the_root(share: Share) -> None:
    root = share.open("")
    assert root.path == "" and root.is_directory and root.parent_key is None
    assert status_of(root.unlink) == s.STATUS_ACCESS_DENIED
    assert status_of(lambda: root.rename("x", False)) == s.STATUS_ACCESS_DENIED


def test_a_share_without_its_folder(make_share: Callable[..., Share], tmp_path: Any) -> None:
    share = make_share()
    credentials.as_server()
    os.rmdir(share.path)
    assert status_of(make_share) == s.STATUS_BAD_NETWORK_NAME
    os.mkdir(share.path)
