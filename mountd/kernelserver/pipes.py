# SPDX-License-Identifier: GPL-2.0-or-later
"""The named pipes of the kernel's server, for mountd.rpc.host.

The kernel tells with the first write, and not when a pipe is opened, whether its user is a guest; it never tells which
user it is. So a pipe is opened with its first request, for a user without a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmbd import limits
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import PIPES, RPC_METHODS, Attribute, Event, RpcFlag, RpcStatus

SOMEBODY: Final = "?"
"""The account of a user who has logged on. No account has this name."""
FRAGMENT_MAX: Final = 1024
"""Bytes of a fragment of a reply. The kernel returns a reply whole, or cuts it and loses the rest; clients ask for no
less than this."""


class KernelPipes:
    """The open pipes by handle."""

    def __init__(self, answer: Callable[[int, Message], Message | None]) -> None:
        self._answer = answer
        self._open: dict[int, RpcFlag | None] = {}
        """Handle -> its service while nothing was asked of it, then None."""
        self._first: dict[int, Message | None] = {}
        """Handle of a pipe that is being opened, for which Unix users are looked up -> its first request; None: the
        kernel has closed it meanwhile."""

    def take(self, message: Message) -> Message | None:
        """Handle an RPC_REQUEST. Returns the reply; None where it comes later."""
        handle, flags = message.handle, RpcFlag(message.fields["flags"])
        method = next((method for method in RPC_METHODS if flags & method == method), None)
        if method is RpcFlag.OPEN:
            return _response(handle, self._opened(handle, flags))
        if method is RpcFlag.CLOSE:
            return self._close(message)
        if handle in self._first:
            return _response(handle, RpcStatus.NOMEM)  # the kernel asks for one thing after the other
        service = self._open.get(handle)
        if service is not None:
            return self._begin(message, service, bool(flags & RpcFlag.RESTRICTED_CONTEXT))
        return self._answer(0, message)

    def passed(self, reply: Message) -> Message | None:
        """What the kernel gets for a reply that comes later; None: nothing now. The reply to the opening of a pipe, of
        which the kernel knows nothing, lets its first request go on."""
        handle = reply.handle
        if reply.event not in (Event.RPC_RESPONSE, Event.FAILED) or handle not in self._first:
            return reply
        first = self._first.pop(handle)
        is_open = reply.event is Event.RPC_RESPONSE and reply.fields["flags"] == RpcStatus.OK
        if first is None:
            if is_open:
                self._answer(0, _closing(handle))
            return None
        if is_open:
            return self._answer(0, first)
        return reply if reply.event is Event.RPC_RESPONSE else _response(handle, RpcStatus.NOMEM)

    def _opened(self, handle: int, flags: RpcFlag) -> RpcStatus:
        service = next((bit for bit in PIPES.values() if flags & bit), None)
        if service is None:
            return RpcStatus.NOT_IMPLEMENTED
        if handle in self._open or handle in self._first:
            return RpcStatus.BAD_FID
        if len(self._open) >= limits.PIPES.value:
            return RpcStatus.NOMEM
        self._open[handle] = service
        return RpcStatus.OK

    def _begin(self, message: Message, service: RpcFlag, restricted: bool) -> Message | None:
        """Open a pipe at mountd.rpc.host, and hand its first request on once it is open."""
        handle = message.handle
        flags = RpcFlag.OPEN | service | (RpcFlag.RESTRICTED_CONTEXT if restricted else RpcFlag(0))
        texts = {} if restricted else {Attribute.ACCOUNT: SOMEBODY}
        fields = {"handle": handle, "flags": int(flags), "payload_sz": 0, "payload": b""}
        self._open[handle] = None
        self._first[handle] = message
        reply = self._answer(0, Message(Event.RPC_REQUEST, fields, texts=texts))
        if reply is None:
            return None
        if reply.event is not Event.RPC_RESPONSE or reply.fields["flags"] != RpcStatus.OK:
            self._open[handle] = service  # the next request tries again
        return self.passed(reply)

    def _close(self, message: Message) -> Message | None:
        handle = message.handle
        if handle in self._open and self._open.pop(handle) is None:
            if handle not in self._first:
                return self._answer(0, message)
            self._first[handle] = None
        return _response(handle, RpcStatus.OK)


def _closing(handle: int) -> Message:
    fields = {"handle": handle, "flags": int(RpcFlag.CLOSE), "payload_sz": 0, "payload": b""}
    return Message(Event.RPC_REQUEST, fields)


def _response(handle: int, status: RpcStatus) -> Message:
    fields = {"handle": handle, "flags": int(status), "payload_sz": 0, "payload": b""}
    return Message(Event.RPC_RESPONSE, fields=fields)
