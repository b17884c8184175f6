# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_DIRECTORY (MS-SMB2 2.2.33, 2.2.34, 3.3.5.18; MS-FSA 2.1.5.6.3).

The open keeps its Enumeration: the pattern, the lazy listing, and the entry that was read but did not fit. So a
directory is read once from end to end, however many requests that takes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import FILE_LIST_DIRECTORY
from ksmbd.smb.directory_classes import DIRECTORY_CLASSES, DirectoryClass
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Enumeration, Open
from ksmbd.smb.patterns import compile_pattern, everything, has_wildcards
from ksmbd.smb.ports import DirectoryEntry, File
from ksmbd.smb.reader import decode_utf16
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_FILES,
    STATUS_NO_SUCH_FILE,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_SUCCESS,
    NtStatusError,
)

SMB2_RESTART_SCANS: Final = 0x01
SMB2_RETURN_SINGLE_ENTRY: Final = 0x02
SMB2_INDEX_SPECIFIED: Final = 0x04
"""Not honoured: FileIndex is 0 in every entry, so there is nothing to go on from."""
SMB2_REOPEN: Final = 0x10

_REQUEST: Final = Struct("<HBBIQQHHI")
"""StructureSize 33, FileInformationClass, Flags, FileIndex, FileId, FileNameOffset, FileNameLength,
OutputBufferLength."""
_RESPONSE: Final = Struct("<HHI")
_PADDING: Final = tuple(map(bytes, range(8)))
pack_u32: Final = Struct("<I").pack_into
_BUFFER_OFFSET: Final = HEADER_SIZE + _RESPONSE.size


def handle(request: Request) -> Reply:
    """Answer with as many entries as fit the client's buffer."""
    reader = request.reader()
    (
        structure, info_class, flags, _, persistent, volatile, name_offset, name_length, limit,
    ) = reader.unpack(_REQUEST)  # fmt: skip
    if structure != 33:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "StructureSize")
    open_ = request.find_open(persistent, volatile)
    file = open_.file
    if file is None or not file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "no directory")
    if limit > request.server.settings.max_transact:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "more than MaxTransactSize")
    encoder = DIRECTORY_CLASSES.get(info_class)
    if encoder is None or (info_class == classes.FilePosixInformation and not open_.is_posix):
        raise NtStatusError(STATUS_INVALID_INFO_CLASS)
    if not open_.granted_access & FILE_LIST_DIRECTORY:
        raise NtStatusError(STATUS_ACCESS_DENIED)
    pattern = ""
    if name_length:
        if name_offset < HEADER_SIZE + _REQUEST.size:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "FileNameOffset")
        pattern = decode_utf16(reader.at(name_offset, name_length))
        if "\\" in pattern or "/" in pattern or "\0" in pattern:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, pattern)
    if limit < encoder.fixed:
        raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
    enumeration = open_.enumeration
    if enumeration is None or flags & (SMB2_RESTART_SCANS | SMB2_REOPEN):
        if not pattern and enumeration is not None and not flags & SMB2_REOPEN:
            pattern = enumeration.pattern
        enumeration = open_.enumeration = start(open_, file, pattern or "*")
    body = bytearray(_RESPONSE.size)
    status = fill(body, enumeration, encoder, limit, bool(flags & SMB2_RETURN_SINGLE_ENTRY))
    _RESPONSE.pack_into(body, 0, 9, _BUFFER_OFFSET, len(body) - _RESPONSE.size)
    return Reply(body, status)


def start(open_: Open, file: File, pattern: str) -> Enumeration:
    """A listing from its beginning; a pattern that names one file is looked up instead of searched for."""
    if has_wildcards(pattern) or pattern in (".", ".."):
        entries = file.list_directory()
        matches = compile_pattern(pattern, open_.is_posix)
        if matches is not everything:
            entries = _matching(entries, matches)
        return Enumeration(pattern, entries)
    return Enumeration(pattern, _one(file, pattern))


def _matching(entries: Iterator[DirectoryEntry], matches: Callable[[str], bool]) -> Iterator[DirectoryEntry]:
    # A function and no generator expression: compiled, the expression would read the whole directory first.
    for entry in entries:
        if matches(entry.name):
            yield entry


def _one(file: File, name: str) -> Iterator[DirectoryEntry]:
    entry = file.lookup_entry(name)
    if entry is not None:
        yield entry


def fill(body: bytearray, enumeration: Enumeration, encoder: DirectoryClass, limit: int, single: bool) -> int:
    """Append entries to `body`, at most `limit` bytes, each on a boundary of 8 from the first; the NTSTATUS.

    Raises STATUS_NO_SUCH_FILE or STATUS_NO_MORE_FILES where there is none. An entry whose name alone does not fit comes
    cut with STATUS_BUFFER_OVERFLOW and stays the next one."""
    first = last = len(body)
    room = limit
    padding = 0
    encode = encoder.encode
    entries = enumeration.entries
    entry = enumeration.pending or next(entries, None)
    while entry is not None:
        raw = encode(entry)
        size = len(raw)
        if size > room:
            if len(body) > first:
                break
            enumeration.pending = entry
            body += raw[:limit]
            return STATUS_BUFFER_OVERFLOW
        last = len(body)
        padding = -size & 7
        body += raw
        if padding:
            body += _PADDING[padding]
        # As if another one followed; put right behind the last one.
        pack_u32(body, last, size + padding)
        room -= size + padding
        if single:
            entry = None
            break
        entry = next(entries, None)
    enumeration.pending = entry
    if len(body) == first:
        raise NtStatusError(STATUS_NO_MORE_FILES if enumeration.returned_any else STATUS_NO_SUCH_FILE)
    pack_u32(body, last, 0)
    if padding:
        del body[-padding:]
    enumeration.returned_any = True
    return STATUS_SUCCESS
