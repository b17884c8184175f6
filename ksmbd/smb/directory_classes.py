# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes the entries of QUERY_DIRECTORY, one encoder for each information class (MS-FSCC 2.4). Every entry starts with
NextEntryOffset and FileIndex (0, since directories of Linux have no stable index) and ends with its name."""
from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import FILE_ATTRIBUTE_REPARSE_POINT
from ksmbd.smb.ports import DirectoryEntry, FileInfo
from ksmbd.smb.posix import POSIX_INFO, owner_sids, posix_mode
from ksmbd.smb.reader import encode_utf16

# NextEntryOffset, FileIndex, four times, EndOfFile, AllocationSize, FileAttributes, FileNameLength, ...
_DIRECTORY: Final = Struct("<IIQQQQQQII")
_FULL: Final = Struct("<IIQQQQQQIII")
_BOTH: Final = Struct("<IIQQQQQQIIIBx24s")
_NAMES: Final = Struct("<III")
_ID_BOTH: Final = Struct("<IIQQQQQQIIIBx24sHQ")
_ID_FULL: Final = Struct("<IIQQQQQQIIIIQ")
_ID_EXTD: Final = Struct("<IIQQQQQQIIIIQ8x")
_ID_EXTD_BOTH: Final = Struct("<IIQQQQQQIIIIQ8xBx24s")
_ID_64_EXTD: Final = Struct("<IIQQQQQQIIIIQ")
_ID_64_EXTD_BOTH: Final = Struct("<IIQQQQQQIIIIQBx24s")
_ID_ALL_EXTD: Final = Struct("<IIQQQQQQIIIIQQ8x")
_ID_ALL_EXTD_BOTH: Final = Struct("<IIQQQQQQIIIIQQ8xBx24s")
_POSIX_HEAD: Final = Struct("<II")
_U32: Final = Struct("<I")


class DirectoryClass(NamedTuple):
    """One information class: the size of its fixed part in bytes, and the encoder of an entry with NextEntryOffset
    0."""

    fixed: int
    encode: Callable[[DirectoryEntry], bytes]


def _ea_size(info: FileInfo) -> int:
    """EaSize, or the reparse tag of a reparse point, which takes its place (MS-FSCC 2.4.8)."""
    return info.reparse_tag if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT else info.ea_size


def _directory(entry: DirectoryEntry) -> bytes:
    """FileDirectoryInformation, 2.4.10."""
    i = entry.info
    name = encode_utf16(entry.name)
    return _DIRECTORY.pack(
        0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
        i.attributes, len(name),
    ) + name  # fmt: skip


def _full(entry: DirectoryEntry) -> bytes:
    """FileFullDirectoryInformation, 2.4.15."""
    i = entry.info
    name = encode_utf16(entry.name)
    return _FULL.pack(
        0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
        i.attributes, len(name), _ea_size(i),
    ) + name  # fmt: skip


def _both(entry: DirectoryEntry) -> bytes:
    """FileBothDirectoryInformation, 2.4.8."""
    i = entry.info
    name = encode_utf16(entry.name)
    short = encode_utf16(entry.short_name)[:24] if entry.short_name else b""
    return _BOTH.pack(
        0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
        i.attributes, len(name), _ea_size(i), len(short), short,
    ) + name  # fmt: skip


def _names(entry: DirectoryEntry) -> bytes:
    """FileNamesInformation, 2.4.33."""
    name = encode_utf16(entry.name)
    return _NAMES.pack(0, 0, len(name)) + name


def _id_both(entry: DirectoryEntry) -> bytes:
    """FileIdBothDirectoryInformation, 2.4.22, which Windows and cifs.ko use for listings. For speed the code of
    `encode_utf16` and `_ea_size` is repeated here."""
    i = entry.info
    attributes = i.attributes
    name = entry.name.encode("utf-16-le", "surrogatepass")
    short = encode_utf16(entry.short_name)[:24] if entry.short_name else b""
    return _ID_BOTH.pack(
        0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
        attributes, len(name), i.reparse_tag if attributes & FILE_ATTRIBUTE_REPARSE_POINT else i.ea_size, len(short),
        short, 0, i.file_id,
    ) + name  # fmt: skip


def _id_full(entry: DirectoryEntry) -> bytes:
    """FileIdFullDirectoryInformation, 2.4.25."""
    i = entry.info
    name = encode_utf16(entry.name)
    return _ID_FULL.pack(
        0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
        i.attributes, len(name), _ea_size(i), 0, i.file_id,
    ) + name  # fmt: skip


def _extended(layout: Struct, ids: int, both: bool) -> DirectoryClass:
    """FileId[64|All]Extd[Both]DirectoryInformation: EaSize and ReparsePointTag are separate fields, then follow `ids`
    file ids, and with `both` the short name (2.4.17 to 2.4.20, 2.4.23, 2.4.24)."""

    def encode(entry: DirectoryEntry) -> bytes:
        i = entry.info
        name = encode_utf16(entry.name)
        rest: tuple[int | bytes, ...] = (i.file_id,) * ids
        if both:
            short = encode_utf16(entry.short_name)[:24] if entry.short_name else b""
            rest += (len(short), short)
        return layout.pack(
            0, 0, i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file,
            i.allocation_size, i.attributes, len(name), i.ea_size, i.reparse_tag, *rest,
        ) + name  # fmt: skip

    return DirectoryClass(layout.size, encode)


def _posix(entry: DirectoryEntry) -> bytes:
    """FilePosixInformation of the SMB3 POSIX extensions: the owner's SIDs stand between the fixed part and the name."""
    i = entry.info
    name = encode_utf16(entry.name)
    return b"".join((
        _POSIX_HEAD.pack(0, 0),
        POSIX_INFO.pack(
            i.creation_time, i.last_access_time, i.last_write_time, i.change_time, i.end_of_file, i.allocation_size,
            i.attributes, i.file_id, i.volume_id & 0xFFFFFFFF, 0, i.number_of_links, i.reparse_tag, posix_mode(i),
        ),
        owner_sids(i),
        _U32.pack(len(name)),
        name,
    ))  # fmt: skip


DIRECTORY_CLASSES: Final[dict[int, DirectoryClass]] = {
    classes.FileDirectoryInformation: DirectoryClass(_DIRECTORY.size, _directory),
    classes.FileFullDirectoryInformation: DirectoryClass(_FULL.size, _full),
    classes.FileBothDirectoryInformation: DirectoryClass(_BOTH.size, _both),
    classes.FileNamesInformation: DirectoryClass(_NAMES.size, _names),
    classes.FileIdBothDirectoryInformation: DirectoryClass(_ID_BOTH.size, _id_both),
    classes.FileIdFullDirectoryInformation: DirectoryClass(_ID_FULL.size, _id_full),
    classes.FileIdExtdDirectoryInformation: _extended(_ID_EXTD, 1, False),
    classes.FileIdExtdBothDirectoryInformation: _extended(_ID_EXTD_BOTH, 1, True),
    classes.FileId64ExtdDirectoryInformation: _extended(_ID_64_EXTD, 1, False),
    classes.FileId64ExtdBothDirectoryInformation: _extended(_ID_64_EXTD_BOTH, 1, True),
    classes.FileIdAllExtdDirectoryInformation: _extended(_ID_ALL_EXTD, 2, False),
    classes.FileIdAllExtdBothDirectoryInformation: _extended(_ID_ALL_EXTD_BOTH, 2, True),
    classes.FilePosixInformation: DirectoryClass(_POSIX_HEAD.size + POSIX_INFO.size + _U32.size, _posix),
}
