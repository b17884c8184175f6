# SPDX-License-Identifier: GPL-2.0-or-later
"""The named pipes of mountd's RPC services: sends the requests of each pipe one after the other.

An answer names only the pipe, so a pipe has one outstanding request and a queue. A peek reads data before the client
reads it; the pipe keeps such data.
"""
from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field, replace

from ksmbd import limits
from ksmbd.ipc.answers import RPC_ERRORS, fits, pipe_data
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import PIPES, RPC_METHODS, Attribute, Event, RpcFlag, RpcStatus
from ksmbd.ipc.exchange import Exchange, Waiter
from ksmbd.ipc.messages import RPC_CHUNK
from ksmbd.smb.status import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE,
    STATUS_IO_TIMEOUT,
    STATUS_NOT_IMPLEMENTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_PIPE_DISCONNECTED,
    NtStatusError,
)
from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class _Pipe:
    """An open pipe."""

    service: RpcFlag
    queue: deque[tuple[Message, Future[Message], bool]] = field(default_factory=deque)
    """(request, its answer, whether it peeks)."""
    ahead: bytes = b""
    """The data of the next message that a peek has read; the next read returns it."""
    ahead_more: bool = False
    """The message has more data after `ahead`."""
    queued: int = 0
    """Bytes of client data in `queue`."""
    broken: bool = False
    """A request has timed out. No further request is sent, because a late answer could be taken for its answer."""
    closing: bool = False


