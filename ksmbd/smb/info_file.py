# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes QUERY_INFO of files: the classes of MS-FSCC 2.4, each with the access that it needs (MS-SMB2 3.3.5.20.1)."""
from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from ksmbd.smb import info_classes as classes
from ksmbd.smb.character_map import shown
from ksmbd.smb.constants import DIALECT_311, FILE_READ_ATTRIBUTES, FILE_READ_EA
from ksmbd.smb.ea import encode_full_ea, parse_get_ea
from ksmbd.smb.info_query import Answer, Query, QueryClass
from ksmbd.smb.posix import encode_posix_info
from ksmbd.smb.reader import encode_utf16
from ksmbd.smb.status import (
    STATUS_BUFFER_OVERFLOW,
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_NO_EAS_ON_FILE,
    STATUS_NO_MORE_EAS,
    STATUS_NONEXISTENT_EA_ENTRY,
    STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
    BufferTooSmall,
    NtStatusError,
)

SL_RESTART_SCAN: Final = 0x01
SL_RETURN_SINGLE_ENTRY: Final = 0x02
SL_INDEX_SPECIFIED: Final = 0x04
"""Flags of QUERY_INFO, for FileFullEaInformation alone (MS-SMB2 2.2.37)."""

_BASIC: Final = Struct("<QQQQII")
_STANDARD: Final = Struct("<QQIBBH")
_ALL: Final = Struct("<QQQQIIQQIBBHQIIQIII")
"""The classes that FileAllInformation consists of, in order, and the length of the name."""
_U32: Final = Struct("<I")
_NO_LIMIT: Final = 1 << 32
_U64: Final = Struct("<Q")
_COMPRESSION: Final = Struct("<QHBBB3x")
_NETWORK_OPEN: Final = Struct("<QQQQQQII")
_ATTRIBUTE_TAG: Final = Struct("<II")
_STREAM: Final = Struct("<IIQQ")
_ID: Final = Struct("<QQ8x")


def basic(query: Query) -> bytes:
    """FileBasicInformation, MS-FSCC 2.4.7."""
    info = query.info
    return _BASIC.pack(
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.attributes, 0
    )


def _pending(query: Query) -> bool:
    """DeletePending: whether the name that the file was opened by is to be deleted, or its last name is deleted
    already."""
    ref = query.open.ref
    return not query.info.number_of_links or (ref is not None and query.request.server.table.link_deleted(ref))


def standard(query: Query) -> bytes:
    """FileStandardInformation, MS-FSCC 2.4.47. A name that is to be deleted does not count in NumberOfLinks."""
    info = query.info
    pending = _pending(query)
    links = max(info.number_of_links - pending, 0)
    is_directory = info.is_directory and not query.file.stream
    return _STANDARD.pack(info.allocation_size, info.end_of_file, links, pending, is_directory, 0)


def internal(query: Query) -> bytes:
    """FileInternalInformation, MS-FSCC 2.4.27."""
    return _U64.pack(query.info.file_id)


def ea_size(query: Query) -> bytes:
    """FileEaInformation, MS-FSCC 2.4.13."""
    return _U32.pack(query.info.ea_size)


def access(query: Query) -> bytes:
    """FileAccessInformation, MS-FSCC 2.4.1."""
    return _U32.pack(query.open.granted_access)


def position(query: Query) -> bytes:
    """FilePositionInformation, MS-FSCC 2.4.40: the value that SET_INFO stored, or the end of the last READ or WRITE."""
    return _U64.pack(query.open.current_byte_offset)


def mode(query: Query) -> bytes:
    """FileModeInformation, MS-FSCC 2.4.31."""
    return _U32.pack(query.open.mode)


def alignment(query: Query) -> bytes:
    """FileAlignmentInformation, MS-FSCC 2.4.3: FILE_BYTE_ALIGNMENT."""
    return _U32.pack(0)


def _sized_name(name: str) -> bytes:
    raw = encode_utf16(name)
    return _U32.pack(len(raw)) + raw


