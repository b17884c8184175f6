# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the messages of one connection (MS-SMB2 3.3.4.1): unencrypted, signed or encrypted; at once, joined with others
in a batch, or after a helper thread has signed or encrypted them. It writes the 4-byte length of 2.1.

A message is a buffer whose SMB2 header is at HEADROOM: before it is room for the length and a transform header.
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
"""Bytes of replies of one connection that helper threads may work on. Beyond it the worker signs and encrypts itself,
and the client waits."""
JOINED_EACH: Final = 16 << 10
"""A reply of at most this many bytes is joined with others: copying it costs less than sending one more buffer."""
JOINED_MAX: Final = 256 << 10
"""Bytes of joined replies after which a batch ends."""
NO_MESSAGE_ID: Final = 0xFFFFFFFFFFFFFFFF
"""MessageId of a message that is no reply (MS-SMB2 3.3.4.6)."""
_NBSS: Final = Struct(">I")
_new: Final = tuple.__new__
_CLEAR_START: Final = HEADROOM - NBSS_HEADER_SIZE
_FLAGS: Final = 16
"""Offset of the lowest byte of Flags in a header (MS-SMB2 2.2.1)."""


class Sender:
    """Sends all messages of one connection, so replies that were joined leave before later messages."""

    __slots__ = ("offloaded_bytes", "batch_open", "_closed", "_fail", "_helper_threads", "_joined", "_joined_size",
                 "transport")  # fmt: skip

    def __init__(self, transport: Transport, helper_threads: HelperThreads, fail: Callable[[str], None]) -> None:
        self.transport = transport
        self._helper_threads = helper_threads
        self._fail = fail
        self._closed = False
        self.offloaded_bytes = 0
        """Bytes of replies that helper threads are signing or encrypting now."""
        self.batch_open = False
        """Whether a batch is open that small replies are joined to, and not full yet."""
        self._joined: list[bytes | bytearray | memoryview] = []
        """The replies of the batch; they are sent together, before anything else."""
        self._joined_size = 0
        """The bytes of them, those of ECHO replies not counted."""

    def close(self) -> None:
        """Send nothing more, because the connection has ended."""
        self._closed = True
        self.batch_open = False

    # ------------------------------------------------------------------------------------------------------ a message

    def send_clear(self, frame: bytearray, span: FileSpan | None = None) -> None:
        """Send frame[HEADROOM:] unencrypted, signed by the caller where that is needed, and `span` of a file behind
        it."""
        if self._closed:
            return
        length = len(frame) - HEADROOM
        if span is not None:
            length += span.length
        _NBSS.pack_into(frame, _CLEAR_START, length)
        self._send(Frame(memoryview(frame)[_CLEAR_START:], span))

    def send_sealed(self, frame: bytearray, sealer: Sealer | None, session_id: int) -> None:
        """Encrypt frame[HEADROOM:] for a session and send it. Nothing is sent where the session has no keys."""
        if self._closed or sealer is None:
            return
        sealer.seal(frame, HEADROOM, session_id)
        self._send_transformed(frame)

    def send_notification(self, command: int, body: bytes, sealer: Sealer | None = None, session_id: int = 0) -> None:
        """Send an OPLOCK_BREAK notification at once, without credits and TreeId (MS-SMB2 3.3.4.6, 3.3.4.7). It does not
        wait for a batch, since the caller then watches its delivery."""
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
            self.batch_open = False  # the transport must learn how much data waits
        if self._joined:
            self.flush()
        self.transport.send(frame)

    # -------------------------------------------------------------------------------------------------- joined messages

    def begin_batch(self) -> list[bytes | bytearray | memoryview]:
        """Begin a batch: small messages are joined until `end_batch`. The caller may append whole messages, with their
        4-byte length, to the returned list, and reports the size of long ones to `count`."""
        self.batch_open = True
        return self._joined

    def count(self, size: int) -> None:
        """Count `size` more bytes of the batch; it is full beyond JOINED_MAX."""
        self._joined_size += size
        if self._joined_size > JOINED_MAX:
            self.batch_open = False

    def end_batch(self) -> None:
        """End the batch and send it."""
        self.batch_open = False
        joined = self._joined
        if joined:  # repeats `flush` to save a call for every request
            self.transport.send(_new(Frame, (joined[0] if len(joined) == 1 else b"".join(joined), None)))
            joined.clear()
            self._joined_size = 0

    def flush(self) -> None:
        """Send what the batch holds so far."""
        joined = self._joined
        if joined:
            self.transport.send(_new(Frame, (joined[0] if len(joined) == 1 else b"".join(joined), None)))
            joined.clear()
            self._joined_size = 0

    # -------------------------------------------------------------------------------------------- in a helper thread

    def offload_signing(self, frame: bytearray, signer: Signer) -> bool:
        """Let a helper thread sign frame[HEADROOM:], then send it, perhaps after later messages. False: the caller must
        sign it, because that is quick, there is no thread, or the threads have enough of this connection."""
        if not signer.slow or not self._may_offload(frame):
            return False
        frame[HEADROOM + _FLAGS] |= FLAGS_SIGNED
        message = memoryview(frame)[HEADROOM:]
        self._offload(frame, partial(signer.sign, message), message.release, self.send_clear)
        return True

    def offload_sealing(self, frame: bytearray, sealer: Sealer | None, session_id: int) -> bool:
        """Let a helper thread encrypt the message, then send it. False: the caller must do it, as in
        `offload_signing`."""
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
    """Set FLAGS_SIGNED in the message frame[start:end] and sign it. Without a key the message is left as it is."""
    if signer is None:
        return
    frame[start + _FLAGS] |= FLAGS_SIGNED
    with memoryview(frame) as whole, whole[start:end] as message:
        signer.sign(message)
