# SPDX-License-Identifier: GPL-2.0-or-later
"""FileSystemAttributes (MS-FSCC 2.5.1): what the file system and the share's options offer."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ksmbd.kernel import filesystems
from ksmbd.kernel.filesystems import BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC, Abilities
from ksmbd.vfs import gate
from ksmbd.vfs import volume_info as v
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.options import VfsSettings

SHARED = v.FILE_SUPPORTS_BLOCK_REFCOUNTING


def test_sparse_files_where_the_attribute_is_kept(make_share: Callable[..., Any], files: LocalFiles) -> None:
    files.settings = VfsSettings((1, 2, 3), share_fake_fscaps=0)
    kept = make_share(flags=frozenset(("store_dos_attributes",))).open("").volume_info().attributes
    lost = make_share(flags=frozenset()).open("").volume_info().attributes
    assert kept & v.FILE_SUPPORTS_SPARSE_FILES and not lost & v.FILE_SUPPORTS_SPARSE_FILES


@pytest.mark.parametrize(
    ("able", "bits"),
    [
        (Abilities(False, False), 0),
        (Abilities(True, False), SHARED),
        (Abilities(True, True), SHARED | v.FILE_FILE_COMPRESSION),
    ],
)
def test_abilities_of_the_file_system(
    make_share: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, able: Abilities, bits: int
) -> None:
    monkeypatch.setattr(gate, "abilities", lambda root: able)
    attributes = make_share().open("").volume_info().attributes
    assert attributes & (SHARED | v.FILE_FILE_COMPRESSION) == bits


@pytest.mark.parametrize(
    ("kind", "able"),
    [
        (0xEF53, Abilities(False, False)),
        (BTRFS_SUPER_MAGIC, Abilities(True, True)),
        (XFS_SUPER_MAGIC, Abilities(True, False)),
    ],
)
def test_kinds(monkeypatch: pytest.MonkeyPatch, kind: int, able: Abilities) -> None:
    monkeypatch.setattr(filesystems, "file_system_type", lambda fd: kind)
    monkeypatch.setattr(filesystems, "_xfs_reflinks", lambda fd: True)
    assert filesystems.abilities(-1) == able
