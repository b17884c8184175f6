# SPDX-License-Identifier: GPL-2.0-or-later
"""FSCTLs about a file or its volume as a whole: compression, reparse points, object ids, snapshots, volume data."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb.constants import DIALECT_210, FSCTL_CREATE_OR_GET_OBJECT_ID
from ksmbd.smb.durable import rights_of
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.reader import encode_utf16
from ksmbd.smb.snapshot_tokens import gmt_token
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_IO_REPARSE_DATA_INVALID,
    STATUS_IO_REPARSE_TAG_INVALID,
    STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECTID_NOT_FOUND,
    NtStatusError,
)

_U16: Final = Struct("<H")
_REPARSE: Final = Struct("<IHH")
"""ReparseTag, ReparseDataLength, Reserved (MS-FSCC 2.1.2.2)."""
_RESILIENCY: Final = Struct("<II")
"""Timeout in milliseconds, Reserved (MS-SMB2 2.2.31.3)."""
MAX_RESILIENCY_TIMEOUT: Final = 300
"""MaxResiliencyTimeout in seconds (MS-SMB2 3.3.1.5), also the longest timeout of durable opens of version 2."""
DEFAULT_RESILIENCY_TIMEOUT: Final = 120_000
"""Timeout in milliseconds where the client names none, the value of Windows."""
_SNAPSHOTS: Final = Struct("<III")
_NTFS_VOLUME: Final = Struct("<QQQQQIIIIQQQQQ")
FILE_FILE_COMPRESSION: Final = 0x00000010
"""FileSystemAttributes: the volume can compress files (MS-FSCC 2.5.1)."""
_COMPRESSION_STATES: Final = (0, 1, 2)
"""NONE, DEFAULT, LZNT1 (MS-FSCC 2.3.18)."""
_MAX_REPARSE_DATA: Final = 16384
_GUID_SIZE: Final = 16
_OBJECT_ID_SIZE: Final = 64
"""FILE_OBJECTID_BUFFER (MS-FSCC 2.1.3)."""
_MICROSOFT_TAG: Final = 0x80000000
_RESERVED_TAGS: Final = (0, 1)
_FILE_RECORD: Final = 1024


def get_compression(control: Control) -> Output:
    """FSCTL_GET_COMPRESSION (MS-FSCC 2.3.18)."""
    control.need(_U16.size)
    return Output(_U16.pack(control.file.compression()))


def set_compression(control: Control) -> Output:
    """FSCTL_SET_COMPRESSION (MS-FSCC 2.3.69). On a volume without compression only COMPRESSION_FORMAT_NONE succeeds,
    which changes nothing."""
    state = control.reader(_U16.size).u16()
    if state not in _COMPRESSION_STATES:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "compression format")
    if control.file.volume_info().attributes & FILE_FILE_COMPRESSION:
        control.file.set_compression(state)
    elif state:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "the volume does not compress")
    return Output()


def get_reparse_point(control: Control) -> Output:
    """FSCTL_GET_REPARSE_POINT (MS-FSCC 2.3.24)."""
    tag, data = control.file.reparse_point()
    control.need(_REPARSE.size)
    # `data` is what follows the fixed header; with a tag that is not Microsoft's it begins with the GUID.
    length = len(data) if tag & _MICROSOFT_TAG else max(len(data) - _GUID_SIZE, 0)
    out = _REPARSE.pack(tag, length, 0) + data
    return Output(out[: control.limit], STATUS_BUFFER_OVERFLOW) if len(out) > control.limit else Output(out)


def _reparse_input(control: Control) -> tuple[int, bytes]:
    """Tag and data of a REPARSE_DATA_BUFFER or REPARSE_GUID_DATA_BUFFER (MS-FSA 2.1.5.10.37)."""
    if len(control.input) < _REPARSE.size:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "no header")
    reader = control.reader(_REPARSE.size)
    tag, length, _ = reader.unpack(_REPARSE)
    if tag in _RESERVED_TAGS:
        raise NtStatusError(STATUS_IO_REPARSE_TAG_INVALID)
    guid = 0 if tag & _MICROSOFT_TAG else _GUID_SIZE
    if reader.remaining != length + guid or length > _MAX_REPARSE_DATA:
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "length")
    return tag, reader.bytes(length + guid)


def set_reparse_point(control: Control) -> Output:
    """FSCTL_SET_REPARSE_POINT (MS-FSCC 2.3.77)."""
    tag, data = _reparse_input(control)
    control.file.set_reparse_point(tag, data)
    return Output()


def delete_reparse_point(control: Control) -> Output:
    """FSCTL_DELETE_REPARSE_POINT (MS-FSCC 2.3.5): the input names the tag and carries no data."""
    tag, data = _reparse_input(control)
    if len(data) not in (0, _GUID_SIZE):
        raise NtStatusError(STATUS_IO_REPARSE_DATA_INVALID, "data with a deletion")
    control.file.delete_reparse_point(tag)
    return Output()


def get_object_id(control: Control) -> Output:
    """FSCTL_GET_OBJECT_ID and FSCTL_CREATE_OR_GET_OBJECT_ID (MS-FSCC 2.1.3.1, MS-FSA 2.1.5.10.1). The birth ids are the
    file's own. Only the second code creates an id; on a read-only share it raises STATUS_MEDIA_WRITE_PROTECTED."""
    control.need(_OBJECT_ID_SIZE, STATUS_INVALID_PARAMETER)
    makes = control.code == FSCTL_CREATE_OR_GET_OBJECT_ID
    found = control.file.object_id(makes and not control.request.tree.read_only)
    if found is None:
        raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED if makes else STATUS_OBJECTID_NOT_FOUND, "no object id")
    own = found.ljust(16, b"\0")[:16]
    birth_volume = control.file.volume_info().object_id.ljust(16, b"\0")[:16]
    return Output(own + birth_volume + own + bytes(16))


