# SPDX-License-Identifier: GPL-2.0-or-later
"""A share for tests, opened as the user that runs them (root: as an ordinary user)."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ksmbd.smb.constants import (
    FILE_ALL_ACCESS,
    FILE_DIRECTORY_FILE,
    FILE_GENERIC_READ,
    FILE_OPEN_IF,
    FILETIME_UNIX_EPOCH,
)
from ksmbd.smb.ports import CreateIntent, CreateResult, Identity, ShareConfig, Timer
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.volume import LocalVolume

USER = 2001 if os.geteuid() == 0 else os.geteuid()
GROUP = 2001 if os.geteuid() == 0 else os.getegid()
FLAGS = frozenset(("store_dos_attributes", "hide_dot_files", "streams_xattr", "crossmnt"))
"""What is switched on in a share unless `flags` says otherwise."""
_SWITCHES = FLAGS | {"follow_symlinks", "acl_xattr", "hide_unreadable", "wide_links"}


class StillClock:
    """A clock that stands."""

    now = FILETIME_UNIX_EPOCH + 17_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0

    def filetime(self) -> int:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        raise AssertionError("the file room starts no timers")


class Share:
    """One volume and shortcuts."""

    def __init__(self, files: LocalFiles, root: Path, path: Path, **config: Any) -> None:
        """Shares `root`; `path` names it too, and can be used with any user's rights."""
        self.files = files
        self.path = path
        user = config.pop("user", (USER, GROUP))
        read_only = config.pop("read_only", False)
        admin = config.pop("admin", False)
        flags = config.pop("flags", FLAGS)
        config.update({name: name in flags for name in _SWITCHES})
        config.setdefault("create_mask", 0o744)
        config.setdefault("directory_mask", 0o755)
        share = ShareConfig("share", str(root), **config)
        identity = Identity("user", "", user[0], user[1], tuple(user[2:]), is_admin=admin)
        volume = files.volume(share, identity, read_only)
        assert isinstance(volume, LocalVolume)
        self.volume = volume
        self.opened: list[Any] = []

    def create(self, name: str = "", access: int = FILE_ALL_ACCESS, disposition: int = FILE_OPEN_IF, options: int = 0,
               stream: str = "", attributes: int = 0, **more: Any) -> CreateResult:  # fmt: skip
        result = self.volume.create(CreateIntent(name, stream, access, disposition, options, attributes, **more))
        self.opened.append(result.file)
        return result

    def open(self, *args: Any, **more: Any) -> Any:
        return self.create(*args, **more).file

    def mkdir(self, name: str, **more: Any) -> Any:
        return self.open(name, options=FILE_DIRECTORY_FILE, **more)

    def names(self, name: str = "") -> list[str]:
        directory = self.open(name, access=FILE_GENERIC_READ, options=FILE_DIRECTORY_FILE)
        found = sorted(entry.name for entry in directory.list_directory())
        directory.close()
        return found[2:] if found[:2] == [".", ".."] else found

    def on_disk(self) -> list[str]:
        return sorted(os.listdir(self.path))

    def close(self) -> None:
        for file in self.opened:
            file.close()
        self.volume.close()
