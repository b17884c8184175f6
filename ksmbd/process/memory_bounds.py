# SPDX-License-Identifier: GPL-2.0-or-later
"""What messages and replies may take of the memory that there is: that of the machine, or of the control group.

A client that has read all its replies is always served. So the longest reply times the number of clients that read at
once must fit; in a small control group messages are therefore shorter than what ksmbd.conf allows.
"""
from __future__ import annotations

from typing import Final

from ksmbd import log
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import memory
from ksmbd.limits import REPLIES_UNREAD_ALL

LEAST_REPLIES: Final = 2 << 20
"""Least number of bytes of replies that may wait in a worker, however small the machine is."""
LEAST_MESSAGE: Final = 64 << 10
"""SMB 2.0.2 has this size in any case."""
MESSAGE_PART: Final = 256
"""The data of one message takes at most this part of the memory."""


def replies_budget(settings: EngineSettings) -> int:
    """Bytes of replies that may wait for all clients of one worker together."""
    return max(min(REPLIES_UNREAD_ALL.value, memory.limit() // 16) // max(settings.workers, 1), LEAST_REPLIES)


def largest_message() -> int:
    """The most bytes of data that one message may have in the memory that there is: a multiple of LEAST_MESSAGE."""
    return max(memory.limit() // MESSAGE_PART // LEAST_MESSAGE, 1) * LEAST_MESSAGE


def tell(settings: EngineSettings) -> None:
    """Say in the log where the memory allows less than the settings."""
    most = largest_message()
    if max(settings.smb2_max_read, settings.smb2_max_write, settings.smb2_max_trans) > most:
        log.info(
            f"little memory ({memory.limit() >> 20} MiB): smb2 max read, write and trans are {most >> 10} KiB at most"
        )
