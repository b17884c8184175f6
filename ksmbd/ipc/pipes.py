# SPDX-License-Identifier: GPL-2.0-or-later
"""The named pipes of mountd's RPC services: each pipe's requests one after the other, and what a peek has read.

An answer carries the pipe's handle alone, so a pipe has one request under way and a queue behind it.
"""
from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field, replace

from ksmbd import limits
from ksmbd.ipc.answers import RPC_ERRORS, fits, pipe_data
from ksmbd.ipc.codec import Parcel
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
    queue: deque[tuple[Parcel, Future[Parcel], bool]] = field(default_factory=deque)
    """(request, its answer, whether it peeks)."""
    ahead: bytes = b""
    """What a peek has read of the next message; the next read takes it."""
    ahead_more: bool = False
    """There is more of that message behind `ahead`."""
    queued: int = 0
    """Bytes that clients wrote in `queue`."""
    broken: bool = False
    """A request timed out: a late answer could be taken for the next one's, so there is no next one."""
    closing: bool = False


class Pipes:
    """The pipes that a process has open. The methods without an underscore are those of the port `Daemon`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.pipes: dict[int, _Pipe] = {}
        """Open pipes, by their handles."""
        self.queued = 0
        """Bytes that clients wrote to pipes and that are not with mountd yet."""
        exchange.taken = self.pipes

    def open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        """Open a pipe by its name, without `\\pipe\\`; its handle. STATUS_OBJECT_NAME_NOT_FOUND: there is none."""
        service = PIPES.get(pipe.lower())
        if service is None or not fits(account, 255):
            return Future.failed(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, pipe))
        handle = self._exchange.new_handle()
        self.pipes[handle] = _Pipe(service)
        result: Future[int] = Future()
        extra = RpcFlag.RESTRICTED_CONTEXT if restricted else RpcFlag(0)
        opened = self._rpc(handle, RpcFlag.OPEN | extra, b"", texts={Attribute.ACCOUNT: account})

        def done(answer: Future[Parcel]) -> None:
            try:
                status = RpcStatus(answer.result().fields["flags"])
            except (NtStatusError, ValueError) as error:
                self.close(handle)  # it may be open there all the same: the answer was late
                result.set_error(error if isinstance(error, NtStatusError) else NtStatusError(STATUS_NOT_IMPLEMENTED))
                return
            if status is RpcStatus.OK:
                if result.done:
                    self.close(handle)  # nobody waits for it any more
                result.set_result(handle)
                return
            self.pipes.pop(handle, None)
            missing = status in (RpcStatus.NOT_IMPLEMENTED, RpcStatus.BAD_FUNC)
            result.set_error(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND if missing else RPC_ERRORS[status], pipe))

        opened.add_callback(done)
        return result

    def write(self, handle: int, data: bytes) -> Future[None]:
        """One message into the pipe. In parts where it is long; the parts are one message to the service."""
        if self._crowded(handle, len(data)):
            return Future.failed(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipe"))
        result: Future[None] = Future()
        chunks = [data[i : i + RPC_CHUNK] for i in range(0, len(data), RPC_CHUNK)] or [b""]
        futures = [self._rpc(handle, RpcFlag.WRITE, chunk) for chunk in chunks]

        def done(_: Future[Parcel]) -> None:
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
        """At most `size` bytes of the message that is next, and whether more of it is there."""
        return _data_of(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: min(size, RPC_CHUNK)}))

    def peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """What is there of the next message, as far as one answer holds it, and whether there is more; it stays."""
        return _data_of(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: RPC_CHUNK}, peek=True))

    def transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write a message and read the first part of the answer."""
        if self._crowded(handle, len(data)):
            return Future.failed(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipe"))
        split = (len(data) - 1) // RPC_CHUNK * RPC_CHUNK if data else 0
        for start in range(0, split, RPC_CHUNK):
            self._rpc(handle, RpcFlag.WRITE, data[start : start + RPC_CHUNK])  # its failure shows in the last part's
        numbers = {Attribute.SIZE: min(size, RPC_CHUNK)}
        return _data_of(self._rpc(handle, RpcFlag.IOCTL, data[split:], numbers))

    def close(self, handle: int) -> None:
        """Close the pipe, behind what is under way on it."""
        pipe = self.pipes.get(handle)
        if pipe is not None and not pipe.closing:
            pipe.closing = True

            def closed(_: Future[Parcel]) -> None:
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
    ) -> Future[Parcel]:
        """A request on a pipe, behind those that wait on it."""
        pipe = self.pipes.get(handle)
        if pipe is None:
            return Future.failed(NtStatusError(STATUS_INVALID_HANDLE))
        future: Future[Parcel] = Future()
        fields = {"handle": handle, "flags": int(flags | pipe.service), "payload_sz": len(payload), "payload": payload}
        pipe.queued += len(payload)
        self.queued += len(payload)
        pipe.queue.append((Parcel(Event.RPC_REQUEST, fields, numbers or {}, texts or {}), future, peek))
        if len(pipe.queue) == 1:
            self._pump(handle, pipe)
        return future

    def _pump(self, handle: int, pipe: _Pipe) -> None:
        """Send the first request of the queue, or answer it from what was read ahead."""
        parcel, future, peek = pipe.queue[0]
        flags = RpcFlag(parcel.fields["flags"])
        method = next(method for method in RPC_METHODS if flags & method == method)
        ahead = pipe.ahead

        def finish(answer: Parcel) -> None:
            if peek:
                with contextlib.suppress(NtStatusError):  # the answer's reader hears of it
                    pipe.ahead, pipe.ahead_more = pipe_data(answer)
            elif ahead and method is RpcFlag.IOCTL and answer.fields["flags"] == RpcStatus.OK:
                answer = _take_ahead(pipe, parcel)
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
            answer = _ahead_parcel(parcel, pipe.ahead, pipe.ahead_more) if peek else _take_ahead(pipe, parcel)
            self._advance(handle, pipe)
            future.set_result(answer)
            return
        if ahead and method is RpcFlag.IOCTL:
            # The message that was peeked at comes before the answer to this one, which mountd keeps.
            parcel = replace(parcel, fields=parcel.fields | {"flags": int(RpcFlag.WRITE | pipe.service)})
        self._exchange.send(handle, parcel, Waiter(Event.RPC_RESPONSE, finish, fail))

    def _advance(self, handle: int, pipe: _Pipe) -> None:
        """The first request of the queue has ended."""
        size = len(pipe.queue.popleft()[0].fields["payload"])
        pipe.queued -= size
        self.queued -= size
        if pipe.queue:
            self._pump(handle, pipe)

    def _crowded(self, handle: int, size: int) -> bool:
        """Whether `size` bytes more for a pipe are beyond what may wait for mountd."""
        pipe = self.pipes.get(handle)
        return pipe is not None and (
            pipe.queued + size > limits.PIPE_QUEUE.value or self.queued + size > limits.PIPE_QUEUES.value
        )


def _take_ahead(pipe: _Pipe, request: Parcel) -> Parcel:
    """The answer to a read of what a peek has read before."""
    size = request.numbers[Attribute.SIZE]
    data, pipe.ahead = pipe.ahead[:size], pipe.ahead[size:]
    return _ahead_parcel(request, data, bool(pipe.ahead) or pipe.ahead_more)


def _ahead_parcel(request: Parcel, data: bytes, more: bool) -> Parcel:
    """The answer that mountd would have given."""
    flags = RpcStatus.MORE_DATA if more else RpcStatus.OK
    fields = {"handle": request.handle, "flags": int(flags), "payload_sz": len(data), "payload": data}
    return Parcel(Event.RPC_RESPONSE, fields)


def _data_of(future: Future[Parcel]) -> Future[tuple[bytes, bool]]:
    """The data in an answer, and whether there is more of the message."""
    result: Future[tuple[bytes, bool]] = Future()

    def done(answer: Future[Parcel]) -> None:
        try:
            result.set_result(pipe_data(answer.result()))
        except NtStatusError as error:
            result.set_error(error)

    future.add_callback(done)
    return result
