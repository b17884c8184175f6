# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's side of the messages: NetlinkDaemon implements the port `Daemon` (ksmbd/smb/ports/daemon.py), and
never blocks.

One object a process and socket. The event loop watches `fileno()` and calls `on_readable()`; time comes from a Clock.
Requests carry a handle; the answer with the same handle completes the request's Future. Handles begin at a random
number, so that an answer meant for a dead predecessor on the same socket finds nobody here.
"""
from __future__ import annotations

import contextlib
import os
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from ksmbd import debug, limits, log
from ksmbd.ipc.answers import RPC_ERRORS, fits, groups, login_response, pipe_data, share_config, tree_result
from ksmbd.ipc.channel import Channel, Congested, PeerGone
from ksmbd.ipc.codec import Parcel
from ksmbd.ipc.constants import (
    PIPES,
    RPC_METHODS,
    Attribute,
    Event,
    RpcFlag,
    RpcStatus,
    TreeRequestFlag,
    UserFlag,
)
from ksmbd.ipc.messages import RPC_CHUNK
from ksmbd.smb.ports import Clock, LoginResponse, ShareConfig, Timer, TreeConnectResult
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BAD_NETWORK_NAME,
    STATUS_INSUFF_SERVER_RESOURCES,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER,
    STATUS_IO_TIMEOUT,
    STATUS_NOT_IMPLEMENTED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_PIPE_DISCONNECTED,
    NtStatusError,
    WireError,
)
from ksmbd.smb.waiting import Future

T = TypeVar("T")
PENDING_MAX: Final = limits.DAEMON_QUESTIONS.value
"""Requests under way; more are refused with STATUS_INSUFFICIENT_RESOURCES."""
HEARTBEAT_IDLE: Final = 5.0
"""Seconds between heartbeats where `ipc timeout` is 0: a mountd that died is noticed by them."""
RETRY: Final = 0.005
"""Seconds until messages to a full receiver are tried again."""


@dataclass(slots=True)
class _Waiter:
    """A request under way."""

    answer: Event
    finish: Callable[[Parcel], None]
    fail: Callable[[NtStatusError], None]
    timer: Timer | None = None


@dataclass(slots=True)
class _Pipe:
    """An open pipe. Answers carry the pipe's handle alone, so its requests go one after the other."""

    service: RpcFlag
    queue: deque[tuple[Parcel, Future[Parcel], bool]] = field(default_factory=deque)
    """(request, its answer, whether it peeks)."""
    ahead: bytes = b""
    """What a peek has read of the next message, for the next read to take."""
    ahead_more: bool = False
    """There is more of that message behind `ahead`."""
    queued: int = 0
    """Bytes that clients wrote in `queue`."""
    broken: bool = False
    closing: bool = False


