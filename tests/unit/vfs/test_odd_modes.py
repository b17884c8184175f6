# SPDX-License-Identifier: GPL-2.0-or-later
"""Modes that leave out what one usually has: what the user may do by the system call he may do through the share."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import USER, Share

from ksmbd.kernel import credentials
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.security_descriptor import SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.status import NtStatusError

OTHER = 2002


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as caught:
        call()
    return caught.value.status


@pytest.fixture
def on_disk(share: Share) -> Callable[[str, int], None]:
    """Gives a name below the share a mode, as the server."""

    def change(name: str, mode: int) -> None:
        with credentials.privileged():
            os.chmod(share.path / name, mode)

    return change


def test_a_folder_that_may_be_listed_and_not_searched(share: Share, on_disk: Callable[[str, int], None]) -> None:
    share.mkdir("d").close()
    share.open("d\\f").close()
    on_disk("d", 0o400)
    if os.geteuid() == 0 and not credentials.POSSIBLE:
        pytest.skip("everything may be searched by root")
    folder = share.open("d", access=c.FILE_LIST_DIRECTORY, options=c.FILE_DIRECTORY_FILE)
    assert [entry.name for entry in folder.list_directory()] == [".", ".."]


def test_what_a_file_is_like_though_its_attributes_may_not_be_read(
    share: Share, on_disk: Callable[[str, int], None]
) -> None:
    share.open("f", extended_attributes=[("one", 0, b"1")]).close()
    on_disk("f", 0o200)
    file = share.open("f", access=c.FILE_READ_ATTRIBUTES)
    assert file.info().ea_size == 0
    assert status_of(file.extended_attributes) == s.STATUS_ACCESS_DENIED


def test_overwriting_what_may_be_written_alone(share: Share, on_disk: Callable[[str, int], None]) -> None:
    share.open("f", extended_attributes=[("one", 0, b"1")]).write(0, b"text")
    on_disk("f", 0o200)
    file = share.open("f", access=c.FILE_WRITE_DATA, disposition=c.FILE_OVERWRITE)
    file.overwrite(c.FILE_ATTRIBUTE_NORMAL, False, [])
    on_disk("f", 0o600)
    file = share.open("f")
    assert file.info().end_of_file == 0 and file.extended_attributes() == []


def test_all_that_is_allowed_of_what_has_no_data(share: Share) -> None:
    with credentials.privileged():
        os.mkfifo(share.path / "fifo", 0o666)
        os.symlink("nothing", share.path / "link")
    for name in ("fifo", "link"):
        found = share.create(name, c.MAXIMUM_ALLOWED, c.FILE_OPEN, c.FILE_OPEN_REPARSE_POINT)
        assert found.granted_access & c.READ_CONTROL and not found.granted_access & (c.FILE_READ_DATA | c.FILE_EXECUTE)
        assert status_of(
            lambda: share.create(name, c.MAXIMUM_ALLOWED | c.FILE_READ_DATA, c.FILE_OPEN, c.FILE_OPEN_REPARSE_POINT)  # noqa: B023
        ) == s.STATUS_ACCESS_DENIED


def test_a_file_that_may_be_executed_alone(share: Share, on_disk: Callable[[str, int], None]) -> None:
    share.open("f").close()
    on_disk("f", 0o100)
    if os.geteuid() == 0 and not credentials.POSSIBLE:
        pytest.skip("everything may be read by root")
    granted = share.create("f", c.MAXIMUM_ALLOWED, c.FILE_OPEN).granted_access
    assert granted & c.WRITE_DAC and not granted & c.FILE_EXECUTE
    assert status_of(lambda: share.create("f", c.FILE_EXECUTE, c.FILE_OPEN)) == s.STATUS_ACCESS_DENIED


@pytest.mark.parametrize("mode", [0o300, 0o000])
def test_a_new_folder_that_its_owner_may_not_read(share: Share, mode: int) -> None:
    descriptor = SecurityDescriptor(SE_SELF_RELATIVE, None, None).encode()
    folder = share.open("d", options=c.FILE_DIRECTORY_FILE, disposition=c.FILE_CREATE, posix_mode=mode)
    assert folder.info().is_directory
    assert folder.extended_attributes() == []
    folder.close()
    share.mkdir("e", disposition=c.FILE_CREATE, posix_mode=mode, security_descriptor=descriptor).close()


@pytest.mark.root
@pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as two Unix users")
def test_a_link_in_a_sticky_folder_is_its_owners(make_share: Callable[..., Share]) -> None:
    share = make_share(flags=frozenset(("follow_symlinks",)))
    with credentials.privileged():
        os.chown(share.path, OTHER, OTHER)
        os.chmod(share.path, 0o1777)
        for name, target, owner in (("mine", "theirs", USER), ("theirs_link", "own", OTHER)):
            os.symlink(target, share.path / name)
            os.chown(share.path / name, owner, owner, follow_symlinks=False)
        for name, owner in (("theirs", OTHER), ("own", USER)):
            (share.path / name).touch()
            os.chown(share.path / name, owner, owner)
            os.chmod(share.path / name, 0o666)
    file = share.open("theirs_link", c.DELETE, c.FILE_OPEN)
    assert status_of(file.check_delete) == s.STATUS_ACCESS_DENIED
    with credentials.privileged():
        os.chmod(share.path / "theirs", 0o777)
    file = share.open("mine", c.DELETE, c.FILE_OPEN)
    file.check_delete()
    file.unlink()
    assert share.on_disk() == ["own", "theirs", "theirs_link"]


def test_listing_a_folder_that_an_absolute_link_leads_to(make_share: Callable[..., Share]) -> None:
    share = make_share(flags=frozenset(("follow_symlinks",)))
    share.mkdir("d").close()
    share.mkdir("d\\e").close()
    with credentials.privileged():
        os.symlink(os.path.realpath(share.path / "d"), share.path / "link")
    folder = share.open("link\\e", access=c.FILE_LIST_DIRECTORY, options=c.FILE_DIRECTORY_FILE)
    assert [entry.name for entry in folder.list_directory()] == [".", ".."]
