# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the file-system information of a share (MS-FSCC 2.5) from statvfs and the file system's abilities."""
from __future__ import annotations

import os
from hashlib import sha256
from typing import Final

from ksmbd.kernel import quota
from ksmbd.kernel.stat import Stat
from ksmbd.smb.ports import VolumeInfo
from ksmbd.vfs import gate
from ksmbd.vfs.attributes import creation_time
from ksmbd.vfs.dosattrib import NOTHING
from ksmbd.vfs.place import Place

# FileSystemAttributes (MS-FSCC 2.5.1)
FILE_CASE_SENSITIVE_SEARCH: Final = 0x00000001
FILE_CASE_PRESERVED_NAMES: Final = 0x00000002
FILE_UNICODE_ON_DISK: Final = 0x00000004
FILE_PERSISTENT_ACLS: Final = 0x00000008
FILE_FILE_COMPRESSION: Final = 0x00000010
FILE_VOLUME_QUOTAS: Final = 0x00000020
FILE_SUPPORTS_SPARSE_FILES: Final = 0x00000040
FILE_SUPPORTS_REPARSE_POINTS: Final = 0x00000080
FILE_SUPPORTS_OBJECT_IDS: Final = 0x00010000
FILE_NAMED_STREAMS: Final = 0x00040000
FILE_READ_ONLY_VOLUME: Final = 0x00080000
FILE_SUPPORTS_EXTENDED_ATTRIBUTES: Final = 0x00800000
FILE_SUPPORTS_BLOCK_REFCOUNTING: Final = 0x08000000
FILE_VC_QUOTA_TRACK: Final = 0x00000001
FILE_VC_QUOTA_ENFORCE: Final = 0x00000002
_SECTOR: Final = 512
_ST_RDONLY: Final = 1


def volume_info(place: Place, fd: int, file: Stat) -> VolumeInfo:
    """Of the file system that an open file is on: the share's, or one that is mounted below it. Raises OSError."""
    found = os.fstatvfs(fd)
    unit = found.f_frsize or 4096
    per_unit = max(unit // _SECTOR, 1)
    options = place.options
    attributes = (
        FILE_CASE_SENSITIVE_SEARCH | FILE_CASE_PRESERVED_NAMES | FILE_UNICODE_ON_DISK | FILE_PERSISTENT_ACLS
        | FILE_SUPPORTS_OBJECT_IDS | FILE_SUPPORTS_EXTENDED_ATTRIBUTES | place.common.settings.share_fake_fscaps
    )  # fmt: skip
    if options.streams:
        attributes |= FILE_NAMED_STREAMS
    if options.store_dos_attributes:
        attributes |= FILE_SUPPORTS_SPARSE_FILES  # the attribute is stored in user.DOSATTRIB; any file system has holes
    able = gate.abilities(fd)
    if able.reflinks:
        attributes |= FILE_SUPPORTS_BLOCK_REFCOUNTING
    if able.compression:
        attributes |= FILE_FILE_COMPRESSION
    if found.f_flag & _ST_RDONLY:
        attributes |= FILE_READ_ONLY_VOLUME
    # The share's own file system is known by the share's folder, another one by its device.
    known_by = place.root_key if file.dev == place.resolver.root_stat.dev else (file.dev,)
    identity = sha256(f"{known_by}:{place.share.name.lower()}".encode()).digest()
    quota_flags = _quota_flags(fd)
    if quota_flags:
        attributes |= FILE_VOLUME_QUOTAS
    total, left = _units_of(place, fd, unit, found)
    return VolumeInfo(
        total_units=total,
        available_units=found.f_bfree,
        caller_available_units=left,
        bytes_per_sector=_SECTOR,
        sectors_per_unit=per_unit,
        serial_number=int.from_bytes(identity[:4], "little"),
        label=place.share.name,
        file_system_name="NTFS",
        creation_time=creation_time(place.resolver.root_stat, NOTHING),
        attributes=attributes,
        maximum_component_length=255,
        object_id=identity[16:],
        quota_flags=quota_flags,
    )


def _quota_flags(fd: int) -> int:
    """FileSystemControlFlags (MS-FSCC 2.5.2): whether users' quotas are counted, and whether they limit."""
    try:
        state = quota.state(fd, quota.USER)
    except OSError:
        return 0
    if not state.counted:
        return 0
    return FILE_VC_QUOTA_TRACK | (FILE_VC_QUOTA_ENFORCE if state.enforced else 0)


def _units_of(place: Place, fd: int, unit: int, found: os.statvfs_result) -> tuple[int, int]:
    """The units that the user may use in all, and those left of them: what the file system has for users, or what his
    quota, or his group's, leaves (MS-FSCC 2.5.8). As long as a soft limit is not reached, it counts."""
    total, left = found.f_blocks, found.f_bavail
    if place.user.uid == 0:
        return total, left  # no quota holds root
    for kind, id_ in ((quota.USER, place.user.uid), (quota.GROUP, place.user.gid)):
        try:
            own = gate.read_quota(fd, kind, id_)
        except OSError:
            break  # none are counted here
        limit = own.soft or own.hard
        if not limit:
            continue
        if own.used >= limit:
            limit = max(own.hard, own.used)
        total = min(total, limit // unit)
        left = min(left, (limit - own.used) // unit)
    return total, left
