# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a ring buffer that BPF programs write (BPF_MAP_TYPE_RINGBUF, Documentation/bpf/ringbuf.rst of Linux).

The kernel maps the data twice, one behind the other, so a record never breaks at the end. A record is 8 bytes (length
with two flags, offset of the page), then its data, rounded up to 8.
"""
from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final

from ksmbd.kernel import bpf

_BUSY: Final = 1 << 31
_DISCARD: Final = 1 << 30
_HEAD: Final = 8


class RingBuffer:
    """The reading end of a ring buffer; one reader alone may use it."""

    def __init__(self, ring: bpf.Map) -> None:
        """Map the memory of a map of type MAP_RINGBUF. Raises OSError."""
        self.size = ring.spec.entries
        page = mmap.PAGESIZE
        self._own = mmap.mmap(ring.fd, page)
        self._shared = mmap.mmap(ring.fd, page + 2 * self.size, prot=mmap.PROT_READ, offset=page)
        self._read_to = memoryview(self._own).cast("Q")
        view = memoryview(self._shared)
        self._written_to = view[:8].cast("Q")
        self._data = view[page:]
        self._lengths = self._data.cast("I")

    @property
    def waiting(self) -> int:
        """Bytes that are written and not yet read."""
        return self._written_to[0] - self._read_to[0]

    def records(self) -> Iterator[memoryview]:
        """The records that are complete. Each is valid until the next one is asked for: then its memory is given
        back."""
        at = self._read_to[0]
        while at < self._written_to[0]:
            place = at & self.size - 1
            length = self._lengths[place >> 2]
            if length & _BUSY:
                return  # the next one is told of when it is complete
            discarded, length = length & _DISCARD, length & ~_DISCARD
            if not discarded:
                yield self._data[place + _HEAD : place + _HEAD + length]
            at += _HEAD + length + 7 & ~7
            self._read_to[0] = at

    def close(self) -> None:
        """Unmap the memory. No record may be in use."""
        for view in (self._read_to, self._written_to, self._lengths, self._data):
            view.release()
        self._own.close()
