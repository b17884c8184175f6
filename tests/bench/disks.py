# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system of the benchmark's own, in a file: what its rows on ext4 use."""
from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS = 0x20000
_LIBC = ctypes.CDLL(None, use_errno=True)


def why_no_ext4() -> str:
    """What is missing to have one; '' where nothing is."""
    if os.geteuid() != 0:
        return "only root may mount"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    return "" if Path("/dev/loop-control").exists() else "this machine has no loop devices"


@contextmanager
def ext4(folder: Path, mebibytes: int) -> Iterator[Path | None]:
    """A new ext4 of so many MiB in a sparse file below `folder`, mounted there; None where it cannot be mounted. At the
    end it goes. This process gets a mount namespace of its own, so that it goes even where this process is killed; the
    servers, which start later, are in it. Raises OSError."""
    if _LIBC.unshare(_CLONE_NEWNS):
        yield None
        return
    image, point = folder / "ext4.image", folder / "ext4"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(mebibytes << 20)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    mounted = False
    try:
        # All tables at once: the kernel's thread that writes them later would run beside the measurements.
        made = subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)],
            env={**os.environ, "PATH": path}, capture_output=True, check=False,
        )
        if made.returncode == 0:
            subprocess.run(["mount", "--make-rprivate", "/"], env={**os.environ, "PATH": path}, check=True)
            mounted = subprocess.run(
                ["mount", "-o", "loop", str(image), str(point)], env={**os.environ, "PATH": path},
                capture_output=True, check=False,
            ).returncode == 0
        yield point if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(point)], env={**os.environ, "PATH": path}, check=False)
        image.unlink()