def all_information(query: Query) -> bytes:
    """FileAllInformation, MS-FSCC 2.4.2; the name is absolute below the share."""
    file, info, open_ = query.file, query.info, query.open
    stream = file.stream
    raw = encode_utf16("\\" + shown(open_, f"{file.path}:{file.stream_name}" if stream else file.path))
    pending = _pending(query)
    return _ALL.pack(
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.attributes, 0,
        info.allocation_size, info.end_of_file, max(info.number_of_links - pending, 0), pending,
        info.is_directory and not stream, 0, info.file_id, info.ea_size, open_.granted_access,
        open_.current_byte_offset, open_.mode, 0, len(raw),
    ) + raw  # fmt: skip


def alternate_name(query: Query) -> bytes:
    """FileAlternateNameInformation, MS-FSCC 2.4.5: the 8.3 name. The share's root has none, nor has a longer name where
    the share has no short names."""
    name = query.file.short_name()
    if not name:
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND)
    return _sized_name(name)


def normalized_name(query: Query) -> bytes:
    """FileNormalizedNameInformation, MS-FSCC 2.4.36: relative to the share, with the letter case of the disk; 3.1.1
    alone."""
    if query.request.connection.dialect != DIALECT_311:
        raise NtStatusError(STATUS_NOT_SUPPORTED)
    return _sized_name(shown(query.open, query.file.normalized_name()))