class NetlinkDaemon:
    """mountd, as the engine's processes see it. `ipc_timeout` in seconds, 0: wait for ever."""

    def __init__(self, channel: Channel, clock: Clock, ipc_timeout: float = 0) -> None:
        self._channel = channel
        self._clock = clock
        self._timeout = ipc_timeout
        self._waiting: dict[int, _Waiter] = {}
        self._pipes: dict[int, _Pipe] = {}
        self._queued = 0
        """Bytes that clients wrote to pipes and that are not with mountd yet."""
        self._shares: dict[str, ShareConfig] = {}
        self._generation = 0
        self._next_handle = secrets.randbits(30)
        self._retry: Timer | None = None
        self._heartbeat: Timer | None = None
        self._last_heard = clock.monotonic()
        self.lost = ""
        """Why mountd cannot be reached any more, or ''."""
        self.on_lost: Callable[[str], None] = lambda reason: None
        """Called once when mountd is gone or silent for longer than `ipc timeout`."""
        self.on_reload: Callable[[], None] = lambda: None
        """The configuration has changed; the cache of shares is empty already."""
        self.on_shutdown: Callable[[], None] = lambda: None
        """mountd wants the engine to stop."""
        self.on_list: Callable[[str], list[dict[str, str]]] = lambda what: []
        """`sessions`, `files` or `connections` of this process, a row each."""

    def start(self) -> None:
        """Say hello and begin the heartbeat.

        What waits on the socket already is read later: a predecessor's answers find nobody, and what mountd has told
        this process meanwhile (SHUTTING_DOWN, RELOAD) counts."""
        self._post(Parcel(Event.HELLO, numbers={Attribute.PID: os.getpid()}))
        self._arm_heartbeat()

    def fileno(self) -> int:
        """The socket, to be watched for reading."""
        return self._channel.fileno()

    def close(self) -> None:
        """Stop: all waiters fail, no more timers, the socket is closed."""
        self._lose("closed", notify=False)
        self._channel.close()

    def on_readable(self) -> None:
        """Take what has come. Never raises."""
        for parcel in self._channel.receive():
            self._last_heard = self._clock.monotonic()
            try:
                self._handle(parcel)
            except WireError as error:
                log.warning(f"ipc: malformed {parcel.event.name} from ksmbd.mountd: {error}")
                self._fail(parcel.handle, STATUS_INSUFF_SERVER_RESOURCES)

    # ------------------------------------------------------------------------------------------- the port's calls

    def login(self, account: str) -> Future[LoginResponse]:
        """Who is `account` ('' is the anonymous user); LOGIN_REQUEST, and LOGIN_REQUEST_EXT for the groups."""
        future: Future[LoginResponse] = Future()

        def answered(parcel: Parcel) -> None:
            response = login_response(parcel)
            if not parcel.fields["status"] & UserFlag.EXTENSION:
                future.set_result(response)
                return

            def complete(more: Parcel) -> None:
                future.set_result(replace(response, groups=groups(more)))

            self._request(Parcel(Event.LOGIN_REQUEST_EXT, fields={"account": account}), complete, future)

        if not fits(account, 47):
            return Future.of(LoginResponse(account, b"", 0, 0))
        self._request(Parcel(Event.LOGIN_REQUEST, fields={"account": account}), answered, future)
        return future

    def logout(self, account: str, failed: bool) -> None:
        """A session of the account has ended, or a log-on with its name has failed."""
        if fits(account, 47):
            flags = UserFlag.BAD_PASSWORD if failed else UserFlag(0)
            self._post(Parcel(Event.LOGOUT_REQUEST, fields={"account": account, "account_flags": int(flags)}))

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        """A share by its name in any case; None: there is no such share. Kept until mountd says RELOAD."""
        key = name.casefold()
        known = self._shares.get(key)
        if known is not None:
            return Future.of(known)
        if not name or not fits(name, 63):
            return Future.of(None)
        future: Future[ShareConfig | None] = Future()
        generation = self._generation

        def answered(parcel: Parcel) -> None:
            share = share_config(parcel)
            if share is not None and generation == self._generation:
                self._shares[key] = share
            future.set_result(share)

        self._request(Parcel(Event.SHARE_CONFIG_REQUEST, fields={"share_name": name}), answered, future)
        return future

    def tree_connect(
        self, session_id: int, connect_id: int, account: str, is_guest: bool, share: str, peer: str
    ) -> Future[TreeConnectResult]:
        """May this session use the share."""
        if not fits(share, 63):
            return Future.of(TreeConnectResult(STATUS_BAD_NETWORK_NAME))
        if not fits(account, 47) or not fits(peer, 63):
            return Future.of(TreeConnectResult(STATUS_ACCESS_DENIED))
        future: Future[TreeConnectResult] = Future()
        flags = TreeRequestFlag.SMB2 | (TreeRequestFlag.IPV6 if ":" in peer else TreeRequestFlag(0))
        account_flags = UserFlag.GUEST_ACCOUNT if is_guest else UserFlag(0)
        fields = {
            "session_id": session_id, "connect_id": connect_id, "account": account,
            "account_flags": int(account_flags), "share": share, "peer_addr": peer, "flags": int(flags),
        }  # fmt: skip

        def answered(parcel: Parcel) -> None:
            future.set_result(tree_result(parcel))

        self._request(Parcel(Event.TREE_CONNECT_REQUEST, fields=fields), answered, future)
        return future

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        """A tree connect has ended."""
        fields = {"session_id": session_id, "connect_id": connect_id}
        self._post(Parcel(Event.TREE_DISCONNECT_REQUEST, fields=fields))

    def spnego_authen(self, blob: bytes) -> Future[tuple[LoginResponse, bytes, bytes] | None]:
        """Kerberos: the account, the session key and the AP-REP; None: refused."""
        if len(blob) > 0xFFFF - 16:
            return Future.of(None)
        future: Future[tuple[LoginResponse, bytes, bytes] | None] = Future()

        def answered(parcel: Parcel) -> None:
            fields = parcel.fields
            reader = Reader(fields["payload"])
            key = reader.bytes(fields["session_key_len"])
            token = reader.bytes(fields["spnego_blob_len"])
            response = login_response(parcel)
            future.set_result((response, key, token) if fields["status"] & UserFlag.OK else None)

        parcel = Parcel(Event.SPNEGO_AUTHEN_REQUEST, fields={"blob_len": len(blob), "payload": blob})
        self._request(parcel, answered, future)
        return future

    def rpc_open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        """Open a pipe by its name, without `\\pipe\\`; its handle. STATUS_OBJECT_NAME_NOT_FOUND: there is none."""
        service = PIPES.get(pipe.lower())
        if service is None or not fits(account, 255):
            return Future.failed(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, pipe))
        handle = self._handle_number()
        self._pipes[handle] = _Pipe(service)
        result: Future[int] = Future()
        extra = RpcFlag.RESTRICTED_CONTEXT if restricted else RpcFlag(0)
        opened = self._rpc(handle, RpcFlag.OPEN | extra, b"", texts={Attribute.ACCOUNT: account})

        def done(answer: Future[Parcel]) -> None:
            try:
                status = RpcStatus(answer.result().fields["flags"])
            except (NtStatusError, ValueError) as error:
                self.rpc_close(handle)  # it may be open there all the same: the answer was late
                result.set_error(error if isinstance(error, NtStatusError) else NtStatusError(STATUS_NOT_IMPLEMENTED))
                return
            if status is RpcStatus.OK:
                if result.done:
                    self.rpc_close(handle)  # nobody waits for it any more
                result.set_result(handle)
                return
            self._pipes.pop(handle, None)
            missing = status in (RpcStatus.NOT_IMPLEMENTED, RpcStatus.BAD_FUNC)
            result.set_error(NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND if missing else RPC_ERRORS[status], pipe))

        opened.add_callback(done)
        return result

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
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

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """At most `size` bytes of the message that is next, and whether more of it is there."""
        return self._pipe_answer(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: min(size, RPC_CHUNK)}))

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """What is there of the next message, as far as one answer holds it, and whether there is more; it stays."""
        return self._pipe_answer(self._rpc(handle, RpcFlag.READ, b"", {Attribute.SIZE: RPC_CHUNK}, peek=True))

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write a message and read the first part of the answer."""
        if self._crowded(handle, len(data)):
            return Future.failed(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "pipe"))
        split = (len(data) - 1) // RPC_CHUNK * RPC_CHUNK if data else 0
        for start in range(0, split, RPC_CHUNK):
            self._rpc(handle, RpcFlag.WRITE, data[start : start + RPC_CHUNK])  # its failure shows in the last part's
        numbers = {Attribute.SIZE: min(size, RPC_CHUNK)}
        return self._pipe_answer(self._rpc(handle, RpcFlag.IOCTL, data[split:], numbers))

    def rpc_close(self, handle: int) -> None:
        """Close the pipe, behind what is under way on it."""
        pipe = self._pipes.get(handle)
        if pipe is not None and not pipe.closing:
            pipe.closing = True

            def closed(_: Future[Parcel]) -> None:
                self._pipes.pop(handle, None)

            self._rpc(handle, RpcFlag.CLOSE, b"").add_callback(closed)

    # ------------------------------------------------------------------------------------------------- requests

    def _handle_number(self) -> int:
        while True:
            self._next_handle = (self._next_handle + 1) & 0x7FFFFFFF
            if self._next_handle and self._next_handle not in self._waiting and self._next_handle not in self._pipes:
                return self._next_handle

    def _request(self, parcel: Parcel, finish: Callable[[Parcel], None], future: Future[Any]) -> None:
        """Send a request whose answer goes to `finish`; what goes wrong goes to the future."""
        handle = self._handle_number()
        parcel.fields["handle"] = handle

        def forget() -> None:
            self._end(handle)

        self._send(handle, parcel, _Waiter(Event(parcel.event + 1), finish, future.set_error))
        future.on_cancel = forget

    def _send(self, handle: int, parcel: Parcel, waiter: _Waiter) -> None:
        if self.lost:
            waiter.fail(NtStatusError(STATUS_INSUFF_SERVER_RESOURCES, self.lost))
            return
        if len(self._waiting) >= PENDING_MAX:
            waiter.fail(NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "too many requests to ksmbd.mountd"))
            return
        self._waiting[handle] = waiter
        if self._timeout:
            waiter.timer = self._clock.call_later(self._timeout, lambda: self._timed_out(handle, parcel.event))
        status = self._transmit(parcel)
        if status:
            self._fail(handle, status)

    def _post(self, parcel: Parcel) -> None:
        """Send what has no answer. A failure is one line in the log."""
        if not self.lost and self._transmit(parcel):
            log.error(f"ipc: {parcel.event.name} could not be sent to ksmbd.mountd", "ipc unsent")

    def _transmit(self, parcel: Parcel) -> int:
        """Send; an NTSTATUS where that failed, else 0."""
        if debug.mask[0] & debug.IPC:
            log.debug(debug.IPC, f"to mountd: {parcel.event.name} handle {parcel.handle}")
        try:
            self._channel.send(parcel)
        except Congested:
            return STATUS_INSUFFICIENT_RESOURCES
        except ValueError as error:
            log.warning(f"ipc: {error}", "ipc value")
            return STATUS_INVALID_PARAMETER
        except PeerGone:
            self._lose("ksmbd.mountd is gone")
            return STATUS_INSUFF_SERVER_RESOURCES
        except OSError as error:
            log.error(f"ipc: {parcel.event.name} could not be sent: {error}", "ipc unsent")
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
            self._lose("ksmbd.mountd is gone")
            return
        except (OSError, ValueError):
            pass  # logged there; its waiter ends with its time-out
        self._arm_retry()

    def _timed_out(self, handle: int, event: Event) -> None:
        what = f"ipc: ksmbd.mountd did not answer {event.name} within {self._timeout:g} seconds"
        log.warning(what, "ipc time-out")
        pipe = self._pipes.get(handle)
        if pipe is not None:
            pipe.broken = True  # a late answer could be taken for the next one's
        self._fail(handle, STATUS_IO_TIMEOUT)

    def _end(self, handle: int) -> _Waiter | None:
        waiter = self._waiting.pop(handle, None)
        if waiter is not None and waiter.timer is not None:
            waiter.timer.cancel()
        return waiter

    def _fail(self, handle: int, status: int) -> None:
        waiter = self._end(handle)
        if waiter is not None:
            waiter.fail(NtStatusError(status, "ksmbd.mountd"))

    # ----------------------------------------------------------------------------------------------------- pipes

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
        pipe = self._pipes.get(handle)
        if pipe is None:
            return Future.failed(NtStatusError(STATUS_INVALID_HANDLE))
        future: Future[Parcel] = Future()
        fields = {"handle": handle, "flags": int(flags | pipe.service), "payload_sz": len(payload), "payload": payload}
        pipe.queued += len(payload)
        self._queued += len(payload)
        pipe.queue.append((Parcel(Event.RPC_REQUEST, fields, numbers or {}, texts or {}), future, peek))
        if len(pipe.queue) == 1:
            self._pump(handle, pipe)
        return future

    def _pump(self, handle: int, pipe: _Pipe) -> None:
        parcel, future, peek = pipe.queue[0]
        flags = RpcFlag(parcel.fields["flags"])
        method = next(method for method in RPC_METHODS if flags & method == method)
        ahead = pipe.ahead

        def finish(answer: Parcel) -> None:
            if peek:
                with contextlib.suppress(NtStatusError):  # the answer's reader hears of it
                    pipe.ahead, pipe.ahead_more = pipe_data(answer)
            elif ahead and method is RpcFlag.IOCTL and answer.fields["flags"] == RpcStatus.OK:
                answer = self._take_ahead(pipe, parcel)
            self._advance(handle, pipe)
            future.set_result(answer)

        def fail(error: NtStatusError) -> None:
            self._advance(handle, pipe)
            future.set_error(error)

        if pipe.broken and method is not RpcFlag.CLOSE:
            fail(NtStatusError(STATUS_PIPE_DISCONNECTED))
            return
        if ahead and method is RpcFlag.READ:
            answer = self._ahead_parcel(parcel, pipe.ahead, pipe.ahead_more) if peek else self._take_ahead(pipe, parcel)
            self._advance(handle, pipe)
            future.set_result(answer)
            return
        if ahead and method is RpcFlag.IOCTL:
            # The message that was peeked at comes before the answer to this one, which mountd keeps.
            parcel = replace(parcel, fields=parcel.fields | {"flags": int(RpcFlag.WRITE | pipe.service)})
        self._send(handle, parcel, _Waiter(Event.RPC_RESPONSE, finish, fail))

    @staticmethod
    def _ahead_parcel(request: Parcel, data: bytes, more: bool) -> Parcel:
        """The answer that mountd would have given."""
        flags = RpcStatus.MORE_DATA if more else RpcStatus.OK
        fields = {"handle": request.handle, "flags": int(flags), "payload_sz": len(data), "payload": data}
        return Parcel(Event.RPC_RESPONSE, fields)

    def _take_ahead(self, pipe: _Pipe, request: Parcel) -> Parcel:
        size = request.numbers[Attribute.SIZE]
        data, pipe.ahead = pipe.ahead[:size], pipe.ahead[size:]
        return self._ahead_parcel(request, data, bool(pipe.ahead) or pipe.ahead_more)

    def _advance(self, handle: int, pipe: _Pipe) -> None:
        size = len(pipe.queue.popleft()[0].fields["payload"])
        pipe.queued -= size
        self._queued -= size
        if pipe.queue:
            self._pump(handle, pipe)

    def _crowded(self, handle: int, size: int) -> bool:
        """Whether `size` bytes more for a pipe are beyond what may wait for mountd."""
        pipe = self._pipes.get(handle)
        return pipe is not None and (
            pipe.queued + size > limits.PIPE_QUEUE.value or self._queued + size > limits.PIPE_QUEUES.value
        )

    @staticmethod
    def _pipe_answer(future: Future[Parcel]) -> Future[tuple[bytes, bool]]:
        result: Future[tuple[bytes, bool]] = Future()

        def done(answer: Future[Parcel]) -> None:
            try:
                result.set_result(pipe_data(answer.result()))
            except NtStatusError as error:
                result.set_error(error)

        future.add_callback(done)
        return result

    # --------------------------------------------------------------------------------------------------- answers

    def _handle(self, parcel: Parcel) -> None:
        event = parcel.event
        if debug.mask[0] & debug.IPC:
            log.debug(debug.IPC, f"from mountd: {event.name} handle {parcel.handle}")
        if event is Event.HEARTBEAT_REQUEST:
            return
        if event is Event.RELOAD:
            self._generation += 1
            self._shares.clear()
            self.on_reload()
        elif event is Event.SHUTTING_DOWN:
            self.on_shutdown()
        elif event is Event.LIST_REQUEST:
            self._list(parcel)
        elif event is Event.FAILED:
            self._fail(parcel.handle, STATUS_INSUFF_SERVER_RESOURCES)
        else:
            waiter = self._waiting.get(parcel.handle)
            if waiter is None or waiter.answer is not event:
                return  # late, cancelled, or a predecessor's
            self._end(parcel.handle)
            try:
                waiter.finish(parcel)
            except WireError as error:
                waiter.fail(NtStatusError(STATUS_INSUFF_SERVER_RESOURCES, str(error)))

    def _list(self, parcel: Parcel) -> None:
        rows = self.on_list(parcel.texts.get(Attribute.REASON, ""))
        handle = {Attribute.HANDLE: parcel.handle}
        for start in range(0, len(rows), 100):
            self._post(Parcel(Event.LIST_RESPONSE, numbers=dict(handle), rows=rows[start : start + 100]))
        self._post(Parcel(Event.LIST_RESPONSE, numbers={**handle, Attribute.SIZE: len(rows)}))

    def _arm_heartbeat(self) -> None:
        interval = max(0.5, self._timeout / 2) if self._timeout else HEARTBEAT_IDLE
        self._heartbeat = self._clock.call_later(interval, self._beat)

    def _beat(self) -> None:
        if self.lost:
            return
        if self._timeout and self._clock.monotonic() - self._last_heard > self._timeout:
            self._lose(f"no sign of ksmbd.mountd for {self._timeout:g} seconds")
            return
        self._transmit(Parcel(Event.HEARTBEAT_REQUEST, fields={"handle": self._handle_number()}))
        if not self.lost:
            self._arm_heartbeat()

    def _lose(self, reason: str, notify: bool = True) -> None:
        if self.lost:
            return
        self.lost = reason
        for timer in (self._heartbeat, self._retry):
            if timer is not None:
                timer.cancel()
        for handle in list(self._waiting):
            self._fail(handle, STATUS_INSUFF_SERVER_RESOURCES)
        if notify:
            log.error(f"ipc: {reason}")
            self.on_lost(reason)
