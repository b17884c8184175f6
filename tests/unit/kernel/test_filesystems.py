# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of file systems."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ksmbd.kernel import filesystems


def named_by_mountinfo(path: Path) -> str:
    """The kind of the mount that `path` is on, as /proc/self/mountinfo (proc_pid_mountinfo(5)) has it."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = [
        line.split(" - ")[1].split()[0]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[2] == wanted
    ]
    return kinds[0] if kinds else ""


def test_a_name_is_the_kernel_s(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/shm")):
        kind = named_by_mountinfo(path)
        if kind not in filesystems.NAMES.values():
            continue
        fd = os.open(path, os.O_RDONLY)
        try:
            assert filesystems.file_system_name(fd, path.stat().st_dev) == kind
        finally:
            os.close(fd)


def test_it_is_asked_once_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def file_system_type(fd: int) -> int:
        asked.append(fd)
        if fd == 3:
            raise OSError
        return filesystems.TMPFS_MAGIC if fd == 1 else 12345

    monkeypatch.setattr(filesystems, "file_system_type", file_system_type)
    monkeypatch.setattr(filesystems, "_names", {})
    monkeypatch.setattr(filesystems, "_NAMES_MAX", 2)
    name = filesystems.file_system_name
    assert [name(1, 10), name(1, 10), name(2, 20), name(2, 20)] == ["tmpfs", "tmpfs", "", ""]
    assert asked == [1, 2]
    assert name(3, 30) == "" and name(1, 30) == "tmpfs" and name(1, 10) == "tmpfs"
    assert asked == [1, 2, 3, 1, 1]