def set_object_id(control: Control) -> Output:
    """FSCTL_SET_OBJECT_ID (MS-FSA 2.1.5.10.35). It needs the privilege to restore, which no client has here, so
    STATUS_ACCESS_DENIED."""
    if len(control.input) != _OBJECT_ID_SIZE:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no FILE_OBJECTID_BUFFER")
    raise NtStatusError(STATUS_ACCESS_DENIED, "not opened to restore")


def enumerate_snapshots(control: Control) -> Output:
    """FSCTL_SRV_ENUMERATE_SNAPSHOTS (MS-SMB2 3.3.5.15.1): all tokens, or, if they do not fit, none and the size that
    they need."""
    control.need(16, STATUS_INVALID_PARAMETER)
    snapshots = control.file.previous_versions()
    tokens = encode_utf16("".join(f"{gmt_token(snapshot)}\0" for snapshot in snapshots) + "\0")
    if not snapshots or control.limit < _SNAPSHOTS.size + len(tokens):
        return Output(_SNAPSHOTS.pack(len(snapshots), 0, len(tokens)) + bytes(4))
    return Output(_SNAPSHOTS.pack(len(snapshots), len(snapshots), len(tokens)) + tokens)


def get_ntfs_volume_data(control: Control) -> Output:
    """FSCTL_GET_NTFS_VOLUME_DATA (MS-FSCC 2.3.22): the sizes that NTFS would report; fields about the MFT are 0."""
    control.need(_NTFS_VOLUME.size)
    volume = control.file.volume_info()
    cluster = volume.bytes_per_sector * volume.sectors_per_unit
    sectors = volume.total_units * volume.sectors_per_unit
    return Output(
        _NTFS_VOLUME.pack(
            volume.serial_number, sectors, volume.total_units, volume.available_units, 0, volume.bytes_per_sector,
            cluster, _FILE_RECORD, 0, 0, 0, 0, 0, 0,
        )
    )  # fmt: skip


def request_resiliency(control: Control) -> Output:
    """FSCTL_LMR_REQUEST_RESILIENCY (MS-SMB2 3.3.5.15.9): the open survives a lost connection, whatever its oplock or
    lease. It is no longer durable then, so the loss of its oplock or lease does not end this."""
    request, open_ = control.request, control.open
    if request.connection.dialect < DIALECT_210:
        raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
    if not request.server.settings.durable_handles:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "durable handles = no")
    timeout, _ = control.reader(_RESILIENCY.size).unpack(_RESILIENCY)
    if timeout // 1000 > MAX_RESILIENCY_TIMEOUT:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "Timeout")
    timeout = timeout or DEFAULT_RESILIENCY_TIMEOUT
    request.server.table.make_resilient(control.ref, timeout)
    open_.is_resilient, open_.is_durable, open_.durable_timeout = True, False, timeout
    open_.made_by = open_.made_by or rights_of(request)
    return Output()


def not_supported(control: Control) -> Output:
    """The handler of a known code that this file system does not support: STATUS_NOT_SUPPORTED."""
    raise NtStatusError(STATUS_NOT_SUPPORTED)


def invalid_device_request(control: Control) -> Output:
    """The handler of a code that the file system does not implement: STATUS_INVALID_DEVICE_REQUEST (MS-FSA
    2.1.5.10)."""
    raise NtStatusError(STATUS_INVALID_DEVICE_REQUEST)
