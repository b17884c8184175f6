# SPDX-License-Identifier: GPL-2.0-or-later
"""Matches requests to mountd with their answers; handles time-outs, congestion, the heartbeat, and the loss of mountd.

A request has a handle, and the answer with the same handle completes it. Handles begin at a random number, so that an
answer to a dead predecessor on the same socket matches no request.
"""
from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ksmbd import debug, limits, log
from ksmbd.ipc.channel import Channel, Congested, PeerGone
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Event
from ksmbd.smb.ports import Clock, Timer
from ksmbd.smb.status import (
    STATUS_INSUFF_SERVER_RESOURCES,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER,
    STATUS_IO_TIMEOUT,
    NtStatusError,
    WireError,
)
from ksmbd.smb.waiting import Future

PENDING_MAX: Final = limits.DAEMON_QUESTIONS.value
"""Requests without an answer yet; more are refused with STATUS_INSUFFICIENT_RESOURCES."""
RETRY: Final = 0.005
"""Seconds until messages to a full receiver are tried again."""


@dataclass(slots=True)
class Waiter:
    """A request that waits for its answer."""

    answer: Event
    finish: Callable[[Message], None]
    fail: Callable[[NtStatusError], None]
    timer: Timer | None = None


class Exchange:
    """The requests of one process over one channel."""

    def __init__(self, channel: Channel, clock: Clock, timeout: float, on_lost: Callable[[str], None]) -> None:
        """`timeout`: seconds that a request waits for its answer; 0: for ever. `on_lost` is called once when mountd is
        gone or silent for longer than `timeout`."""
        self._channel = channel
        self._clock = clock
        self._timeout = timeout
        self._on_lost = on_lost
        self.waiting: dict[int, Waiter] = {}
        """Handle -> the request that waits for its answer."""
        self.taken: Container[int] = ()
        """Handles of open pipes, which no new request may get."""
        self.next_handle = secrets.randbits(30)
        self._retry: Timer | None = None
        self._heartbeat: Timer | None = None
        self._last_heard = clock.monotonic()
        self.lost = ""
        """Why mountd cannot be reached any more; '' while it can."""

    def receive(self) -> Iterator[Message]:
        """Iterate over received messages; each proves that mountd is alive."""
        for message in self._channel.receive():
            self._last_heard = self._clock.monotonic()
            yield message

    def new_handle(self) -> int:
        """A handle that no request and no open pipe has."""
        while True:
            handle = self.next_handle = (self.next_handle + 1) & 0x7FFFFFFF
            if handle and handle not in self.waiting and handle not in self.taken:
                return handle

    # ----------------------------------------------------------------------------------------------------- sending

    def request(self, message: Message, finish: Callable[[Message], None], future: Future[Any]) -> None:
        """Send a request and pass its answer to `finish`, which completes the future; without an answer the future
        fails. Cancelling the future forgets the request."""
        handle = self.new_handle()
        message.fields["handle"] = handle

        def forget() -> None:
            self._end(handle)

        self.send(handle, message, Waiter(Event(message.event + 1), finish, future.set_error))
        future.on_cancel = forget

    def send(self, handle: int, message: Message, waiter: Waiter) -> None:
        """Send a request with this handle; the waiter is called with the answer or the failure."""
        if self.lost:
            waiter.fail(NtStatusError(STATUS_INSUFF_SERVER_RESOURCES, self.lost))
            return
        if len(self.waiting) >= PENDING_MAX:
            waiter.fail(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "too many requests to ksmbd.mountd"))
            return
        self.waiting[handle] = waiter
        if self._timeout:
            waiter.timer = self._clock.call_later(self._timeout, lambda: self._timed_out(handle, message.event))
        status = self._transmit(message)
        if status:
            self.fail(handle, status)

    def post(self, message: Message) -> None:
        """Send a message that has no answer. A failure is logged."""
        if not self.lost and self._transmit(message):
            log.error(f"ipc: {message.event.name} could not be sent to ksmbd.mountd", "ipc unsent")

    def _transmit(self, message: Message) -> int:
        """Send a message. Returns the NTSTATUS of a failure, else 0."""
        if debug.mask[0] & debug.IPC:
            log.debug(debug.IPC, f"to mountd: {message.event.name} handle {message.handle}")
        try:
            self._channel.send(message)
        except Congested:
            return STATUS_INSUFFICIENT_RESOURCES
        except ValueError as error:
            log.warning(f"ipc: {error}", "ipc value")
            return STATUS_INVALID_PARAMETER
        except PeerGone:
            self.lose("ksmbd.mountd is gone")
            return STATUS_INSUFF_SERVER_RESOURCES
        except OSError as error:
            log.error(f"ipc: {message.event.name} could not be sent: {error}", "ipc unsent")
            return STATUS_INSUFF_SERVER_RESOURCES
        self._arm_retry()
        return 0

    def _arm_retry(self) -> None:
        if self._channel.backlog and self._retry is None:
            self._retry = self._clock.call_later(RETRY, self._flush)

    def _flush(self) -> None:
        self._retry = None
        try:
            self._channel.flush()
        except PeerGone:
            self.lose("ksmbd.mountd is gone")
            return
        except (OSError, ValueError):
            pass  # the channel has logged it; the request ends with its time-out
        self._arm_retry()

    # ----------------------------------------------------------------------------------------------------- answers

    def answer(self, message: Message) -> None:
        """Complete the request that this message answers; ignore it where no request waits for it."""
        waiter = self.waiting.get(message.handle)
        if waiter is None or waiter.answer is not message.event:
            return  # the request has timed out, was cancelled, or was a predecessor's
        self._end(message.handle)
        try:
            waiter.finish(message)
        except WireError as error:
            waiter.fail(NtStatusError(STATUS_INSUFF_SERVER_RESOURCES, str(error)))

    def fail(self, handle: int, status: int) -> None:
        """Fail a request with an NTSTATUS."""
        waiter = self._end(handle)
        if waiter is not None:
            waiter.fail(NtStatusError(status, "ksmbd.mountd"))

    def _timed_out(self, handle: int, event: Event) -> None:
        what = f"ipc: ksmbd.mountd did not answer {event.name} within {self._timeout:g} seconds"
        log.warning(what, "ipc time-out")
        self.fail(handle, STATUS_IO_TIMEOUT)

    def _end(self, handle: int) -> Waiter | None:
        waiter = self.waiting.pop(handle, None)
        if waiter is not None and waiter.timer is not None:
            waiter.timer.cancel()
        return waiter

    # ------------------------------------------------------------------------------------------------ life of mountd

    def arm_heartbeat(self) -> None:
        """Set the timer for the next heartbeat, where `ipc timeout` asks for any."""
        if self._timeout:
            self._heartbeat = self._clock.call_later(max(0.5, self._timeout / 2), self._beat)

    def _beat(self) -> None:
        if self.lost:
            return
        if self._clock.monotonic() - self._last_heard > self._timeout:
            self.lose(f"no sign of ksmbd.mountd for {self._timeout:g} seconds")
            return
        self._transmit(Message(Event.HEARTBEAT_REQUEST, fields={"handle": self.new_handle()}))
        if not self.lost:
            self.arm_heartbeat()

    def lose(self, reason: str, notify: bool = True) -> None:
        """Fail all requests, now and in future, and stop the timers. `notify`: log the reason and call `on_lost`."""
        if self.lost:
            return
        self.lost = reason
        for timer in (self._heartbeat, self._retry):
            if timer is not None:
                timer.cancel()
        for handle in list(self.waiting):
            self.fail(handle, STATUS_INSUFF_SERVER_RESOURCES)
        if notify:
            log.error(f"ipc: {reason}")
            self._on_lost(reason)
