# SPDX-License-Identifier: GPL-2.0-or-later
"""Structures of the SMB3 POSIX extensions: the information class 100 of files and of file systems."""
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
# File types in Mode, where FileInfo.mode carries the permission bits alone
_S_IFMT, _S_IFREG, _S_IFDIR = 0o170000, 0o100000, 0o040000


def posix_mode(info: FileInfo) -> int:
    """The mode with its file type."""
    if info.mode & _S_IFMT:
        return info.mode
    return info.mode | (_S_IFDIR if info.is_directory else _S_IFREG)


def owner_sids(info: FileInfo) -> bytes:
    """Owner's and group's SIDs one after the other."""
    return UNIX_USERS.child(info.uid).encode() + UNIX_GROUPS.child(info.gid).encode()


def encode_posix_info(info: FileInfo) -> bytes:
    """The class for one file."""
    return POSIX_INFO.pack(
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.end_of_file,
        info.allocation_size, info.attributes, info.file_id, info.volume_id & 0xFFFFFFFF, 0, info.number_of_links,
        info.reparse_tag, posix_mode(info),
    ) + owner_sids(info)  # fmt: skip


def encode_posix_fs(volume: VolumeInfo) -> bytes:
    """The class for a file system: OptimalTransferSize, BlockSize, blocks (total, free, free to the user), file nodes
    (total, free) and an identifier; all ones where it is not known."""
    block = volume.bytes_per_sector * volume.sectors_per_unit
    return _FS_INFO.pack(
        _UNKNOWN32, block, volume.total_units, volume.available_units, volume.caller_available_units, _UNKNOWN64,
        _UNKNOWN64, volume.serial_number,
    )  # fmt: skip
