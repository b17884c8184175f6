# SPDX-License-Identifier: GPL-2.0-or-later
"""Quotas of the file system: who is told of whose, who sets them, and the quota file, over a kernel that is a table."""
from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import USER, Share

from ksmbd.kernel import credentials, quota
from ksmbd.kernel.quota import Quota, State
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import QUOTA_STREAM, QuotaEntry
from ksmbd.smb.sid import EVERYONE, UNIX_USERS
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import volume_info

MiB = 1 << 20
MakeShare = Callable[..., Share]


class Kernel:
    """What quotactl says of users; `failing`: an errno for all calls, or for the change of one uid."""

    def __init__(self) -> None:
        self.users: dict[int, Quota] = {}
        self.failing = 0
        self.refuses = -1

    def _check(self) -> None:
        if self.failing:
            raise OSError(self.failing, "")

    def get(self, fd: int, kind: int, id_: int) -> Quota:
        self._check()
        return self.users.get(id_, Quota(id_, 0, 0, 0)) if kind == quota.USER else Quota(id_, 0, 0, 0)

    def following(self, fd: int, kind: int, id_: int) -> Quota | None:
        self._check()
        return next((self.users[uid] for uid in sorted(self.users) if uid >= id_), None)

    def set_limits(self, fd: int, kind: int, id_: int, soft: int, hard: int) -> None:
        self._check()
        if id_ == self.refuses:
            raise OSError(errno.EDQUOT, "")
        self.users[id_] = Quota(id_, self.get(fd, kind, id_).used, soft, hard)

    def state(self, fd: int, kind: int) -> State:
        self._check()
        return State(True, True)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("get", "following", "set_limits", "state"):
        monkeypatch.setattr(quota, name, getattr(made, name))
    made.users = {uid: Quota(uid, (uid + 1) * MiB, 0, 0) for uid in (0, USER, USER + 1, USER + 7)}
    made.users[USER] = Quota(USER, 4 * MiB, 10 * MiB, 20 * MiB)
    made.users[USER + 2] = Quota(USER + 2, 0, 0, 0)  # neither files nor limits
    return made


def status(call: Callable[[], Any]) -> int:
    try:
        call()
    except NtStatusError as error:
        return error.status
    return 0


def test_a_user_is_told_his_own_alone(share: Share, kernel: Kernel) -> None:
    file = share.open("f")
    for sid in (UNIX_USERS.child(USER), share.volume.place.access.idmap.user_sid(USER)):
        assert file.quota(sid) == QuotaEntry(sid, 4 * MiB, 10 * MiB, 20 * MiB)
    assert file.quota(EVERYONE) == QuotaEntry(EVERYONE, 0, -1, -1)
    assert share.open("f", stream="s").quota(UNIX_USERS.child(USER)).used == 4 * MiB
    if not credentials.POSSIBLE:
        return
    for call in (
        lambda: file.quota(UNIX_USERS.child(USER + 1)), lambda: file.quotas(0, 5),
        lambda: file.set_quotas([QuotaEntry(UNIX_USERS.child(USER), 0, -1, -1)]),
    ):  # fmt: skip
        assert status(call) == s.STATUS_ACCESS_DENIED
    assert kernel.users[USER].hard == 20 * MiB


def test_root_is_told_all(make_share: MakeShare, kernel: Kernel) -> None:
    file = make_share(admin=True).open("f")
    user_sid = make_share(admin=True).volume.place.access.idmap.user_sid
    expected = [0, USER, USER + 1, USER + 7]
    found, position = file.quotas(0, 10)
    assert [entry.sid for entry in found] == [user_sid(uid) for uid in expected]
    assert file.quotas(position, 10) == ([], position)
    found, position = file.quotas(0, 2)
    assert [entry.sid for entry in found] == [user_sid(0), user_sid(USER)]
    found, position = file.quotas(position, 2)
    assert [entry.sid for entry in found] == [user_sid(USER + 1), user_sid(USER + 7)]
    assert found[0] == QuotaEntry(user_sid(USER + 1), (USER + 2) * MiB, -1, -1)
    assert file.quota_position(user_sid(USER + 1)) == USER + 1
    assert status(lambda: file.quota_position(EVERYONE)) == s.STATUS_NONE_MAPPED


