# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of the port Files that every open and every listing makes: what CREATE asks for, and the metadata
of a file. Their constructors are written out, since mypyc compiles none that `dataclass` writes."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, init=False)
class FileInfo:
    """The metadata of a file, from which the information classes of MS-FSCC are encoded."""

    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    attributes: int
    """FILE_ATTRIBUTE_*, never 0: FILE_ATTRIBUTE_NORMAL if there is no other."""
    number_of_links: int
    file_id: int
    """Stable 64-bit id (MS-FSCC 2.1.9)."""
    volume_id: int = 0
    ea_size: int = 0
    reparse_tag: int = 0
    is_directory: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0

    def __init__(  # noqa: PLR0913 - mypyc compiles no constructor that `dataclass` writes
        self, creation_time: int, last_access_time: int, last_write_time: int, change_time: int, allocation_size: int,
        end_of_file: int, attributes: int, number_of_links: int, file_id: int, volume_id: int = 0, ea_size: int = 0,
        reparse_tag: int = 0, is_directory: bool = False, uid: int = 0, gid: int = 0, mode: int = 0,
    ) -> None:  # fmt: skip
        self.creation_time = creation_time
        self.last_access_time = last_access_time
        self.last_write_time = last_write_time
        self.change_time = change_time
        self.allocation_size = allocation_size
        self.end_of_file = end_of_file
        self.attributes = attributes
        self.number_of_links = number_of_links
        self.file_id = file_id
        self.volume_id = volume_id
        self.ea_size = ea_size
        self.reparse_tag = reparse_tag
        self.is_directory = is_directory
        self.uid = uid
        self.gid = gid
        self.mode = mode


@dataclass(slots=True, init=False)
class DirectoryEntry:
    """One entry of a directory (MS-FSCC 2.4)."""

    name: str
    info: FileInfo
    short_name: str = ""
    encoded: bytes = b""
    """The entry in the information class `encoded_as`, once it has been encoded: an entry may be listed again."""
    encoded_as: int = 0

    def __init__(
        self, name: str, info: FileInfo, short_name: str = "", encoded: bytes = b"", encoded_as: int = 0
    ) -> None:
        self.name = name
        self.info = info
        self.short_name = short_name
        self.encoded = encoded
        self.encoded_as = encoded_as


@dataclass(slots=True, init=False)
class CreateIntent:
    """The parameters of CREATE for the file system (MS-SMB2 2.2.13, MS-FSA 2.1.5.1)."""

    name: str
    """Path below the share, components joined by `\\`, '' = the share's root; no stream."""
    stream: str
    """Stream name without `:$DATA`, '' = the default data stream."""
    desired_access: int
    """Generic bits mapped, MAXIMUM_ALLOWED kept."""
    disposition: int
    options: int
    attributes: int
    share_read_only: bool = False
    allocation_size: int = 0
    security_descriptor: bytes | None = None
    extended_attributes: Sequence[tuple[str, int, bytes]] = ()
    """(name, flags, value)."""
    posix_mode: int | None = None
    """For an open with the POSIX create context: names are case-sensitive, and a new file gets this mode."""
    snapshot: int = 0
    """FILETIME of a previous version (timewarp), 0 = live. A token in the name says so, too."""
    later: bool = False
    """The caller can continue later, so Volume.create may raise Unfinished."""

    def __init__(  # noqa: PLR0913 - mypyc compiles no constructor that `dataclass` writes
        self, name: str, stream: str, desired_access: int, disposition: int, options: int, attributes: int,
        share_read_only: bool = False, allocation_size: int = 0, security_descriptor: bytes | None = None,
        extended_attributes: Sequence[tuple[str, int, bytes]] = (), posix_mode: int | None = None, snapshot: int = 0,
        later: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.stream = stream
        self.desired_access = desired_access
        self.disposition = disposition
        self.options = options
        self.attributes = attributes
        self.share_read_only = share_read_only
        self.allocation_size = allocation_size
        self.security_descriptor = security_descriptor
        self.extended_attributes = extended_attributes
        self.posix_mode = posix_mode
        self.snapshot = snapshot
        self.later = later
