# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_DIRECTORY (MS-SMB2 2.2.33, 2.2.34, 3.3.5.18; MS-FSA 2.1.5.6.3).

The open keeps an Enumeration: the pattern, the iterator over the entries, and an entry that did not fit. So a directory
is read once from beginning to end, over any number of requests. A request that takes long runs in time slices; further
requests of the same open wait for it.
"""
from __future__ import annotations

from collections.abc import Coroutine, Iterator
from struct import Struct
from typing import Any, Final

from ksmbd import limits
from ksmbd.smb import info_classes as classes
from ksmbd.smb.character_map import CharacterMap, map_of
from ksmbd.smb.constants import FILE_LIST_DIRECTORY
from ksmbd.smb.directory_classes import DIRECTORY_CLASSES, DirectoryClass
from ksmbd.smb.enumeration import Enumeration
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.model import Open
from ksmbd.smb.name_case import case_sensitive
from ksmbd.smb.patterns import compile_pattern, everything, has_wildcards
from ksmbd.smb.ports import DirectoryEntry, File
from ksmbd.smb.reader import decode_utf16
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.scheduler import TimeSlice
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BUFFER_OVERFLOW,
    STATUS_FILE_CLOSED,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_NO_MORE_FILES,
    STATUS_NO_SUCH_FILE,
    STATUS_OBJECT_NAME_INVALID,
    STATUS_SUCCESS,
    NtStatusError,
)
from ksmbd.smb.waiting import Future, end_of

SMB2_RESTART_SCANS: Final = 0x01
SMB2_RETURN_SINGLE_ENTRY: Final = 0x02
SMB2_INDEX_SPECIFIED: Final = 0x04
"""Ignored: FileIndex is 0 in every entry, so the client has no index to resume from."""
SMB2_REOPEN: Final = 0x10

_REQUEST: Final = Struct("<HBBIQQHHI")
"""StructureSize 33, FileInformationClass, Flags, FileIndex, FileId, FileNameOffset, FileNameLength,
OutputBufferLength."""
_RESPONSE: Final = Struct("<HHI")
_PADDING: Final = tuple(map(bytes, range(8)))
pack_u32: Final = Struct("<I").pack_into
_LOOKS: Final = 16
"""Entries between two checks of the time slice."""
_BUFFER_OFFSET: Final = HEADER_SIZE + _RESPONSE.size


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Answer with as many entries as fit into the output buffer."""
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
    if limit > request.connection.max_transact:
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
        raw = reader.at(name_offset, name_length)
        if name_length > 2 * limits.COMPONENT.value:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "a pattern that is longer than any name")
        pattern = decode_utf16(raw)
        if "\\" in pattern or "/" in pattern or "\0" in pattern:
            raise NtStatusError(STATUS_OBJECT_NAME_INVALID, pattern)
    if limit < encoder.fixed:
        raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
    buffer = EntryBuffer(encoder, info_class, limit, bool(flags & SMB2_RETURN_SINGLE_ENTRY))
    if open_.listing is not None:
        return _after_others(request, open_, file, pattern, flags, buffer)
    enumeration = _enumeration(open_, file, pattern, flags)
    time_slice = request.time_slice()
    if buffer.run(enumeration, time_slice):
        return buffer.reply()
    return _go_on(open_, enumeration, buffer, time_slice)


async def _after_others(
    request: Request, open_: Open, file: File, pattern: str, flags: int, buffer: EntryBuffer
) -> Reply:
    """Wait until earlier requests on this open have been answered, then list."""
    while open_.listing is not None:
        await end_of(open_.listing)
        if open_.closed:
            raise NtStatusError(STATUS_FILE_CLOSED)
    enumeration = _enumeration(open_, file, pattern, flags)
    time_slice = request.time_slice()
    if buffer.run(enumeration, time_slice):
        return buffer.reply()
    return await _go_on(open_, enumeration, buffer, time_slice)


async def _go_on(open_: Open, enumeration: Enumeration, buffer: EntryBuffer, time_slice: TimeSlice) -> Reply:
    """Continue the listing in further time slices."""
    ended = open_.listing = Future()
    try:
        while True:
            await time_slice.renew()
            if open_.closed:
                raise NtStatusError(STATUS_FILE_CLOSED)
            if buffer.run(enumeration, time_slice):
                return buffer.reply()
    finally:
        open_.listing = None
        ended.set_result(None)


