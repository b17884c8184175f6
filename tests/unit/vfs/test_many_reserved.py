# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks that an open reserved and that are many are given back in a helper thread; entries of a list are counted."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from vfs_share import Share

from ksmbd import limits
from ksmbd.smb.acl import Ace, Acl
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, Sid
from ksmbd.smb.status import STATUS_INVALID_ACL, NtStatusError
from ksmbd.smb.waiting import Future
from ksmbd.vfs import allocation, ranges

MIB = 1 << 20


def test_many_blocks_are_given_back_elsewhere(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "_MANY", 4 * MIB)
    calls: list[tuple[Callable[[], Any], Future[Any]]] = []

    def offload(call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        calls.append((call, future))
        return future

    share.files.offload_long = offload
    for name, size in (("few", 2 * MIB), ("many", 6 * MIB)):
        file = share.open(name)
        file.set_allocation(size)
        file.close()
    assert os.stat(share.path / "few").st_blocks == 0
    assert os.stat(share.path / "many").st_blocks << 9 >= 6 * MIB
    ((call, future),) = calls
    before = len(os.listdir("/proc/self/fd"))
    future.set_result(call())
    assert os.stat(share.path / "many").st_blocks == 0
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_list_of_more_entries_than_a_file_may_have_is_refused(share: Share) -> None:
    file = share.open("f")
    entries = [Ace(0, 0, 0x1F01FF, EVERYONE)]
    most = limits.ACCESS_CONTROL_ENTRIES.value
    entries += [Ace(0, 0, 0x120089, Sid(22, (1, 7000 + number))) for number in range(most)]
    descriptor = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, Acl(tuple(entries)))
    with pytest.raises(NtStatusError) as caught:
        file.set_security_descriptor(4, descriptor.encode(4))
    assert caught.value.status == STATUS_INVALID_ACL


def test_cutting_and_allocating_in_steps_ends_where_one_call_does(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "STEP", 256 << 10)
    file = share.open("f")
    data = os.urandom(MIB) + bytes(range(250))
    file.write(0, data)
    file.set_allocation(4 * MIB + 100)
    assert os.stat(share.path / "f").st_blocks << 9 >= 4 * MIB
    assert (share.path / "f").read_bytes() == data
    file.set_end_of_file(MIB // 2 + 7)
    assert (share.path / "f").read_bytes() == data[: MIB // 2 + 7]
    file.set_end_of_file(1 << 40)  # longer, and nearly all of it a hole
    file.set_end_of_file(3)
    assert (share.path / "f").read_bytes() == data[:3]
    file.set_allocation(4 * MIB)
    file.set_end_of_file(10)  # longer: what is reserved stays
    assert os.stat(share.path / "f").st_blocks << 9 >= 4 * MIB
    file.set_end_of_file(3)
    file.set_allocation(4 * MIB)
    file.set_allocation(3)
    assert os.stat(share.path / "f").st_blocks << 9 <= 16384  # with blocks of the file system's own
    assert (share.path / "f").read_bytes() == data[:3]
    file.set_allocation(0)
    assert os.stat(share.path / "f").st_blocks == 0
