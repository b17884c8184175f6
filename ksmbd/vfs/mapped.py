# SPDX-License-Identifier: GPL-2.0-or-later
"""The mode of a new file, and DOS attributes that its permission bits keep (`map archive`, `map hidden`, `map system`,
`map readonly` of smb.conf(5)).

A share that stores attributes (`store dos attributes`) does not read them from the bits, as Samba's does not; a file
without stored ones has none, or with `map archive = auto` the attribute archive. New files get the bits either way.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd.kernel.stat import S_IFDIR, S_IFMT, S_IFREG
from ksmbd.smb.constants import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_SYSTEM,
)
from ksmbd.vfs.options import ShareOptions

BITS: Final = FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_SYSTEM
"""The attributes that permission bits may keep."""
_OWNER_W: Final = 0o200
_WRITE: Final = 0o222
_READ_WRITE: Final = 0o666
_INHERITED: Final = 0o3777
"""What a directory may inherit: no set-user-ID."""


def _bits(options: ShareOptions) -> tuple[tuple[bool, int, int], ...]:
    return (
        (options.map_archive == "yes", FILE_ATTRIBUTE_ARCHIVE, 0o100),
        (options.map_system, FILE_ATTRIBUTE_SYSTEM, 0o010),
        (options.map_hidden, FILE_ATTRIBUTE_HIDDEN, 0o001),
    )


def of_mode(mode: int, options: ShareOptions, may_write: Callable[[], bool]) -> int:
    """The attributes of a file that has no stored ones. `may_write` tells whether the user may write it."""
    attributes = 0
    if options.store_dos_attributes:
        pass
    elif options.map_readonly == "yes" and not mode & _OWNER_W:
        attributes = FILE_ATTRIBUTE_READONLY
    elif options.map_readonly == "permissions" and not may_write():
        attributes = FILE_ATTRIBUTE_READONLY
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        return attributes | FILE_ATTRIBUTE_DIRECTORY
    if kind == S_IFREG:
        if options.map_archive == "auto":
            attributes |= FILE_ATTRIBUTE_ARCHIVE
        for on, attribute, bit in _bits(options):
            if on and mode & bit and not options.store_dos_attributes:
                attributes |= attribute
    return attributes


def to_mode(mode: int, attributes: int, options: ShareOptions) -> int:
    """The mode of a file when its attributes are set and the share stores none. `create mask` has to allow a bit."""
    if mode & S_IFMT == S_IFREG:
        for on, attribute, bit in _bits(options):
            if on:
                mode = mode | bit & options.create_mask if attributes & attribute else mode & ~bit
    if options.map_readonly != "no":
        mode = mode & ~_WRITE if attributes & FILE_ATTRIBUTE_READONLY else mode | _OWNER_W
    return mode


def new_file(options: ShareOptions, attributes: int, parent: int, default_acl: bool) -> int:
    """The mode that a file is created with. `parent`: the mode of its directory; `default_acl`: that has a default
    list, which the kernel applies."""
    mode = 0o777 if options.map_archive == "auto" else _READ_WRITE
    if attributes & FILE_ATTRIBUTE_READONLY and not options.store_dos_attributes:
        mode &= ~_WRITE
    for on, attribute, bit in _bits(options):
        if on and attributes & attribute:
            mode |= bit
    if options.inherit_permissions:
        return mode & ~_READ_WRITE | mode & parent & _READ_WRITE
    if options.inherit_acls and default_acl:
        mode = 0o777
    return mode & options.create_mask | options.force_create_mode


def new_directory(options: ShareOptions, parent: int) -> int:
    """The mode that a directory is created with."""
    if options.inherit_permissions:
        return parent & _INHERITED
    return 0o777 & options.directory_mask | options.force_directory_mode
