# SPDX-License-Identifier: GPL-2.0-or-later
"""Context handles (C706 14.3.12.2): what an association has open, by the 20 bytes that the client sends."""

from __future__ import annotations

import itertools
from typing import Final, TypeVar

from ksmbd import limits
from ksmbd.smb.status import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE,
    STATUS_OBJECT_TYPE_MISMATCH,
    NtStatusError,
)

SIZE: Final = 20
NULL: Final = bytes(SIZE)
T = TypeVar("T")


class Handles:
    """The open handles of one pipe. A handle of another pipe is not valid."""

    def __init__(self) -> None:
        self._open: dict[bytes, object] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._open)

    def open(self, target: object) -> bytes:
        """A new handle. Raises STATUS_INSUFFICIENT_RESOURCES where the pipe has too many."""
        if len(self._open) >= limits.RPC_HANDLES.value:
            raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "handles of a pipe")
        handle = bytes(4) + next(self._numbers).to_bytes(16, "little")
        self._open[handle] = target
        return handle

    def get(self, handle: bytes, kind: type[T]) -> T:
        """What a handle stands for. Raises STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH."""
        target = self._open.get(handle)
        if target is None:
            raise NtStatusError(STATUS_INVALID_HANDLE)
        if not isinstance(target, kind):
            raise NtStatusError(STATUS_OBJECT_TYPE_MISMATCH)
        return target

    def close(self, handle: bytes) -> None:
        """Close a handle. Raises STATUS_INVALID_HANDLE."""
        if self._open.pop(handle, None) is None:
            raise NtStatusError(STATUS_INVALID_HANDLE)
