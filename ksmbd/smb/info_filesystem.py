# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes QUERY_INFO of file systems (SMB2_0_INFO_FILESYSTEM): the classes of MS-FSCC 2.5 (MS-SMB2 3.3.5.20.2)."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb import info_classes as classes
from ksmbd.smb.info_query import Answer, Query, QueryClass
from ksmbd.smb.posix import encode_posix_fs
from ksmbd.smb.reader import encode_utf16
from ksmbd.smb.status import STATUS_INVALID_INFO_CLASS, STATUS_NOT_SUPPORTED, NtStatusError

_VOLUME: Final = Struct("<QIIBB")
_SIZE: Final = Struct("<QQII")
_FULL_SIZE: Final = Struct("<QQQII")
_DEVICE: Final = Struct("<II")
_ATTRIBUTE: Final = Struct("<III")
_CONTROL: Final = Struct("<qqqQQI4x")
_SECTOR: Final = Struct("<IIIIIII")
FILE_DEVICE_NAMED_PIPE: Final = 0x11
FILE_DEVICE_DISK: Final = 0x07
FILE_READ_ONLY_DEVICE: Final = 0x02
FILE_DEVICE_IS_MOUNTED: Final = 0x20
FILE_SUPPORTS_SPARSE_FILES: Final = 0x00000040
FILE_READ_ONLY_VOLUME: Final = 0x00080000
SSINFO_FLAGS_ALIGNED_DEVICE: Final = 1
SSINFO_FLAGS_PARTITION_ALIGNED_ON_DEVICE: Final = 2
SSINFO_FLAGS_TRIM_ENABLED: Final = 8
_NO_LIMIT: Final = 0xFFFFFFFFFFFFFFFF
_PAGE: Final = 4096


def volume(query: Query) -> bytes:
    """FileFsVolumeInformation, MS-FSCC 2.5.9."""
    label = encode_utf16(query.volume.label)
    return _VOLUME.pack(query.volume.creation_time, query.volume.serial_number, len(label), 0, 0) + label


def size(query: Query) -> bytes:
    """FileFsSizeInformation, MS-FSCC 2.5.8: the units that the caller may use."""
    info = query.volume
    return _SIZE.pack(info.total_units, info.caller_available_units, info.sectors_per_unit, info.bytes_per_sector)


def full_size(query: Query) -> bytes:
    """FileFsFullSizeInformation, MS-FSCC 2.5.4."""
    info = query.volume
    return _FULL_SIZE.pack(
        info.total_units, info.caller_available_units, info.available_units, info.sectors_per_unit,
        info.bytes_per_sector,
    )  # fmt: skip


def device(query: Query) -> bytes:
    """FileFsDeviceInformation, MS-FSCC 2.5.10."""
    if query.open.file is None:
        return _DEVICE.pack(FILE_DEVICE_NAMED_PIPE, 0)
    read_only = FILE_READ_ONLY_DEVICE if query.request.tree.read_only else 0
    return _DEVICE.pack(FILE_DEVICE_DISK, FILE_DEVICE_IS_MOUNTED | read_only)


def attribute(query: Query) -> Answer | bytes:
    """FileFsAttributeInformation, MS-FSCC 2.5.1."""
    info = query.volume
    name = encode_utf16(info.file_system_name)
    flags = info.attributes | (FILE_READ_ONLY_VOLUME if query.request.tree.read_only else 0)
    return _ATTRIBUTE.pack(flags, info.maximum_component_length, len(name)) + name


def control(query: Query) -> bytes:
    """FileFsControlInformation, MS-FSCC 2.5.2: no thresholds of content indexing, no quotas for who has none of his
    own; whether quotas are tracked and enforced."""
    return _CONTROL.pack(0, 0, 0, _NO_LIMIT, _NO_LIMIT, query.volume.quota_flags)


def object_id(query: Query) -> bytes:
    """FileFsObjectIdInformation, MS-FSCC 2.5.6: the id; the 48 bytes of extended info are zero."""
    return query.volume.object_id.ljust(16, b"\0")[:16] + bytes(48)


def sector_size(query: Query) -> bytes:
    """FileFsSectorSizeInformation, MS-FSCC 2.5.7: writes within a page are atomic, and everything is aligned. Where
    files are sparse, FSCTL_FILE_LEVEL_TRIM gives their blocks back, unless the volume cannot be written."""
    sector = query.volume.bytes_per_sector
    flags = SSINFO_FLAGS_ALIGNED_DEVICE | SSINFO_FLAGS_PARTITION_ALIGNED_ON_DEVICE
    if query.volume.attributes & FILE_SUPPORTS_SPARSE_FILES and not _is_read_only(query):
        flags |= SSINFO_FLAGS_TRIM_ENABLED
    return _SECTOR.pack(sector, sector, max(_PAGE, sector), sector, flags, 0, 0)


def _is_read_only(query: Query) -> bool:
    return query.request.tree.read_only or bool(query.volume.attributes & FILE_READ_ONLY_VOLUME)


def posix(query: Query) -> bytes:
    """FileFsPosixInformation of the SMB3 POSIX extensions, for opens made with their create context."""
    if not query.open.is_posix:
        raise NtStatusError(STATUS_INVALID_INFO_CLASS)
    return encode_posix_fs(query.volume)


FILESYSTEM_CLASSES: Final[dict[int, QueryClass]] = {
    # 24 and 16: the fixed fields in whole units of 8 bytes (MS-FSA 2.1.5.13)
    classes.FileFsVolumeInformation: QueryClass(24, 0, volume),
    classes.FileFsSizeInformation: QueryClass(24, 0, size),
    classes.FileFsDeviceInformation: QueryClass(8, 0, device),
    classes.FileFsAttributeInformation: QueryClass(16, 0, attribute),
    classes.FileFsControlInformation: QueryClass(48, 0, control),
    classes.FileFsFullSizeInformation: QueryClass(32, 0, full_size),
    classes.FileFsObjectIdInformation: QueryClass(64, 0, object_id),
    classes.FileFsSectorSizeInformation: QueryClass(28, 0, sector_size),
    classes.FileFsPosixInformation: QueryClass(56, 0, posix),
}
_KNOWN: Final = frozenset(
    (classes.FileFsLabelInformation, classes.FileFsDriverPathInformation, classes.FileFsVolumeFlagsInformation)
)


def query_filesystem(query: Query, info_class: int) -> Answer:
    """Answer a query of the volume that holds the open; of a pipe, only FileFsDeviceInformation. Raises
    STATUS_NOT_SUPPORTED or STATUS_INVALID_INFO_CLASS for other classes."""
    rule = FILESYSTEM_CLASSES.get(info_class)
    if rule is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in _KNOWN else STATUS_INVALID_INFO_CLASS)
    return rule.answer(query)