class Pipes:
    """The open pipes of a process. The public methods are those of the port `Daemon`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.pipes: dict[int, _Pipe] = {}
        """Handle -> open pipe."""
        self.queued = 0
        """Bytes of client data, in all pipes, that were not sent to mountd yet."""
        exchange.taken = self.pipes

    def open(self, pipe: str, account: str, restricted: bool, address: str = "") -> Future[int]:
        """Open a pipe by its name, without `\\pipe\\`. The result is its handle; STATUS_OBJECT_NAME_NOT_FOUND where
        there is no such pipe. `restricted`: the session is anonymous or guest. `address`: the client's, for the
        log."""
        service = PIPES.get(pipe.lower())
        if service is None or not fits(account, 255):
            return Future.failed(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, pipe))
        handle = self._exchange.new_handle()
        self.pipes[handle] = _Pipe(service)
        result: Future[int] = Future()
        extra = RpcFlag.RESTRICTED_CONTEXT if restricted else RpcFlag(0)
        texts = {Attribute.ACCOUNT: account} | ({Attribute.ADDRESS: address} if address else {})
        opened = self._rpc(handle, RpcFlag.OPEN | extra, b"", texts=texts)

        def done(answer: Future[Message]) -> None:
            try:
                status = RpcStatus(answer.result().fields["flags"])
            except (NtStatusError, ValueError) as error:
                self.close(handle)  # mountd may have opened it although the answer was late
                result.set_error(error if isinstance(error, NtStatusError) else NtStatusError(STATUS_NOT_IMPLEMENTED))
                return
            if status is RpcStatus.OK:
                if result.done:
                    self.close(handle)  # the caller has cancelled
                result.set_result(handle)
                return
            self.pipes.pop(handle, None)
            missing = status in (RpcStatus.NOT_IMPLEMENTED, RpcStatus.BAD_FUNC)
            result.set_error(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND if missing else RPC_ERRORS[status], pipe))

        opened.add_callback(done)
        return result

    def write(self, handle: int, data: bytes) -> Future[None]:
        """Write one message to the pipe. A long message is sent in parts, which the service receives as one message."""
        if self._crowded(handle, len(data)):
            return Future.failed(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipe"))
        result: Future[None] = Future()
        chunks = [data[i : i + RPC_CHUNK] for i in range(0, len(data), RPC_CHUNK)] or [b""]
        futures = [self._rpc(handle, RpcFlag.WRITE, chunk) for chunk in chunks]

        def done(_: Future[Message]) -> None:
            if all(future.done for future in futures):
                try:
                    for future in futures:
                        pipe_data(future.result())
                except NtStatusError as error:
                    result.set_error(error)
                else:
                    result.set_result(None)

        for future in futures:
            future.add_callback(done)
        return result

    def read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """Read at most `size` bytes of the next message: (data, whether there is more of it)."""
        return _data_of(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: min(size, RPC_CHUNK)}))

    def peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """Read the next message without removing it, as much as one answer holds: (data, whether there is more of
        it)."""
        return _data_of(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: RPC_CHUNK}, peek=True))

    def transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write a message and read the first `size` bytes of the answer: (data, whether there is more of it)."""
        if self._crowded(handle, len(data)):
            return Future.failed(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipe"))
        split = (len(data) - 1) // RPC_CHUNK * RPC_CHUNK if data else 0
        for start in range(0, split, RPC_CHUNK):
            self._rpc(handle, RpcFlag.WRITE, data[start : start + RPC_CHUNK])  # if it fails, the last part fails, too
        numbers = {Attribute.SIZE: min(size, RPC_CHUNK)}
        return _data_of(self._rpc(handle, RpcFlag.IOCTL, data[split:], numbers))

    def close(self, handle: int) -> None:
        """Close the pipe after its queued requests."""
        pipe = self.pipes.get(handle)
        if pipe is not None and not pipe.closing:
            pipe.closing = True

            def closed(_: Future[Message]) -> None:
                self.pipes.pop(handle, None)

            self._rpc(handle, RpcFlag.CLOSE, b"").add_callback(closed)

    # ---------------------------------------------------------------------------------------------------- the queue

    def _rpc(
        self,
        handle: int,
        flags: RpcFlag,
        payload: bytes,
        numbers: dict[Attribute, int] | None = None,
        texts: dict[Attribute, str] | None = None,
        peek: bool = False,
    ) -> Future[Message]:
        """Queue a request on a pipe."""
        pipe = self.pipes.get(handle)
        if pipe is None:
            return Future.failed(NtStatusError(STATUS_INVALID_HANDLE))
        future: Future[Message] = Future()
        fields = {"handle": handle, "flags": int(flags | pipe.service), "payload_sz": len(payload), "payload": payload}
        pipe.queued += len(payload)
        self.queued += len(payload)
        pipe.queue.append((Message(Event.RPC_REQUEST, fields, numbers or {}, texts or {}), future, peek))
        if len(pipe.queue) == 1:
            self._pump(handle, pipe)
        return future

    def _pump(self, handle: int, pipe: _Pipe) -> None:
        """Send the first request of the queue, or answer it from what was read ahead."""
        message, future, peek = pipe.queue[0]
        flags = RpcFlag(message.fields["flags"])
        method = next(method for method in RPC_METHODS if flags & method == method)
        ahead = pipe.ahead

        def finish(answer: Message) -> None:
            if peek:
                with contextlib.suppress(NtStatusError):  # the future's reader gets the error
                    pipe.ahead, pipe.ahead_more = pipe_data(answer)
            elif ahead and method is RpcFlag.IOCTL and answer.fields["flags"] == RpcStatus.OK:
                answer = _take_ahead(pipe, message)
            self._advance(handle, pipe)
            future.set_result(answer)

        def fail(error: NtStatusError) -> None:
            if error.status == STATUS_IO_TIMEOUT:
                pipe.broken = True
            self._advance(handle, pipe)
            future.set_error(error)

        if pipe.broken and method is not RpcFlag.CLOSE:
            fail(NtStatusError(STATUS_PIPE_DISCONNECTED))
            return
        if ahead and method is RpcFlag.READ:
            answer = _ahead_message(message, pipe.ahead, pipe.ahead_more) if peek else _take_ahead(pipe, message)
            self._advance(handle, pipe)
            future.set_result(answer)
            return
        if ahead and method is RpcFlag.IOCTL:
            # The client must first get the message that was peeked at; mountd keeps the answer to this one.
            message = replace(message, fields=message.fields | {"flags": int(RpcFlag.WRITE | pipe.service)})
        self._exchange.send(handle, message, Waiter(Event.RPC_RESPONSE, finish, fail))

    def _advance(self, handle: int, pipe: _Pipe) -> None:
        """Remove the first request of the queue, which has ended, and send the next one."""
        size = len(pipe.queue.popleft()[0].fields["payload"])
        pipe.queued -= size
        self.queued -= size
        if pipe.queue:
            self._pump(handle, pipe)

    def _crowded(self, handle: int, size: int) -> bool:
        """Whether `size` more bytes for a pipe would exceed PIPE_QUEUE or PIPE_QUEUES."""
        pipe = self.pipes.get(handle)
        return pipe is not None and (
            pipe.queued + size > limits.PIPE_QUEUE.value or self.queued + size > limits.PIPE_QUEUES.value
        )


def _take_ahead(pipe: _Pipe, request: Message) -> Message:
    """The answer to a read, from the data that a peek has read."""
    size = request.numbers[Attribute.SIZE]
    data, pipe.ahead = pipe.ahead[:size], pipe.ahead[size:]
    return _ahead_message(request, data, bool(pipe.ahead) or pipe.ahead_more)


def _ahead_message(request: Message, data: bytes, more: bool) -> Message:
    """An answer as mountd would have sent it."""
    flags = RpcStatus.MORE_DATA if more else RpcStatus.OK
    fields = {"handle": request.handle, "flags": int(flags), "payload_sz": len(data), "payload": data}
    return Message(Event.RPC_RESPONSE, fields)


def _data_of(future: Future[Message]) -> Future[tuple[bytes, bool]]:
    """A future of (data, whether there is more of the message) for the future of an answer."""
    result: Future[tuple[bytes, bool]] = Future()

    def done(answer: Future[Message]) -> None:
        try:
            result.set_result(pipe_data(answer.result()))
        except NtStatusError as error:
            result.set_error(error)

    future.add_callback(done)
    return result
