# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes the information class 100 of the SMB3 POSIX extensions, for files and for file systems."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.ports import FileInfo, VolumeInfo
from ksmbd.smb.sid import UNIX_GROUPS, UNIX_USERS

POSIX_INFO: Final = Struct("<QQQQQQIQIIIII")
"""Four times, EndOfFile, AllocationSize, DosAttributes, Inode, DeviceId, Zero, HardLinks, ReparseTag, Mode."""
_FS_INFO: Final = Struct("<IIQQQQQQ")
_UNKNOWN32: Final = 0xFFFFFFFF
_UNKNOWN64: Final = 0xFFFFFFFFFFFFFFFF
_PERMISSIONS: Final = 0o7777
_TYPE_SHIFT: Final = 12
_TYPES: Final[dict[int, int]] = {
    0o100000: 0, 0o040000: 1, 0o120000: 2, 0o020000: 3, 0o060000: 4, 0o010000: 5, 0o140000: 6,
}  # fmt: skip
"""File type in st_mode -> file type on the wire: regular file, directory, symbolic link, character device, block
device, FIFO, socket."""


def posix_mode(info: FileInfo) -> int:
    """The mode on the wire: the permission bits of Unix, and above them the file type in its own numbering."""
    kind = _TYPES.get(info.mode & ~_PERMISSIONS)
    if kind is None:
        kind = 1 if info.is_directory else 0
    return info.mode & _PERMISSIONS | kind << _TYPE_SHIFT


def owner_sids(info: FileInfo) -> bytes:
    """The SIDs of owner and group, one after the other."""
    return UNIX_USERS.child(info.uid).encode() + UNIX_GROUPS.child(info.gid).encode()


def encode_posix_info(info: FileInfo) -> bytes:
    """Encode FilePosixInformation (100) of one file."""
    return POSIX_INFO.pack(
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.end_of_file,
        info.allocation_size, info.attributes, info.file_id, info.volume_id & 0xFFFFFFFF, 0, info.number_of_links,
        info.reparse_tag, posix_mode(info),
    ) + owner_sids(info)  # fmt: skip


def encode_posix_fs(volume: VolumeInfo) -> bytes:
    """Encode FileFsPosixInformation (100): OptimalTransferSize, BlockSize, blocks (total, free, available to the user),
    inodes (total, free) and an identifier. Unknown values are all ones."""
    block = volume.bytes_per_sector * volume.sectors_per_unit
    return _FS_INFO.pack(
        _UNKNOWN32, block, volume.total_units, volume.available_units, volume.caller_available_units, _UNKNOWN64,
        _UNKNOWN64, volume.serial_number,
    )  # fmt: skip
