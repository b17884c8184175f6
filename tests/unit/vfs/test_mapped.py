# SPDX-License-Identifier: GPL-2.0-or-later
"""DOS attributes in permission bits, and the modes of new files (smb.conf(5): `map archive` and its like)."""
from __future__ import annotations

from typing import Any

import pytest

from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_SYSTEM,
)
from ksmbd.smb.ports import ShareConfig
from ksmbd.vfs import mapped
from ksmbd.vfs.options import ShareOptions, VfsSettings

FILE, FOLDER, FIFO = 0o100000, 0o040000, 0o010000
A, H, S, R, D = (
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_SYSTEM, FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_DIRECTORY,
)  # fmt: skip
ALL: dict[str, Any] = {"map_archive": "yes", "map_hidden": True, "map_system": True, "map_readonly": "yes"}


def options(**config: Any) -> ShareOptions:
    """A share that stores no attributes, unless `config` says so."""
    return ShareOptions.of(ShareConfig("s", "/s", **{"store_dos_attributes": False, **config}), VfsSettings())


@pytest.mark.parametrize(("config", "mode", "expected"), [
    ({}, FILE | 0o644, A),
    ({}, FOLDER | 0o755, D),
    ({"map_archive": "no"}, FILE | 0o777, 0),
    ({"map_archive": "yes"}, FILE | 0o644, 0),
    ({"map_archive": "yes"}, FILE | 0o744, A),
    (ALL, FILE | 0o777, A | H | S),
    (ALL, FILE | 0o466, R),
    (ALL, FOLDER | 0o577, D | R),
    (ALL, FIFO | 0o777, 0),
    ({**ALL, "store_dos_attributes": True}, FILE | 0o577, 0),
    ({"store_dos_attributes": True, "map_readonly": "yes"}, FILE | 0o400, A),
])  # fmt: skip
def test_attributes_of_a_mode(config: dict[str, Any], mode: int, expected: int) -> None:
    assert mapped.of_mode(mode, options(**config), lambda: True) == expected


@pytest.mark.parametrize("may_write", [True, False])
def test_read_only_is_what_the_user_may_not_write(may_write: bool) -> None:
    found = mapped.of_mode(FILE | 0o777, options(map_archive="no", map_readonly="permissions"), lambda: may_write)
    assert found == (0 if may_write else R)


@pytest.mark.parametrize(("config", "mode", "attributes", "expected"), [
    ({}, FILE | 0o644, H | R, FILE | 0o644),
    (ALL, FILE | 0o644, A, FILE | 0o744),
    (ALL, FILE | 0o644, H | S, FILE | 0o644),
    ({**ALL, "create_mask": 0o777}, FILE | 0o644, H | S, FILE | 0o655),
    (ALL, FILE | 0o777, 0, FILE | 0o666),
    (ALL, FILE | 0o666, R, FILE | 0o444),
    (ALL, FILE | 0o444, 0, FILE | 0o644),
    (ALL, FOLDER | 0o755, H | R, FOLDER | 0o555),
])  # fmt: skip
def test_mode_for_attributes(config: dict[str, Any], mode: int, attributes: int, expected: int) -> None:
    assert mapped.to_mode(mode, attributes, options(**config)) == expected


@pytest.mark.parametrize(("config", "attributes", "parent", "default_acl", "expected"), [
    ({}, A, 0o755, False, 0o744),
    ({"map_archive": "no"}, A, 0o755, False, 0o644),
    ({"map_archive": "yes"}, A, 0o755, False, 0o744),
    ({"map_archive": "no"}, A | R, 0o755, False, 0o444),
    ({"map_archive": "no", "store_dos_attributes": True}, A | R, 0o755, False, 0o644),
    ({"map_archive": "no", "create_mask": 0o600, "force_create_mode": 0o011}, A, 0o755, False, 0o611),
    ({"map_archive": "yes", "inherit_permissions": True, "force_create_mode": 0o007}, A, 0o4750, False, 0o740),
    ({"map_archive": "no", "inherit_acls": True, "create_mask": 0o770}, A, 0o755, True, 0o770),
    ({"map_archive": "no", "inherit_acls": True, "create_mask": 0o770}, A, 0o755, False, 0o660),
])  # fmt: skip
def test_mode_of_a_new_file(
    config: dict[str, Any], attributes: int, parent: int, default_acl: bool, expected: int
) -> None:
    assert mapped.new_file(options(**config), attributes, parent, default_acl) == expected


@pytest.mark.parametrize(("config", "parent", "expected"), [
    ({}, 0o2777, 0o755),
    ({"directory_mask": 0o700, "force_directory_mode": 0o2050}, 0o777, 0o2750),
    ({"inherit_permissions": True, "force_directory_mode": 0o007}, 0o7750, 0o3750),
])  # fmt: skip
def test_mode_of_a_new_directory(config: dict[str, Any], parent: int, expected: int) -> None:
    assert mapped.new_directory(options(**config), parent) == expected
