# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ksmbd.kernel import credentials
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings

sys.path.insert(0, os.path.dirname(__file__))

from vfs_share import GROUP, USER, Share, StillClock


@pytest.fixture
def files() -> Iterator[LocalFiles]:
    mask = os.umask(0)
    result = LocalFiles(VfsSettings((1, 2, 3)), StillClock())
    yield result
    credentials.as_server()
    result.close()
    os.umask(mask)


@pytest.fixture
def make_share(files: LocalFiles, tmp_path: Path) -> Iterator[Callable[..., Share]]:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(directory, 0o755)
    root = tmp_path / "share"
    root.mkdir()
    root.chmod(0o755)
    os.chown(root, USER, GROUP)
    made: list[Share] = []

    def make(**config: Any) -> Share:
        credentials.as_server()
        made.append(Share(files, root, **config))
        return made[-1]

    yield make
    for share in made:
        share.close()
    credentials.as_server()


@pytest.fixture
def share(make_share: Callable[..., Share]) -> Share:
    return make_share()
