# SPDX-License-Identifier: GPL-2.0-or-later
"""FileIds (MS-FSCC 2.1.9): one of its own for each file, the same wherever it is told, and never used again."""
from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vfs_share import Share

from ksmbd.kernel import generations, quota
from ksmbd.kernel.generations import generation
from ksmbd.kernel.quota import Quota
from ksmbd.smb import constants as c
from ksmbd.vfs import attributes, gate
from ksmbd.vfs.attributes import file_id

BIRTH = 1_790_000_000


def test_an_inode_that_is_used_again_has_another_id() -> None:
    ids = {file_id(7, 1, 1, BIRTH, ns) for ns in range(100_000)} | {file_id(7, 1, 1, BIRTH + s, 5) for s in range(1000)}
    assert len(ids) > 100_900


def test_files_that_exist_together_never_share_one() -> None:
    """Whatever their birth times are: the lower half is the inode number."""
    ids = {file_id(ino, 1, 1, BIRTH + ino % 3, ino * 7919 % 1_000_000_000) for ino in range(1, 50_000)}
    assert len(ids) == 49_999
    assert all(id_ & 0xFFFFFFFF in range(1, 50_000) for id_ in ids)


@pytest.mark.parametrize("ino", [1, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1])
def test_it_fits_the_wire(ino: int) -> None:
    for dev in (1, (1 << 32) - 1):
        assert 0 <= file_id(ino, dev, 1, 1 << 40, 999_999_999) < 1 << 64
        assert 0 <= file_id(ino, dev, 1, -5, 0) < 1 << 64


def test_seconds_apart_are_not_made_up_for_by_nanoseconds() -> None:
    """Clocks tick: births whole seconds apart have nanoseconds that are equal or near."""
    ids = {file_id(7, 1, 1, BIRTH + s, 123_456_789 + tick) for s in range(2000) for tick in range(-20, 20)}
    assert len(ids) == 80_000


def test_without_anything_to_mix_in_the_inode_number_has_to_do() -> None:
    assert file_id(99, 1, 1, 0, 0) == 99
    assert file_id(99, 2, 1, 0, 0) != 99


def test_a_generation_is_the_same_by_name_and_by_descriptor(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("f")
    folder = os.open(tmp_path, os.O_PATH)
    device = os.stat(tmp_path).st_dev
    found = {}
    for name in ("f", "d", "l"):
        fd = os.open(tmp_path / name, os.O_PATH | os.O_NOFOLLOW)
        found[name] = generation(folder, name.encode(), device)
        assert generation(fd, b"", device) == found[name] < 1 << 32
        os.close(fd)
    assert len(set(found.values())) == (3 if found["f"] else 1)
    assert generation(folder, b"missing", device) == 0
    os.close(folder)


def test_a_file_system_without_handles_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(*arguments: object) -> int:
        calls.append(arguments)
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    monkeypatch.setattr(generations, "_name_to_handle_at", refuse)
    monkeypatch.setattr(generations, "_without", set())
    assert [generation(3, b"f", 99), generation(3, b"g", 99)] == [0, 0]
    assert len(calls) == 2  # without and with AT_HANDLE_FID


@pytest.mark.skipif(not str(attributes.__file__).endswith(".py"), reason="a compiled function is not to be replaced")
def test_the_generation_where_there_is_no_birth_time(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that tells ids asks for it: CREATE, the open, a listing, a look-up."""
    monkeypatch.setattr(attributes, "STATX_BTIME", 1 << 31)
    monkeypatch.setattr(attributes, "generation", lambda directory, name, device: 0xABCD)
    created = share.create("f")
    assert created.info is not None
    root = share.open("", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE)
    found = root.lookup_entry("F")
    assert found is not None
    listed = [entry.info.file_id for entry in root.list_directory() if entry is not None and entry.name == "f"]
    ids = {created.info.file_id, created.file.info().file_id, found.info.file_id, *listed}
    assert ids == {os.stat(share.path / "f").st_ino ^ 0xABCD << 32}


def test_told_the_same_everywhere(share: Share) -> None:
    for name, kind in (("f", 0), ("d", c.FILE_DIRECTORY_FILE)):
        created = share.create(name, options=kind)
        file = created.file
        stat = os.stat(share.path / name)
        assert created.info is None or created.info.file_id == file.info().file_id
        assert file.info().file_id & 0xFFFFFFFF == stat.st_ino & 0xFFFFFFFF
        found = file.lookup_entry(".") if kind else None
        assert found is None or found.info.file_id == file.info().file_id
    root = share.open("", access=c.FILE_GENERIC_READ, options=c.FILE_DIRECTORY_FILE)
    listed = {entry.name: entry.info.file_id for entry in root.list_directory() if entry is not None}
    for name in ("f", "d"):
        assert listed[name] == share.open(name).info().file_id
        found = root.lookup_entry(name.upper())
        assert found is not None and found.info.file_id == listed[name]
    share.open("f").rename("d\\g", False)
    assert share.open("d\\g").info().file_id == listed["f"]
    assert share.open("d\\g", stream="s").info().file_id == listed["f"]


# ------------------------------------------------------------------------------------------------ the room that is left


def room(share: Share) -> tuple[int, int, int]:
    """Bytes in all, left, and left of the file system, as MS-FSCC 2.5.4 tells them."""
    info = share.open("f").volume_info()
    unit = info.bytes_per_sector * info.sectors_per_unit
    return info.total_units * unit, info.caller_available_units * unit, info.available_units * unit


MiB = 1 << 20


@pytest.mark.parametrize(
    ("user", "group", "total", "left"),
    [
        ((4, 10, 20), None, 10, 6), ((4, 0, 20), None, 20, 16), ((15, 10, 20), None, 20, 5), ((15, 10, 0), None, 15, 0),
        ((25, 10, 20), None, 25, 0), (None, (4, 10, 0), 10, 6),
        ((4, 10, 0), (1, 5, 0), 5, 4), ((1, 5, 0), (4, 8, 0), 5, 4),
    ],
)  # fmt: skip
def test_a_quota_is_the_room_that_a_user_has(
    make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch, user: Any, group: Any, total: int, left: int
) -> None:
    share = make_share()
    share.open("f")

    def read(fd: int, kind: int, id_: int) -> Quota:
        used, soft, hard = (user if kind == quota.USER else group) or (0, 0, 0)
        return Quota(id_, used * MiB, soft * MiB, hard * MiB)

    without = room(share)
    monkeypatch.setattr(gate, "read_quota", read)
    found = room(share)
    assert (found[0] // MiB, found[1] // MiB) == (total, left)
    assert found[0] < without[0] and abs(found[2] - without[2]) < 1 << 30


def test_no_quota_is_no_limit(make_share: Callable[..., Share], monkeypatch: pytest.MonkeyPatch) -> None:
    share = make_share()
    share.open("f")
    without = room(share)[0]
    monkeypatch.setattr(gate, "read_quota", lambda fd, kind, id_: Quota(id_, 5, 0, 0))
    assert room(share)[0] == without
    admin = make_share(admin=True)
    monkeypatch.setattr(gate, "read_quota", lambda fd, kind, id_: Quota(id_, 5, 10, 10))
    assert room(admin)[0] == without  # none holds root