def streams(query: Query) -> Answer:
    """FileStreamInformation, MS-FSCC 2.4.49: whole entries on 8-byte boundaries, names as `:name:$DATA`."""
    out = bytearray()
    last = 0
    for stream in query.file.streams():
        name = encode_utf16(f":{shown(query.open, stream.name)}:$DATA")
        start = -(-len(out) // 8) * 8
        if start + _STREAM.size + len(name) > query.limit:
            return Answer(out, STATUS_BUFFER_OVERFLOW)
        if out:
            out += bytes(start - len(out))
            _U32.pack_into(out, last, start - last)
        out += _STREAM.pack(0, len(name), stream.size, stream.allocation_size) + name
        last = start
    return Answer(out)


def compression(query: Query) -> bytes:
    """FileCompressionInformation, MS-FSCC 2.4.9. For compressed files it reports the units of NTFS: 16 clusters in
    chunks of 4 KiB."""
    state = query.file.compression()
    if not state:
        return _COMPRESSION.pack(query.info.allocation_size, 0, 0, 0, 0)
    cluster = (query.volume.bytes_per_sector * query.volume.sectors_per_unit).bit_length() - 1
    return _COMPRESSION.pack(query.info.allocation_size, state, cluster + 4, 12, cluster)


def network_open(query: Query) -> bytes:
    """FileNetworkOpenInformation, MS-FSCC 2.4.34."""
    info = query.info
    return _NETWORK_OPEN.pack(
        info.creation_time, info.last_access_time, info.last_write_time, info.change_time, info.allocation_size,
        info.end_of_file, info.attributes, 0,
    )  # fmt: skip


def attribute_tag(query: Query) -> bytes:
    """FileAttributeTagInformation, MS-FSCC 2.4.6."""
    return _ATTRIBUTE_TAG.pack(query.info.attributes, query.info.reparse_tag)


def file_id(query: Query) -> bytes:
    """FileIdInformation, MS-FSCC 2.4.26: the volume's serial number and the 128-bit id; SMB 3.x alone."""
    if query.request.connection.dialect < 0x0300:
        raise NtStatusError(STATUS_NOT_SUPPORTED)
    return _ID.pack(query.info.volume_id, query.info.file_id)


def full_ea(query: Query) -> Answer:
    """FileFullEaInformation, MS-FSCC 2.4.16, with the scan of MS-FSA 2.1.5.12.14: by a list of names, by index, or from
    where the last query ended."""
    attributes = query.file.extended_attributes()
    if query.input:
        wanted = parse_get_ea(query.input)
        held = {name.upper(): (name, flags, value) for name, flags, value in attributes}
        listed = [held.get(name.upper(), (name, 0, b"")) for name in wanted]
        out, count = encode_full_ea(listed, query.limit)
        return _ea_answer(out, count, listed)
    if not attributes:
        raise NtStatusError(STATUS_NO_EAS_ON_FILE)
    open_ = query.open
    if query.flags & SL_INDEX_SPECIFIED:  # the first entry has the index 1
        start = query.additional - 1
        if not 0 <= start <= len(attributes):
            raise NtStatusError(STATUS_NONEXISTENT_EA_ENTRY)
    elif query.flags & SL_RESTART_SCAN:
        start = 0
    else:
        start = open_.next_ea
    if start >= len(attributes):
        raise NtStatusError(STATUS_NO_MORE_EAS)
    chosen = attributes[start : start + 1 if query.flags & SL_RETURN_SINGLE_ENTRY else None]
    out, count = encode_full_ea(chosen, query.limit)
    answer = _ea_answer(out, count, chosen)
    open_.next_ea = start + count
    return answer


def _ea_answer(out: bytearray, count: int, wanted: Sequence[tuple[str, int, bytes]]) -> Answer:
    if not count:
        raise BufferTooSmall(len(encode_full_ea(wanted[:1], _NO_LIMIT)[0]))
    return Answer(out, STATUS_SUCCESS if count == len(wanted) else STATUS_BUFFER_OVERFLOW)


def posix(query: Query) -> bytes:
    """FilePosixInformation of the SMB3 POSIX extensions, for opens made with their create context."""
    if not query.open.is_posix:
        raise NtStatusError(STATUS_INVALID_INFO_CLASS)
    return encode_posix_info(query.info)


_READ_ATTRIBUTES = FILE_READ_ATTRIBUTES

FILE_CLASSES: Final[dict[int, QueryClass]] = {
    classes.FileBasicInformation: QueryClass(40, _READ_ATTRIBUTES, basic),
    classes.FileStandardInformation: QueryClass(24, 0, standard),
    classes.FileInternalInformation: QueryClass(8, 0, internal),
    classes.FileEaInformation: QueryClass(4, 0, ea_size),
    classes.FileAccessInformation: QueryClass(4, 0, access),
    classes.FilePositionInformation: QueryClass(8, 0, position),
    classes.FileFullEaInformation: QueryClass(0, FILE_READ_EA, full_ea),
    classes.FileModeInformation: QueryClass(4, 0, mode),
    classes.FileAlignmentInformation: QueryClass(4, 0, alignment),
    # Up to the name, in whole units of 8 bytes (MS-FSA 2.1.5.12.3)
    classes.FileAllInformation: QueryClass(104, _READ_ATTRIBUTES, all_information),
    classes.FileAlternateNameInformation: QueryClass(8, 0, alternate_name),
    classes.FileStreamInformation: QueryClass(32, 0, streams),
    classes.FileCompressionInformation: QueryClass(16, 0, compression),
    classes.FileNetworkOpenInformation: QueryClass(56, _READ_ATTRIBUTES, network_open),
    classes.FileAttributeTagInformation: QueryClass(8, _READ_ATTRIBUTES, attribute_tag),
    classes.FileNormalizedNameInformation: QueryClass(8, 0, normalized_name),
    classes.FileIdInformation: QueryClass(24, 0, file_id),
    classes.FilePosixInformation: QueryClass(80, _READ_ATTRIBUTES, posix),
}


def query_file(query: Query, info_class: int) -> Answer:
    """Answer a query of a file or directory. Raises STATUS_INVALID_PARAMETER for the classes of pipes,
    STATUS_NOT_SUPPORTED or STATUS_INVALID_INFO_CLASS for other unknown classes."""
    rule = FILE_CLASSES.get(info_class)
    if rule is not None:
        return rule.answer(query)
    if info_class in (
        classes.FilePipeInformation, classes.FilePipeLocalInformation, classes.FilePipeRemoteInformation,
    ):  # fmt: skip
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no pipe")
    raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in classes.QUERY_KNOWN else STATUS_INVALID_INFO_CLASS)