def test_root_sets_them(make_share: MakeShare, kernel: Kernel) -> None:
    file = make_share(admin=True).open("f")
    file.set_quotas([
        QuotaEntry(UNIX_USERS.child(USER), 0, -1, 30 * MiB), QuotaEntry(UNIX_USERS.child(USER + 9), 0, MiB, -1)
    ])  # fmt: skip
    assert kernel.users[USER] == Quota(USER, 4 * MiB, 0, 30 * MiB)
    assert kernel.users[USER + 9] == Quota(USER + 9, 0, MiB, 0)


def test_all_of_them_or_none(make_share: MakeShare, kernel: Kernel) -> None:
    file = make_share(admin=True).open("f")
    before = dict(kernel.users)
    wanted = [QuotaEntry(UNIX_USERS.child(uid), 0, MiB, MiB) for uid in (USER, USER + 1, USER + 7)]
    assert status(lambda: file.set_quotas([*wanted, QuotaEntry(EVERYONE, 0, 1, 1)])) == s.STATUS_NONE_MAPPED
    assert kernel.users == before
    kernel.refuses = USER + 7
    assert status(lambda: file.set_quotas(wanted)) == s.STATUS_DISK_FULL
    assert kernel.users == before


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ESRCH])
def test_where_the_file_system_has_none(make_share: MakeShare, kernel: Kernel, code: int) -> None:
    kernel.failing = code
    file = make_share(admin=True).open("f")
    for call in (
        lambda: file.quota(UNIX_USERS.child(USER)), lambda: file.quota(EVERYONE), lambda: file.quotas(0, 5),
        lambda: file.set_quotas([QuotaEntry(UNIX_USERS.child(USER), 0, -1, -1)]),
    ):  # fmt: skip
        assert status(call) == s.STATUS_NOT_SUPPORTED
    info = file.volume_info()
    assert info.quota_flags == 0 and not info.attributes & volume_info.FILE_VOLUME_QUOTAS


def test_the_volume_says_so(share: Share, kernel: Kernel) -> None:
    info = share.open("f").volume_info()
    assert info.quota_flags == 3 and info.attributes & volume_info.FILE_VOLUME_QUOTAS
    assert info.total_units * info.sectors_per_unit * info.bytes_per_sector == 10 * MiB


# ------------------------------------------------------------------------------------------------------ the quota file


def quota_file(share: Share, access: int = c.FILE_GENERIC_READ, disposition: int = c.FILE_OPEN, **more: Any) -> Any:
    return share.create("$Extend\\$Quota", access, disposition, stream=QUOTA_STREAM, **more)


def test_the_quota_file_is_roots(make_share: MakeShare, share: Share, kernel: Kernel) -> None:
    if credentials.POSSIBLE:
        assert status(lambda: quota_file(share)) == s.STATUS_ACCESS_DENIED
    admin = make_share(admin=True)
    created = quota_file(admin)
    assert created.info is not None and created.info == created.file.info()
    assert (created.info.attributes, created.info.creation_time, created.info.change_time) == (0x36, 0, 0)
    assert len(created.file.quotas(0, 9)[0]) == 4
    for disposition in (c.FILE_CREATE, c.FILE_SUPERSEDE, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF):
        assert status(lambda: quota_file(admin, disposition=disposition)) == s.STATUS_ACCESS_DENIED  # noqa: B023


def test_the_quota_file_changes_nothing_of_the_folder(make_share: MakeShare) -> None:
    admin = make_share(admin=True)
    file = quota_file(admin, c.FILE_ALL_ACCESS).file
    assert file.key != admin.open("").key and file.parent_key is None and not file.is_directory
    for call in (
        lambda: file.set_basic(0, 0, 1 << 56, 0, 2), lambda: file.unlink(), lambda: file.check_delete(),
        lambda: file.write(0, b"x"), lambda: file.set_security_descriptor(4, file.security_descriptor(4)),
    ):  # fmt: skip
        assert status(call) == s.STATUS_MEDIA_WRITE_PROTECTED
    assert status(lambda: list(file.list_directory())) == s.STATUS_NOT_A_DIRECTORY
    assert quota_file(admin, c.MAXIMUM_ALLOWED).granted_access == c.FILE_ALL_ACCESS
