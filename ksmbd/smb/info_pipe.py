# SPDX-License-Identifier: GPL-2.0-or-later
"""Encodes QUERY_INFO of named pipes: the classes that a message pipe on IPC$ has (MS-FSCC 2.4.37 to 2.4.39)."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import FILE_ATTRIBUTE_NORMAL, FILE_READ_ATTRIBUTES
from ksmbd.smb.info_file import access, alignment, mode, position
from ksmbd.smb.info_query import Answer, Query, QueryClass
from ksmbd.smb.reader import encode_utf16
from ksmbd.smb.status import STATUS_INVALID_INFO_CLASS, STATUS_NOT_SUPPORTED, NtStatusError

PIPE_BUFFER: Final = 4096
"""AllocationSize of a pipe instance in bytes, the value of Windows."""
FILE_PIPE_MESSAGE_MODE: Final = 1
_PIPE: Final = Struct("<II")
_LOCAL: Final = Struct("<IIIIIIIIII")
_REMOTE: Final = Struct("<QI4x")
_BASIC: Final = Struct("<QQQQII")
_STANDARD: Final = Struct("<QQIBBH")


def basic(query: Query) -> bytes:
    """FileBasicInformation: a pipe has no times."""
    return _BASIC.pack(0, 0, 0, 0, FILE_ATTRIBUTE_NORMAL, 0)


def standard(query: Query) -> bytes:
    """FileStandardInformation: one link, and DeletePending, since the pipe ends with its last handle."""
    return _STANDARD.pack(PIPE_BUFFER, 0, 1, 1, 0, 0)


def internal(query: Query) -> bytes:
    """FileInternalInformation: the persistent half of the FileId."""
    return query.open.persistent_id.to_bytes(8, "little")


def ea_size(query: Query) -> bytes:
    """FileEaInformation."""
    return bytes(4)


def all_information(query: Query) -> bytes:
    """FileAllInformation, MS-FSCC 2.4.2."""
    name = encode_utf16(f"\\{query.open.pipe_name}")
    parts = (basic, standard, internal, ea_size, access, position, mode, alignment)
    return b"".join(part(query) for part in parts) + len(name).to_bytes(4, "little") + name


def pipe(query: Query) -> bytes:
    """FilePipeInformation, MS-FSCC 2.4.37: message mode, blocking."""
    return _PIPE.pack(FILE_PIPE_MESSAGE_MODE, 0)


def pipe_local(query: Query) -> bytes:
    """FilePipeLocalInformation, MS-FSCC 2.4.38: a full-duplex message pipe, connected, client's end."""
    message_type, duplex, unlimited, connected, client_end = 1, 2, 0xFFFFFFFF, 3, 0
    return _LOCAL.pack(
        message_type, duplex, unlimited, 1, PIPE_BUFFER, 0, PIPE_BUFFER, PIPE_BUFFER, connected, client_end
    )


def pipe_remote(query: Query) -> bytes:
    """FilePipeRemoteInformation, MS-FSCC 2.4.39: no data is collected before it is sent."""
    return _REMOTE.pack(0, 0)


PIPE_CLASSES: Final[dict[int, QueryClass]] = {
    classes.FileBasicInformation: QueryClass(40, FILE_READ_ATTRIBUTES, basic),
    classes.FileStandardInformation: QueryClass(24, 0, standard),
    classes.FileInternalInformation: QueryClass(8, 0, internal),
    classes.FileEaInformation: QueryClass(4, 0, ea_size),
    classes.FileAccessInformation: QueryClass(4, 0, access),
    classes.FilePositionInformation: QueryClass(8, 0, position),
    classes.FileModeInformation: QueryClass(4, 0, mode),
    classes.FileAlignmentInformation: QueryClass(4, 0, alignment),
    classes.FileAllInformation: QueryClass(104, FILE_READ_ATTRIBUTES, all_information),
    classes.FilePipeInformation: QueryClass(8, FILE_READ_ATTRIBUTES, pipe),
    classes.FilePipeLocalInformation: QueryClass(40, FILE_READ_ATTRIBUTES, pipe_local),
    classes.FilePipeRemoteInformation: QueryClass(16, FILE_READ_ATTRIBUTES, pipe_remote),
}
_FILES_ONLY: Final = classes.QUERY_KNOWN | {
    classes.FileFullEaInformation, classes.FileAlternateNameInformation, classes.FileStreamInformation,
    classes.FileCompressionInformation, classes.FileNetworkOpenInformation, classes.FileAttributeTagInformation,
    classes.FileNormalizedNameInformation, classes.FileIdInformation,
}  # fmt: skip


def query_pipe(query: Query, info_class: int) -> Answer:
    """Answer a query of a pipe. Raises STATUS_NOT_SUPPORTED for classes that only files have, STATUS_INVALID_INFO_CLASS
    for unknown ones."""
    rule = PIPE_CLASSES.get(info_class)
    if rule is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in _FILES_ONLY else STATUS_INVALID_INFO_CLASS)
    return rule.answer(query)
