# SPDX-License-Identifier: GPL-2.0-or-later
"""How messages leave one connection: in the clear, signed or encrypted; at once, joined with others, or after a helper
thread has worked on them (MS-SMB2 3.3.4.1; 2.1 for the 4-byte length).

A message is a frame whose header begins at HEADROOM: before it there is room for the length and for a transform header.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.smb.constants import FLAGS_SIGNED
from ksmbd.smb.header import BLANK_HEADER, HEADER_SIZE, HEADROOM, NBSS_HEADER_SIZE, Header, write_header
from ksmbd.smb.helper_threads import HelperThreads
from ksmbd.smb.ports import FileSpan, Frame, Sealer, Signer, Transport
from ksmbd.smb.status import STATUS_SUCCESS
from ksmbd.smb.waiting import Future

OFFLOADED_MAX: Final = limits.REPLIES_OFFLOADED.value
"""Bytes of one connection's replies that may be with helper threads; what is more is worked on at once, and the
client waits."""
JOINED_EACH: Final = 16 << 10
"""A reply up to this long is joined with others: the copy costs less than a buffer more to send."""
JOINED_MAX: Final = 256 << 10
"""Bytes of joined replies after which a run ends."""
NO_MESSAGE_ID: Final = 0xFFFFFFFFFFFFFFFF
"""Of a message that answers no request (MS-SMB2 3.3.4.6)."""
_NBSS: Final = Struct(">I")
_CLEAR_START: Final = HEADROOM - NBSS_HEADER_SIZE
_FLAGS: Final = 16
"""Offset of the lowest byte of Flags in a header (MS-SMB2 2.2.1)."""


class Sender:
    """Sends one connection's messages. All of them pass here, so what was joined before leaves before."""

    __slots__ = ("offloaded_bytes", "batch_open", "_closed", "_fail", "_helper_threads", "_joined", "_joined_size",
                 "transport")  # fmt: skip

    def __init__(self, transport: Transport, helper_threads: HelperThreads, fail: Callable[[str], None]) -> None:
        self.transport = transport
        self._helper_threads = helper_threads
        self._fail = fail
        self._closed = False
        self.offloaded_bytes = 0
        """Bytes of replies that helper threads sign or encrypt now."""
        self.batch_open = False
        """Whether small replies are joined now, and not too much of them: the run of requests may go on."""
        self._joined: list[bytes | bytearray | memoryview] = []
        """Small replies that leave together, before whatever else is sent."""
        self._joined_size = 0
        """Bytes of them, long ones at least."""

    def close(self) -> None:
        """The connection has ended: nothing is sent or joined any more."""
        self._closed = True
        self.batch_open = False

    # ------------------------------------------------------------------------------------------------------ a message

    def send_clear(self, frame: bytearray, span: FileSpan | None = None) -> None:
        """Send the message at frame[HEADROOM:], signed already or not to be, with a file's span behind it."""
        if self._closed:
            return
        length = len(frame) - HEADROOM
        if span is not None:
            length += span.length
        _NBSS.pack_into(frame, _CLEAR_START, length)
        self._send(Frame(memoryview(frame)[_CLEAR_START:], span))

    def send_sealed(self, frame: bytearray, sealer: Sealer | None, session_id: int) -> None:
        """Encrypt the message at frame[HEADROOM:] for a session and send it; nothing where the session has no keys."""
        if self._closed or sealer is None:
            return
        sealer.seal(frame, HEADROOM, session_id)
        self._send_transformed(frame)

    def send_notification(self, command: int, body: bytes, sealer: Sealer | None = None, session_id: int = 0) -> None:
        """Send an OPLOCK_BREAK notification: no credits, no TreeId (MS-SMB2 3.3.4.6, 3.3.4.7). It leaves at once, since
        the caller asks when it is delivered."""
        header = Header(BLANK_HEADER)
        header.command = command
        header.message_id = NO_MESSAGE_ID
        frame = bytearray(HEADROOM + HEADER_SIZE)
        write_header(frame, HEADROOM, header, STATUS_SUCCESS, 0, 0, tree_id=0)
        frame += body
        if sealer is not None:
            self.send_sealed(frame, sealer, session_id)
        else:
            self.send_clear(frame)
        self.flush()

    def _send_transformed(self, frame: bytearray) -> None:
        if not self._closed:
            _NBSS.pack_into(frame, 0, len(frame) - NBSS_HEADER_SIZE)
            self._send(Frame(frame))

    def _send(self, frame: Frame) -> None:
        data = frame.data
        if self.batch_open:
            if frame.span is None and len(data) <= JOINED_EACH:
                self._joined.append(data)
                self.count(len(data))
                return
            self.batch_open = False  # much data: the transport is to see how much waits
        if self._joined:
            self.flush()
        self.transport.send(frame)

    # -------------------------------------------------------------------------------------------------- joined messages

    def begin_batch(self) -> list[bytes | bytearray | memoryview]:
        """From here on small messages are joined, until `end_batch`. The caller appends its own whole messages, 4-byte
        length included, to the list that it gets, and tells `count` of the long ones."""
        self.batch_open = True
        return self._joined

    def count(self, size: int) -> None:
        """So many bytes more are joined."""
        self._joined_size += size
        if self._joined_size > JOINED_MAX:
            self.batch_open = False

    def end_batch(self) -> None:
        """Send what has been joined; no more is."""
        self.batch_open = False
        joined = self._joined
        if joined:  # as in `flush`, a call less for every request
            self.transport.send(Frame(joined[0] if len(joined) == 1 else b"".join(joined)))
            joined.clear()
            self._joined_size = 0

    def flush(self) -> None:
        """Send what has been joined so far."""
        joined = self._joined
        if joined:
            self.transport.send(Frame(joined[0] if len(joined) == 1 else b"".join(joined)))
            joined.clear()
            self._joined_size = 0

    # -------------------------------------------------------------------------------------------- in a helper thread

    def offload_signing(self, frame: bytearray, signer: Signer) -> bool:
        """Have the message frame[HEADROOM:] signed by a helper thread and send it then, perhaps after later ones.
        False: it is to be signed here, because that is quick, no thread is there, or enough is with them."""
        if not signer.slow or not self._may_offload(frame):
            return False
        frame[HEADROOM + _FLAGS] |= FLAGS_SIGNED
        message = memoryview(frame)[HEADROOM:]
        self._offload(frame, partial(signer.sign, message), message.release, self.send_clear)
        return True

    def offload_sealing(self, frame: bytearray, sealer: Sealer | None, session_id: int) -> bool:
        """The same for a message that is to be encrypted."""
        if sealer is None or not sealer.slow or not self._may_offload(frame):
            return False
        self._offload(frame, partial(sealer.seal, frame, HEADROOM, session_id), None, self._send_transformed)
        return True

    def _may_offload(self, frame: bytearray) -> bool:
        return self._helper_threads.submit is not None and self.offloaded_bytes + len(frame) <= OFFLOADED_MAX

    def _offload(
        self, frame: bytearray, work: Callable[[], None], after: Callable[[], None] | None,
        send: Callable[[bytearray], None],
    ) -> None:  # fmt: skip
        size = len(frame)

        def done(future: Future[None]) -> None:
            self.offloaded_bytes -= size
            if after is not None:
                after()
            try:
                future.result()
            except Exception:
                self._fail("a reply that could not be signed or encrypted")
                raise
            send(frame)

        assert self._helper_threads.submit is not None
        self.offloaded_bytes += size
        self._helper_threads.submit(work).add_callback(done)


def sign_in_place(frame: bytearray, start: int, end: int, signer: Signer | None) -> None:
    """Set FLAGS_SIGNED on the message frame[start:end] and sign it; left as it is where there is no key."""
    if signer is None:
        return
    frame[start + _FLAGS] |= FLAGS_SIGNED
    with memoryview(frame) as whole, whole[start:end] as message:
        signer.sign(message)
