# SPDX-License-Identifier: GPL-2.0-or-later
"""Renames files and makes hard links: FileRenameInformation (MS-FSCC 2.4.41.2, MS-FSA 2.1.5.15.11) and
FileLinkInformation (MS-FSCC 2.4.28.2, MS-FSA 2.1.5.15.6)."""
from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb.character_map import asked
from ksmbd.smb.constants import FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FLAGS_DFS_OPERATIONS
from ksmbd.smb.create_names import Name, check_stream, parse_name
from ksmbd.smb.dfs import local_name
from ksmbd.smb.name_case import case_sensitive
from ksmbd.smb.patterns import fold
from ksmbd.smb.ports import CreateIntent, File, Replaced
from ksmbd.smb.reader import Reader, decode_utf16
from ksmbd.smb.set_query import Change
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SHARING_VIOLATION,
    NtStatusError,
)

TARGET_SIZE: Final = 20
"""Size in bytes up to FileName. The specification pads the whole to 24 bytes. Older Linux clients send a name of one
letter without this padding, which is unambiguous."""
_TARGET: Final = Struct("<IIQI")
"""ReplaceIfExists or Flags (32 bits), reserved, RootDirectory, FileNameLength."""

FILE_RENAME_REPLACE_IF_EXISTS: Final = 0x01
FILE_RENAME_POSIX_SEMANTICS: Final = 0x02
FILE_RENAME_IGNORE_READONLY_ATTRIBUTE: Final = 0x40
_RENAME_FLAGS: Final = 0x7F
"""All flags that are defined for FileRenameInformationEx."""


class Target(NamedTuple):
    """A decoded FILE_RENAME_INFORMATION_TYPE_2 or FILE_LINK_INFORMATION_TYPE_2."""

    flags: int
    """The first 32 bits: a Boolean in the low byte, or FileRenameInformationEx's Flags."""
    name: str


def parse_target(change: Change) -> Target:
    """Decode the target. Raises STATUS_INVALID_PARAMETER for a RootDirectory, an empty name, or one that is cut off."""
    reader = Reader(change.data)
    flags, _, root, length = reader.unpack(_TARGET)
    if root or not length:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    return Target(flags, decode_utf16(reader.view(length)))


def _parse_path(name: str, posix: bool) -> Name:
    parsed = parse_name(name[1:] if name.startswith("\\") else name, posix)
    if parsed.stream or parsed.must_be_file or not parsed.path:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, name)
    return parsed


def _existing(change: Change, path: str) -> Replaced | None:
    """The file that has the name now. None: no file has it, or it is the renamed file itself (a change of case, another
    of its names)."""
    intent = CreateIntent(path, "", FILE_READ_ATTRIBUTES, FILE_OPEN, FILE_OPEN_REPARSE_POINT, 0)
    if change.open.is_posix:
        intent.posix_mode = 0
    try:
        other = change.file.volume().create(intent).file
    except NtStatusError as error:
        if error.status == STATUS_OBJECT_NAME_NOT_FOUND:
            return None
        raise
    try:
        return None if other.key == change.file.key else Replaced(other.key, other.parent_key, other.disk_name)
    finally:
        other.close()


async def rename(change: Change) -> None:
    """FileRenameInformation."""
    target = parse_target(change)
    await _rename(change, target.name, bool(target.flags & 0xFF), False)


async def rename_ex(change: Change) -> None:
    """FileRenameInformationEx (MS-FSCC 2.4.43): the same with Flags; an unknown flag is refused."""
    target = parse_target(change)
    if target.flags & ~_RENAME_FLAGS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "flags")
    replace = bool(target.flags & FILE_RENAME_REPLACE_IF_EXISTS)
    await _rename(change, target.name, replace, bool(target.flags & FILE_RENAME_POSIX_SEMANTICS))


async def _rename(change: Change, name: str, replace: bool, posix: bool) -> None:
    file, table = change.file, change.table
    if not file.path and not file.stream:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the share's root")
    if table.link_deleted(change.ref):
        raise NtStatusError(STATUS_ACCESS_DENIED, "to be deleted")
    if file.stream or name.startswith(":"):
        await _rename_stream(change, file, asked(change.open, name), replace)
        return
    posix = posix or change.open.is_posix
    if change.request.tree.share.msdfs_root and change.request.header.flags & FLAGS_DFS_OPERATIONS:
        name = local_name(name, change.request.tree.share.name)
    path = _parse_path(asked(change.open, name), change.open.is_posix).path
    if path == file.path:
        return
    above = file.path + "\\"
    if file.is_directory and _is_below(path, above, case_sensitive(change.open)):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a directory into itself")
    target = _existing(change, path)
    if target is not None and not replace:
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    await change.settle(table.check_rename(change.ref, target, posix))
    old_parent = file.parent_key
    file.rename(path, replace, posix)
    table.renamed(change.ref, file.path, file.parent_key, file.disk_name)
    change.directory_changed(old_parent)
    if file.parent_key != old_parent:
        change.directory_changed(file.parent_key)


def _is_below(path: str, above: str, exact: bool) -> bool:
    return path.startswith(above) if exact else fold(path).startswith(fold(above))


async def _rename_stream(change: Change, file: File, name: str, replace: bool) -> None:
    """Rename a stream (MS-FSA 2.1.5.15.11.1). The target `::$DATA` makes it the unnamed stream."""
    if not file.stream:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "the unnamed stream keeps its place")
    if not name.startswith(":"):
        # The whole file would move while one of its streams, this one, is open: as Windows refuses it.
        raise NtStatusError(STATUS_SHARING_VIOLATION, "a file's name for a stream")
    stream, separator, kind = name[1:].partition(":")
    if separator and kind.upper() != "$DATA":
        raise NtStatusError(STATUS_INVALID_PARAMETER, name)
    if not separator and not stream:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no name")
    check_stream(stream, True)
    folded = file.folded(stream)
    if folded != file.stream:
        await change.settle(change.table.check_stream_rename(change.ref, folded))
    if stream:
        file.rename(f":{stream}", replace)
    else:
        change.open.file = file.become_unnamed(replace)
        file.close()
        file = change.file
    if file.stream != change.ref.stream:
        change.open.ref = change.table.stream_renamed(change.ref, file.stream)
    change.directory_changed(file.parent_key)


async def link(change: Change) -> None:
    """FileLinkInformation: make a hard link below the same share."""
    target = parse_target(change)
    file, table = change.file, change.table
    if file.is_directory:
        raise NtStatusError(STATUS_FILE_IS_A_DIRECTORY)
    if file.stream:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a stream")
    if table.link_deleted(change.ref):
        raise NtStatusError(STATUS_ACCESS_DENIED, "to be deleted")
    replace = bool(target.flags & 0xFF)
    path = _parse_path(asked(change.open, target.name), change.open.is_posix).path
    if path == file.path:
        if replace:
            return
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    existing = _existing(change, path)
    if existing is not None:
        if not replace:
            raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
        await change.settle(table.check_replace(existing))
    file.link(path, replace)
    change.directory_changed(file.parent_key)
