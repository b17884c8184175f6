# SPDX-License-Identifier: GPL-2.0-or-later
"""A name in another case is looked for in a large folder in pieces, where who asks can wait for that."""
from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from vfs_share import Share

from ksmbd.smb.constants import FILE_ALL_ACCESS, FILE_OPEN
from ksmbd.smb.ports import Unfinished
from ksmbd.smb.status import STATUS_OBJECT_NAME_NOT_FOUND, NtStatusError
from ksmbd.vfs import directory_cache
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.files import LocalFiles

NAMES = 50


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_cache, "_AT_ONCE", 10)
    monkeypatch.setattr(directory_cache, "_PIECE", 10)


def filled(share: Share) -> Share:
    os.mkdir(share.path / "large")
    os.chmod(share.path / "large", 0o777)
    for number in range(NAMES):
        (share.path / "large" / f"name{number}").touch(0o666)
    return share


def finish(rest: Unfinished) -> int:
    """Do all that is left; the steps that it took."""
    steps = 1
    while rest.go_on():
        steps += 1
    return steps


def ask(share: Share, name: str, later: bool = True) -> str:
    return str(share.open(name, FILE_ALL_ACCESS & ~0x10000000, FILE_OPEN, later=later).path)


def test_who_can_wait_is_told_to_ask_again(share: Share) -> None:
    filled(share)
    with pytest.raises(Unfinished) as caught:
        ask(share, "large\\NAME7")
    assert finish(caught.value) >= NAMES // 10 - 1
    assert ask(share, "large\\NAME7") == "large\\name7"
    assert share.files.cache.scans == 1
    # What is known now needs no reading.
    assert ask(share, "large\\NAME8") == "large\\name8"
    assert share.files.cache.scans == 1


def test_who_cannot_wait_is_answered(share: Share) -> None:
    assert ask(filled(share), "large\\NAME7", later=False) == "large\\name7"


def test_a_folder_that_changes_meanwhile_is_good_for_the_question(
    files: LocalFiles, make_share: Callable[..., Share]
) -> None:
    """Where inotify does not tell the changes."""
    files.cache = DirectoryCache(watches=False)
    share = filled(make_share())
    with pytest.raises(Unfinished) as caught:
        ask(share, "large\\NAME7")
    (share.path / "large" / "other").touch()
    finish(caught.value)
    assert ask(share, "large\\NAME7") == "large\\name7"
    # The next one is read for again.
    (share.path / "large" / "another").touch()
    with pytest.raises(Unfinished):
        ask(share, "large\\NAME9")
    assert not share.files.cache.may_defer


def test_what_was_read_for_nobody_is_no_answer_for_a_later_one(
    files: LocalFiles, make_share: Callable[..., Share]
) -> None:
    files.cache = DirectoryCache(watches=False)
    share = filled(make_share())
    with pytest.raises(Unfinished) as caught:
        ask(share, "large\\NAME7")
    finish(caught.value)
    os.rename(share.path / "large" / "name7", share.path / "large" / "new")
    assert ask(share, "large\\new") == "large\\new"
    with pytest.raises(Unfinished) as caught:
        ask(share, "large\\NAME7")
    finish(caught.value)
    with pytest.raises(NtStatusError) as refused:
        ask(share, "large\\NAME7")
    assert refused.value.status == STATUS_OBJECT_NAME_NOT_FOUND


def test_a_change_needs_no_reading(share: Share) -> None:
    filled(share)
    with pytest.raises(Unfinished) as caught:
        ask(share, "large\\NAME7")
    finish(caught.value)
    os.rename(share.path / "large" / "name7", share.path / "large" / "new")
    with pytest.raises(NtStatusError) as refused:
        ask(share, "large\\NAME7")
    assert refused.value.status == STATUS_OBJECT_NAME_NOT_FOUND
    assert ask(share, "large\\NEW") == "large\\new"
    assert share.files.cache.scans == 1


def test_small_folders_are_read_at_once(share: Share) -> None:
    os.mkdir(share.path / "small")
    os.chmod(share.path / "small", 0o777)
    for number in range(9):
        (share.path / "small" / f"name{number}").touch(0o666)
    assert ask(share, "small\\NAME7") == "small\\name7"
