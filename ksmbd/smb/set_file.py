# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries out SET_INFO of files (SMB2_0_INFO_FILE): the classes of MS-FSCC 2.4 with the use "Set" (MS-SMB2
3.3.5.21.1)."""
from __future__ import annotations

from struct import Struct
from typing import Final

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import (
    DELETE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_TEMPORARY,
    FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_SEQUENTIAL_ONLY,
    FILE_SYNCHRONOUS_IO_ALERT,
    FILE_SYNCHRONOUS_IO_NONALERT,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    FILE_WRITE_EA,
    FILE_WRITE_THROUGH,
)
from ksmbd.smb.full_ea import check_ea_name, parse_full_ea
from ksmbd.smb.offload import is_large, offload
from ksmbd.smb.ports import BreakKind
from ksmbd.smb.reader import Reader
from ksmbd.smb.set_query import Change, SetClass
from ksmbd.smb.set_rename import TARGET_SIZE, link, rename, rename_ex
from ksmbd.smb.status import (
    STATUS_CANNOT_DELETE,
    STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER,
    STATUS_NOT_SUPPORTED,
    STATUS_PRIVILEGE_NOT_HELD,
    NtStatusError,
)

_BASIC: Final = Struct("<qqqqII")
_PIPE: Final = Struct("<II")

FILE_DISPOSITION_DELETE: Final = 0x01
FILE_DISPOSITION_POSIX_SEMANTICS: Final = 0x02
FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE: Final = 0x10
_DISPOSITION_FLAGS: Final = 0x1F

_SYNCHRONOUS: Final = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT
_SETTABLE_MODE: Final = FILE_WRITE_THROUGH | FILE_SEQUENTIAL_ONLY | _SYNCHRONOUS

SIZE_BREAK: Final = BreakKind(lose_read=True, lose_write=True, lose_handle=False)
"""What a change of size takes from the oplocks and leases of others (MS-FSA 2.1.4.12, FileEndOfFileInformation)."""
_SECTOR_MASK: Final = 511


def basic(change: Change) -> None:
    """FileBasicInformation, MS-FSCC 2.4.7 and MS-FSA 2.1.5.15.2."""
    creation, access, write, changed, attributes, _ = Reader(change.data).unpack(_BASIC)
    if min(creation, access, write, changed) < -2:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a time before 1601")
    file = change.file
    if attributes & FILE_ATTRIBUTE_DIRECTORY and not file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a file does not become a directory")
    if attributes & FILE_ATTRIBUTE_TEMPORARY and file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a temporary directory")
    file.set_basic(creation, access, write, changed, attributes)
    change.directory_changed(file.parent_key)


async def disposition(change: Change) -> None:
    """FileDispositionInformation, MS-FSCC 2.4.11."""
    await _dispose(change, change.data[0] != 0)


async def disposition_ex(change: Change) -> None:
    """FileDispositionInformationEx, MS-FSCC 2.4.12: unknown flags are refused."""
    flags = Reader(change.data).u32()
    if flags & ~_DISPOSITION_FLAGS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "flags")
    ignore_read_only = bool(flags & FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE)
    delete = bool(flags & FILE_DISPOSITION_DELETE)
    await _dispose(change, delete, ignore_read_only, delete and bool(flags & FILE_DISPOSITION_POSIX_SEMANTICS))


async def _dispose(change: Change, delete: bool, ignore_read_only: bool = False, posix: bool = False) -> None:
    """Set or clear deletion on close (MS-FSA 2.1.5.15.3). A file that cannot be deleted raises now, not when its last
    handle closes. `posix`: the name is removed when this handle closes, whoever else has the file open (MS-FSCC
    2.4.12)."""
    file = change.file
    if delete:
        if not file.path and not file.stream:
            raise NtStatusError(STATUS_CANNOT_DELETE, "the share's root")
        try:
            file.check_delete()
        except NtStatusError as error:
            if error.status != STATUS_CANNOT_DELETE or not ignore_read_only:
                raise
    await change.settle(change.table.set_delete_on_close(change.ref, delete, posix))


def _new_size(change: Change) -> int:
    size = Reader(change.data).i64()
    if size < 0 or change.file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "size")
    return size


async def end_of_file(change: Change) -> None:
    """FileEndOfFileInformation, MS-FSCC 2.4.14 and MS-FSA 2.1.5.15.4."""
    size = _new_size(change)
    await change.settle(change.table.break_caching(change.ref, SIZE_BREAK))
    file = change.file
    if is_large(file, 0):
        await offload(change.request, lambda duplicate: duplicate.set_end_of_file(size), change.open)
    else:
        file.set_end_of_file(size)
    change.directory_changed(change.file.parent_key)


async def allocation(change: Change) -> None:
    """FileAllocationInformation, MS-FSCC 2.4.4 and MS-FSA 2.1.5.15.1: less than the size of the file truncates it."""
    size = _new_size(change)
    await change.settle(change.table.break_caching(change.ref, SIZE_BREAK))
    file = change.file
    if is_large(file, size):
        await offload(change.request, lambda duplicate: duplicate.set_allocation(size), change.open)
    else:
        file.set_allocation(size)
    change.directory_changed(change.file.parent_key)


def valid_data_length(change: Change) -> None:
    """FileValidDataLengthInformation, MS-FSCC 2.4.50: needs SeManageVolumePrivilege, which no client gets here."""
    _new_size(change)
    raise NtStatusError(STATUS_PRIVILEGE_NOT_HELD)


def position(change: Change) -> None:
    """FilePositionInformation, MS-FSCC 2.4.40: stored for queries only; READ and WRITE carry their own offsets."""
    offset = Reader(change.data).i64()
    unbuffered = change.open.create_options & FILE_NO_INTERMEDIATE_BUFFERING
    if offset < 0 or (unbuffered and offset & _SECTOR_MASK):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "offset")
    change.open.current_byte_offset = offset


def mode(change: Change) -> None:
    """FileModeInformation, MS-FSCC 2.4.31 and MS-FSA 2.1.5.15.9: a synchronous open cannot become asynchronous, nor the
    reverse."""
    wanted = Reader(change.data).u32()
    open_ = change.open
    synchronous = wanted & _SYNCHRONOUS
    if wanted & ~_SETTABLE_MODE or synchronous == _SYNCHRONOUS:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "mode")
    if bool(synchronous) != bool(open_.mode & _SYNCHRONOUS):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "synchronous or not")
    open_.mode = open_.mode & ~_SETTABLE_MODE | wanted


def full_ea(change: Change) -> None:
    """FileFullEaInformation, MS-FSCC 2.4.16: an empty value removes the attribute."""
    attributes = parse_full_ea(change.data)
    for name, flags, _ in attributes:
        check_ea_name(name, flags)
    change.file.set_extended_attributes(attributes)


def short_name(change: Change) -> None:
    """FileShortNameInformation, MS-FSCC 2.4.46: short names are computed here, not stored."""
    raise NtStatusError(STATUS_NOT_SUPPORTED, "short names cannot be set")


def pipe(change: Change) -> None:
    """FilePipeInformation, MS-FSCC 2.4.37: read mode and completion mode; only pipes have them."""
    read_mode, completion_mode = Reader(change.data).unpack(_PIPE)
    if change.open.file is not None or read_mode > 1 or completion_mode > 1:
        raise NtStatusError(STATUS_INVALID_PARAMETER)
    # RPC pipes are message pipes that answer at once: neither mode changes what the client sees.


SET_CLASSES: Final[dict[int, SetClass]] = {
    classes.FileBasicInformation: SetClass(40, FILE_WRITE_ATTRIBUTES, True, basic),
    classes.FileRenameInformation: SetClass(TARGET_SIZE, DELETE, True, rename),
    classes.FileLinkInformation: SetClass(TARGET_SIZE, 0, True, link),
    classes.FileDispositionInformation: SetClass(1, DELETE, True, disposition),
    classes.FilePositionInformation: SetClass(8, 0, False, position),
    classes.FileFullEaInformation: SetClass(8, FILE_WRITE_EA, True, full_ea),
    classes.FileModeInformation: SetClass(4, 0, False, mode),
    classes.FileAllocationInformation: SetClass(8, FILE_WRITE_DATA, True, allocation),
    classes.FileEndOfFileInformation: SetClass(8, FILE_WRITE_DATA, True, end_of_file),
    classes.FilePipeInformation: SetClass(8, FILE_WRITE_ATTRIBUTES, False, pipe),
    classes.FileValidDataLengthInformation: SetClass(8, FILE_WRITE_DATA, True, valid_data_length),
    classes.FileShortNameInformation: SetClass(4, DELETE, True, short_name),
    classes.FileDispositionInformationEx: SetClass(4, DELETE, True, disposition_ex),
    classes.FileRenameInformationEx: SetClass(TARGET_SIZE, DELETE, True, rename_ex),
}
"""For each class its size, its access, whether a read-only share refuses it, and its function: the one table of
SET_INFO for files."""
PIPE_CLASSES: Final = frozenset(
    (classes.FilePipeInformation, classes.FileModeInformation, classes.FilePositionInformation)
)


async def set_file(change: Change, info_class: int) -> None:
    """Apply one class; to pipes only those in PIPE_CLASSES. Raises NtStatusError."""
    rule = SET_CLASSES.get(info_class)
    if rule is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in classes.SET_KNOWN else STATUS_INVALID_INFO_CLASS)
    if change.open.file is None and info_class not in PIPE_CLASSES:
        raise NtStatusError(STATUS_NOT_SUPPORTED, "a pipe")
    rule.check(change)
    pending = rule.apply(change)
    if pending is not None:
        await pending
