# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads DFS links: symbolic links whose text begins with `msdfs:` (ksmbd/smb/dfs.py)."""
from __future__ import annotations

import os

from ksmbd.smb import dfs


def targets_at(directory: int, name: bytes) -> tuple[str, ...]:
    """The targets of a symbolic link in an open directory; none: it is not DFS's, or cannot be read."""
    try:
        return dfs.link_targets(os.readlink(name, dir_fd=directory).decode("utf-8", "surrogateescape"))
    except OSError:
        return ()
