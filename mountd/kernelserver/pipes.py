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

    def take(self, message: Message) -> Message | None:
        """Handle an RPC_REQUEST. Returns the reply; None where it comes later."""
        handle, flags = message.handle, RpcFlag(message.fields["flags"])
        method = next((method for method in RPC_METHODS if flags & method == method), None)
        if method is RpcFlag.OPEN:
            return _response(handle, self._opened(handle, flags))
        if method is RpcFlag.CLOSE:
            return self._close(message)
        service = self._open.get(handle)
        if service is not None:
            refused = self._begin(handle, service, bool(flags & RpcFlag.RESTRICTED_CONTEXT))
            if refused is not None:
                return refused
        return self._answer(0, message)

    def _opened(self, handle: int, flags: RpcFlag) -> RpcStatus:
        service = next((bit for bit in PIPES.values() if flags & bit), None)
        if service is None:
            return RpcStatus.NOT_IMPLEMENTED
        if handle in self._open:
            return RpcStatus.BAD_FID
        if len(self._open) >= limits.PIPES.value:
            return RpcStatus.NOMEM
        self._open[handle] = service
        return RpcStatus.OK

    def _begin(self, handle: int, service: RpcFlag, restricted: bool) -> Message | None:
        """Open a pipe at mountd.rpc.host; the reply if that is refused."""
        flags = RpcFlag.OPEN | service | (RpcFlag.RESTRICTED_CONTEXT if restricted else RpcFlag(0))
        texts = {} if restricted else {Attribute.ACCOUNT: SOMEBODY}
        fields = {"handle": handle, "flags": int(flags), "payload_sz": 0, "payload": b""}
        reply = self._answer(0, Message(Event.RPC_REQUEST, fields, texts=texts))
        if reply is not None and reply.fields["flags"] != RpcStatus.OK:
            return reply
        self._open[handle] = None
        return None

    def _close(self, message: Message) -> Message | None:
        if message.handle in self._open and self._open.pop(message.handle) is None:
            return self._answer(0, message)
        return _response(message.handle, RpcStatus.OK)


def _response(handle: int, status: RpcStatus) -> Message:
    fields = {"handle": handle, "flags": int(status), "payload_sz": 0, "payload": b""}
    return Message(Event.RPC_RESPONSE, fields=fields)