def _enumeration(open_: Open, file: File, pattern: str, flags: int) -> Enumeration:
    """The Enumeration of the open, or a new one where there is none or the client asks to restart."""
    enumeration = open_.enumeration
    if enumeration is None or flags & (SMB2_RESTART_SCANS | SMB2_REOPEN):
        if not pattern and enumeration is not None and not flags & SMB2_REOPEN:
            pattern = enumeration.pattern
        enumeration = open_.enumeration = start(open_, file, pattern or "*")
    return enumeration


def start(open_: Open, file: File, pattern: str) -> Enumeration:
    """A new Enumeration. A pattern that names one entry is looked up, without reading the directory."""
    characters = map_of(open_)
    if has_wildcards(pattern) or pattern in (".", ".."):
        matches = compile_pattern(pattern, case_sensitive(open_))
        if characters is None:
            return Enumeration(pattern, file.list_directory(None if matches is everything else matches))
        to_client = characters.to_client
        return Enumeration(pattern, _mapped(file.list_directory(lambda name: matches(to_client(name))), characters))
    if characters is None:
        return Enumeration(pattern, _one(file, pattern))
    return Enumeration(pattern, _mapped(_one(file, characters.to_server(pattern)), characters))


def _mapped(
    entries: Iterator[DirectoryEntry | None], characters: CharacterMap
) -> Iterator[DirectoryEntry | None]:
    """The entries, with the names that clients see."""
    for entry in entries:
        if entry is None:
            yield None
        else:  # another one: the port may keep its own for the next listing
            yield DirectoryEntry(characters.to_client(entry.name), entry.info, entry.short_name)


def _one(file: File, name: str) -> Iterator[DirectoryEntry | None]:
    entry = file.lookup_entry(name)
    if entry is not None:
        yield entry


class EntryBuffer:
    """The output buffer of one response: entries, each aligned to 8 bytes."""

    __slots__ = ("_body", "_encoder", "_info_class", "_last", "_limit", "_padding", "_room", "_single", "_status")

    def __init__(self, encoder: DirectoryClass, info_class: int, limit: int, single: bool) -> None:
        """`encoder` is that of `info_class`; `limit`: size of the buffer in bytes; `single`: only one entry is
        wanted."""
        self._body = bytearray(_RESPONSE.size)
        self._encoder = encoder
        self._info_class = info_class
        self._limit = self._room = limit
        self._single = single
        self._last = _RESPONSE.size
        self._padding = 0
        self._status = STATUS_SUCCESS

    def run(self, enumeration: Enumeration, time_slice: TimeSlice) -> bool:
        """Add entries until the buffer is full, the directory ends or the time slice is over (False). True: the
        response is complete.

        Raises STATUS_NO_SUCH_FILE or STATUS_NO_MORE_FILES where there is no entry. If not even the first entry fits, it
        is cut and sent with STATUS_BUFFER_OVERFLOW, and it is the next one again."""
        body = self._body
        room = self._room
        encode = self._encoder.encode
        info_class = self._info_class
        entries = enumeration.entries
        entry = enumeration.pending
        enumeration.pending = None
        looks = 0
        while True:
            if entry is None:
                if looks >= _LOOKS:
                    looks = 0
                    if time_slice.is_over():
                        self._room = room
                        return False
                looks += 1
                try:
                    entry = next(entries)
                except StopIteration:
                    break
                if entry is None:  # nothing to show among many
                    looks = _LOOKS
                    continue
            if entry.encoded_as == info_class:
                raw = entry.encoded
            else:
                raw = entry.encoded = encode(entry)
                entry.encoded_as = info_class
            size = len(raw)
            if size > room:
                enumeration.pending = entry
                if len(body) > _RESPONSE.size:
                    break
                body += raw[: self._limit]
                self._status = STATUS_BUFFER_OVERFLOW
                return True
            self._last = len(body)
            padding = self._padding = -size & 7
            body += raw
            if padding:
                body += _PADDING[padding]
            # As if another one followed; put right behind the last one.
            pack_u32(body, self._last, size + padding)
            room -= size + padding
            entry = None
            if self._single:
                break
        if len(body) == _RESPONSE.size:
            raise NtStatusError(STATUS_NO_MORE_FILES if enumeration.returned_any else STATUS_NO_SUCH_FILE)
        pack_u32(body, self._last, 0)
        if self._padding:
            del body[-self._padding :]
        enumeration.returned_any = True
        return True

    def reply(self) -> Reply:
        """The response."""
        _RESPONSE.pack_into(self._body, 0, 9, _BUFFER_OFFSET, len(self._body) - _RESPONSE.size)
        return Reply(self._body, self._status)
