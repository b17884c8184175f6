# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of an open file that reserves blocks beyond the end, and frees them at the last close (MS-FSA 2.1.5.15.1,
2.1.5.5). ksmbd/vfs/allocation.py has the system calls."""
from __future__ import annotations

import logging

from ksmbd.kernel import credentials
from ksmbd.kernel.files import set_times
from ksmbd.kernel.stat import stat_fd
from ksmbd.overriding import override
from ksmbd.smb.constants import FILE_WRITE_DATA
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import allocation, gate, ranges
from ksmbd.vfs.metadata import UNCHANGED, LocalMetadata

logger = logging.getLogger("ksmbd.vfs")


class ReservingFile(LocalMetadata):
    """An open file that can reserve blocks; LocalFile (file.py) is derived from it."""

    __slots__ = ()

    def _allocate(self, fd: int, size: int) -> None:
        stat = stat_fd(fd)
        if size <= stat.size:
            if size < stat.size or self.reserved or allocation.is_surplus(fd, stat):
                ranges.truncate(fd, size)
            return
        if self.reserved and size < stat.blocks << 9 and not self.is_duplicate:
            self.give_back(fd)
        self.reserves()
        try:
            allocation.reserve(fd, size, stat)
        except OSError:
            self.allocation_failed = True
            # For a duplicate, `rejoin` does this: other threads may be writing through the same file description.
            if not self.is_duplicate:
                self.give_back(fd)
            raise

    def reserves(self) -> None:
        """Record that this open reserves blocks beyond the end of the file."""
        place = self.place
        reservations = place.common.reservations
        if not self.reserved and not self.is_duplicate and reservations is not None:
            reservations.add(allocation.Reserved(place.share.path, self.names, self.key, place.user))
        self.reserved = True

    def give_back(self, fd: int) -> bool:
        """Free the blocks beyond the end of the file through `fd`, which may outlive the open; see
        allocation.give_back. Never raises: blocks that cannot be freed stay allocated."""
        credentials.assume(self.place.user)
        try:
            return allocation.give_back(fd, self._keep_write_time)
        except (OSError, NtStatusError) as error:
            logger.debug("%s: blocks beyond the end stay: %s", self.path, error)
            return True

    def _keep_write_time(self, fd: int, write: tuple[int, int]) -> None:
        try:
            set_times(fd, UNCHANGED, write)
        except PermissionError:
            # CREATE has checked FILE_WRITE_DATA when it reserved, although the open may not keep it in GrantedAccess.
            gate.write_times(self.granted_access | FILE_WRITE_DATA, fd, UNCHANGED, write)

    @override
    def close(self) -> None:
        """Close the open. Blocks that were reserved and not used are freed at the last close (MS-FSA 2.1.5.5).
        Idempotent."""
        if self.reserved:
            self._end_reservation()
        super().close()
        pending_releases = self.place.common.pending_releases
        if pending_releases.waiting:
            pending_releases.closed(self.key)

    def _end_reservation(self) -> None:
        if self.duplicates:
            return  # the last duplicate does this, in `rejoin`
        fd = self.fd
        self.reserved = False
        common = self.place.common
        if common.reservations is not None:
            common.reservations.remove(self.key)
        if fd < 0 or self.path_only:
            return
        try:
            self.finish_writes()
        except NtStatusError:
            pass  # `close` tries again and logs it
        # With `kernel oplocks` the server keeps no file open after its close.
        pending_releases = None if self.place.options.kernel_oplocks else common.pending_releases
        allocation.release_at_close(self, fd, common.offload_long, pending_releases)
