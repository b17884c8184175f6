# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of lsarpc that translate names and SIDs (MS-LSAT 3.1.4). Each has a table of the domains that its
entries belong to, by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ksmbd.smb.sid import Sid
from ksmbd.smb.status import (
    STATUS_INVALID_PARAMETER,
    STATUS_NONE_MAPPED,
    STATUS_SOME_NOT_MAPPED,
    STATUS_SUCCESS,
    NtStatusError,
    WireError,
)
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import (
    bounded,
    null_words,
    read_handle,
    read_sid_pointers,
    read_unicode_strings,
    returning_status,
    write_counted,
    write_sid_pointer,
    write_unicode_string,
)
from mountd.rpc.service import Caller
from mountd.rpc.translation import Translated, Translator
from mountd.rpc.well_known import SidUse

LEVELS: Final = range(1, 8)
"""LSAP_LOOKUP_LEVEL (MS-LSAT 2.2.16)."""
NO_DOMAIN: Final = 0xFFFFFFFF
"""DomainIndex -1."""
DOMAINS_MAX: Final = 32
"""MaxEntries of a list of domains, which readers ignore (MS-LSAT 2.2.12)."""


class Policy:
    """What a handle to the policy stands for."""


@dataclass(frozen=True)
class _Entry:
    """One translated entry: None where it is not mapped, the index of its domain, and its own."""

    found: Translated | None
    domain: int
    index: int


class _Domains:
    """The domains of an answer, each once."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Sid]] = []

    def index(self, found: Translated | None) -> int:
        """The index of the domain; it is added where it is new."""
        if found is None:
            return NO_DOMAIN
        entry = found.domain, found.domain_sid
        if entry not in self.entries:
            self.entries.append(entry)
        return self.entries.index(entry)

    def write(self, writer: NdrWriter) -> None:
        """A pointer to LSAPR_REFERENCED_DOMAIN_LIST."""

        def trust(writer: NdrWriter, entry: tuple[str, Sid]) -> None:
            write_unicode_string(writer, entry[0])
            write_sid_pointer(writer, entry[1])

        def domains() -> None:
            write_counted(writer, self.entries, trust)
            writer.u32(DOMAINS_MAX)

        writer.pointer(domains)
        writer.flush()


def _answer(
    writer: NdrWriter, found: Sequence[Translated | None], write: Callable[[NdrWriter, _Entry], None]
) -> int:
    """Write domains, entries and the number of those that are mapped. Returns the status (MS-LSAT 3.1.4.5)."""
    domains = _Domains()
    entries = [_Entry(each, domains.index(each), at) for at, each in enumerate(found)]
    domains.write(writer)
    write_counted(writer, entries, write)
    writer.flush()
    mapped = sum(entry.found is not None for entry in entries)
    writer.u32(mapped)
    if mapped == len(entries):
        return STATUS_SUCCESS
    return STATUS_SOME_NOT_MAPPED if mapped else STATUS_NONE_MAPPED


# ----------------------------------------------------------------------------------------------------- SIDs to names


def _sids(caller: Caller, reader: NdrReader) -> list[Sid]:
    """The parameters that LsarLookupSids and LsarLookupSids2 share."""
    caller.handles.get(read_handle(reader), Policy)
    sids = read_sid_pointers(reader)
    _skip_results(reader)
    if any(sid is None for sid in sids):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a null SID")
    return [sid for sid in sids if sid is not None]


def _skip_results(reader: NdrReader) -> None:
    """TranslatedNames or TranslatedSids as the client sends them, which are empty, the level, and MappedCount."""
    if reader.u32() or reader.pointer():
        raise WireError("translated entries in a request")
    if reader.u16() not in LEVELS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "look-up level")
    reader.u32()


def _write_names(caller: Caller, writer: NdrWriter, sids: list[Sid], extended: bool) -> int:
    def write(writer: NdrWriter, entry: _Entry) -> None:
        found = entry.found
        writer.align(4)
        writer.u16(SidUse.UNKNOWN if found is None else found.use)
        write_unicode_string(writer, str(sids[entry.index]) if found is None else found.name)
        writer.u32(entry.domain)
        if extended:
            writer.u32(0)

    return _answer(writer, Translator(caller.facts(), caller.names).sids(sids), write)


@returning_status(null_words(4))
def lookup_sids(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupSids, opnum 15 (MS-LSAT 3.1.4.11)."""
    return _write_names(caller, writer, _sids(caller, reader), extended=False)


@returning_status(null_words(4))
def lookup_sids_2(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupSids2, opnum 57 (MS-LSAT 3.1.4.10). Options and revision of the client change nothing here."""
    return _write_names(caller, writer, _sids(caller, reader), extended=True)


# ----------------------------------------------------------------------------------------------------- names to SIDs


def _names(caller: Caller, reader: NdrReader) -> list[Translated | None]:
    """The parameters that the look-ups of names share, translated."""
    caller.handles.get(read_handle(reader), Policy)
    count = reader.u32()
    if reader.u32() != count:
        raise WireError("an array of another length")
    bounded(count)
    names = read_unicode_strings(reader, count)
    _skip_results(reader)
    return Translator(caller.facts(), caller.names).names(names)


def _use(entry: _Entry) -> SidUse:
    return SidUse.UNKNOWN if entry.found is None else entry.found.use


def _relative(entry: _Entry) -> int:
    """The RID; of a domain there is none (MS-LSAT 2.2.14)."""
    found = entry.found
    return 0 if found is None else NO_DOMAIN if found.use is SidUse.DOMAIN else found.sid.rid


def _write_rid(writer: NdrWriter, entry: _Entry) -> None:
    """LSA_TRANSLATED_SID (MS-LSAT 2.2.14)."""
    writer.align(4)
    writer.u16(_use(entry))
    writer.u32(_relative(entry))
    writer.u32(entry.domain)


def _write_rid_extended(writer: NdrWriter, entry: _Entry) -> None:
    """LSAPR_TRANSLATED_SID_EX (MS-LSAT 2.2.24)."""
    _write_rid(writer, entry)
    writer.u32(0)


def _write_sid(writer: NdrWriter, entry: _Entry) -> None:
    """LSAPR_TRANSLATED_SID_EX2 (MS-LSAT 2.2.26)."""
    writer.align(4)
    writer.u16(_use(entry))
    write_sid_pointer(writer, None if entry.found is None else entry.found.sid)
    writer.u32(entry.domain)
    writer.u32(0)


@returning_status(null_words(4))
def lookup_names(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupNames, opnum 14 (MS-LSAT 3.1.4.8)."""
    return _answer(writer, _names(caller, reader), _write_rid)


@returning_status(null_words(4))
def lookup_names_2(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupNames2, opnum 58 (MS-LSAT 3.1.4.7)."""
    return _answer(writer, _names(caller, reader), _write_rid_extended)


@returning_status(null_words(4))
def lookup_names_3(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """LsarLookupNames3, opnum 68 (MS-LSAT 3.1.4.6)."""
    return _answer(writer, _names(caller, reader), _write_sid)
