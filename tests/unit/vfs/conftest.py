# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ksmbd.kernel import credentials, descriptors
from ksmbd.limit import Limit
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings

sys.path.insert(0, os.path.dirname(__file__))

from vfs_share import GROUP, USER, Share, StillClock


@pytest.fixture
def files() -> Iterator[LocalFiles]:
    mask = os.umask(0)
    result = LocalFiles(VfsSettings((1, 2, 3)), StillClock())
    yield result
    result.close()
    credentials.as_server()
    os.umask(mask)


@pytest.fixture
def set_limit() -> Iterator[Callable[[Limit, int], None]]:
    """Changes the number of a limit for a test. Compiled modules know the limit itself: none takes its place."""
    before: list[tuple[Limit, int]] = []

    def change(limit: Limit, value: int) -> None:
        before.append((limit, limit.value))
        object.__setattr__(limit, "value", value)

    yield change
    for limit, value in reversed(before):
        object.__setattr__(limit, "value", value)


@pytest.fixture
def make_share(files: LocalFiles, tmp_path: Path) -> Iterator[Callable[..., Share]]:
    """As in a worker: descriptors' names are relative, and no other path from `/` on is used while a user's rights
    hold (`/` itself may be closed to others)."""
    root = tmp_path / "share"
    root.mkdir()
    root.chmod(0o755)
    os.chown(root, USER, GROUP)
    made: list[Share] = []
    before = os.getcwd()
    folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    os.chmod(tmp_path, 0o755)
    descriptors.enter()
    relative = Path(descriptors.path(folder), "share")

    def make(**config: Any) -> Share:
        credentials.as_server()
        made.append(Share(files, root, relative, **config))
        return made[-1]

    yield make
    for share in made:
        share.close()
    credentials.as_server()
    descriptors.leave(before)
    os.close(folder)


@pytest.fixture
def share(make_share: Callable[..., Share]) -> Share:
    return make_share()
