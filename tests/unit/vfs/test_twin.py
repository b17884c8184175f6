# SPDX-License-Identifier: GPL-2.0-or-later
"""The twin of an open file: its own descriptor, the same user, and what it came to know is the open's."""
from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from vfs_share import USER, Share

from ksmbd.kernel import credentials

MIB = 1 << 20


def in_thread(call: Any) -> None:
    """Run it in a new thread and wait for it."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_twin_outlives_the_open_and_reaches_the_same_file(share: Share) -> None:
    file = share.open("file")
    file.write(0, b"x" * 8192)
    twin = file.twin()
    assert twin.fileno() != file.fileno() and twin.key == file.key
    file.close()
    taken = share.open("other")  # has the number that the first one had
    taken.write(0, b"y" * 10)
    twin.zero_data(0, 4096)
    file.rejoin(twin)
    assert (share.path / "file").read_bytes() == bytes(4096) + b"x" * 4096
    assert (share.path / "other").read_bytes() == b"y" * 10
    assert twin.closed and twin not in list(share.files.registry) and file not in list(share.files.registry)


def test_what_a_twin_reserved_is_given_back_by_the_open(share: Share) -> None:
    file = share.open("file")
    twin = file.twin()
    twin.set_allocation(4 * MIB)
    file.rejoin(twin)
    assert file.reserved and file.info().allocation_size >= 4 * MIB
    file.close()
    assert os.stat(share.path / "file").st_blocks == 0


def test_what_it_reserved_after_the_open_was_closed_is_given_back_at_once(share: Share) -> None:
    file = share.open("file")
    twin = file.twin()
    file.close()
    twin.set_allocation(4 * MIB)
    file.rejoin(twin)
    assert os.stat(share.path / "file").st_blocks == 0


@pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root to act as somebody else")
def test_another_thread_acts_as_the_user(share: Share) -> None:
    file = share.open("file")
    twin = file.twin()
    seen: list[Any] = []

    def work() -> None:
        twin.set_end_of_file(10)
        seen.append(credentials.current())

    in_thread(work)
    file.rejoin(twin)
    (current,) = seen
    assert current is not None and current.uid == USER
    assert (share.path / "file").stat().st_size == 10
