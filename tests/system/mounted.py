# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems of a test's own: freshly made in a file and mounted, as root, where the kernel and mkfs have them."""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

MAKE = {
    "btrfs": ["mkfs.btrfs", "-q"],
    "ext4": ["mkfs.ext4", "-q"],
    "tmpfs": [],
    "xfs": ["mkfs.xfs", "-q"],
}
SIZE = 320 << 20
"""Bytes: mkfs.xfs wants 300 MiB at least."""


@contextmanager
def mount(
    kind: str, below: Path, options: str = "", features: Sequence[str] = (), size: int = SIZE
) -> Iterator[Path]:
    """A folder on a new file system, writable by all; the test is skipped where that cannot be. `options`: of mount,
    `features`: arguments of mkfs."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        pytest.skip(f"the kernel has no {kind}")
    image, folder = below / "image", below / kind
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if MAKE[kind]:
        if shutil.which(MAKE[kind][0]) is None:
            pytest.skip(f"{MAKE[kind][0]} is not installed")
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run([*MAKE[kind], *features, str(image)], check=True, capture_output=True)
        command = ["mount", "-o", f"loop,{options}" if options else "loop", str(image), str(folder)]
    mounting = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounting.returncode:
        pytest.skip(f"cannot be mounted here: {mounting.stderr.strip()}")
    try:
        os.chmod(folder, 0o777)
        yield folder
    finally:
        # Lazily: a server that is still to be stopped may have it open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
