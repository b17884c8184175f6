# SPDX-License-Identifier: GPL-2.0-or-later
"""The open pipes of the engine's processes: RPC_REQUEST to RPC_RESPONSE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ksmbd import limits
from ksmbd.ipc.codec import Parcel
from ksmbd.ipc.constants import PIPES, RPC_METHODS, Attribute, Event, RpcFlag, RpcStatus
from ksmbd.ipc.messages import RPC_CHUNK
from mountd.rpc import srvsvc, wkssvc
from mountd.rpc.pipe import Pipe, PipeBroken
from mountd.rpc.service import Caller, Interface, ServerView

SERVICES: Final[Mapping[str, Interface]] = {module.INTERFACE.pipe: module.INTERFACE for module in (srvsvc, wkssvc)}
"""The services by their pipe. A further one is a module with INTERFACE, named here."""

PIPES_MAX: Final = limits.PIPES.value
"""Open pipes of one of the engine's processes."""


class PipeHost:
    """Pipes by the process's slot and the handle that the process has given them."""

    def __init__(self, server: ServerView, services: Mapping[str, Interface] = SERVICES) -> None:
        self._server = server
        self._services = services
        self._pipes: dict[int, dict[int, Pipe]] = {}

    def forget(self, slot: int) -> None:
        """A process of the engine is gone, and its pipes with it."""
        self._pipes.pop(slot, None)

    def handle(self, slot: int, parcel: Parcel) -> Parcel:
        """The answer to one RPC_REQUEST."""
        fields = parcel.fields
        flags = RpcFlag(fields["flags"])
        status, payload = RpcStatus.BAD_DATA, b""
        if fields["payload_sz"] == len(fields["payload"]):
            status, payload = self._call(slot, parcel, flags)
        reply = {"handle": parcel.handle, "flags": int(status), "payload_sz": len(payload), "payload": payload}
        return Parcel(Event.RPC_RESPONSE, fields=reply)

    def _call(self, slot: int, parcel: Parcel, flags: RpcFlag) -> tuple[RpcStatus, bytes]:
        method = next((method for method in RPC_METHODS if flags & method == method), None)
        if method is RpcFlag.OPEN:
            return self._open(slot, parcel, flags), b""
        pipe = self._pipes.get(slot, {}).get(parcel.handle)
        if pipe is None:
            return RpcStatus.BAD_FID, b""
        if method is RpcFlag.CLOSE:
            del self._pipes[slot][parcel.handle]
            return RpcStatus.OK, b""
        try:
            if method is RpcFlag.WRITE:
                pipe.write(parcel.fields["payload"])
                return RpcStatus.OK, b""
            if method is RpcFlag.IOCTL:
                pipe.write(parcel.fields["payload"])
                return self._read(pipe, parcel)
            if method is RpcFlag.READ:
                return self._read(pipe, parcel)
        except PipeBroken:
            return RpcStatus.BAD_DATA, b""
        return RpcStatus.BAD_FUNC, b""

    @staticmethod
    def _read(pipe: Pipe, parcel: Parcel) -> tuple[RpcStatus, bytes]:
        size = min(parcel.numbers.get(Attribute.SIZE, RPC_CHUNK), RPC_CHUNK)
        found = pipe.read(size)
        if found is None:
            return RpcStatus.OK, b""  # a pipe without a message: an empty read, never a reader that waits for ever
        data, more = found
        return (RpcStatus.MORE_DATA if more else RpcStatus.OK), data

    def _open(self, slot: int, parcel: Parcel, flags: RpcFlag) -> RpcStatus:
        name = next((name for name, bit in PIPES.items() if flags & bit), "")
        interface = self._services.get(name)
        pipes = self._pipes.setdefault(slot, {})
        if interface is None:
            return RpcStatus.NOT_IMPLEMENTED
        if parcel.handle in pipes:
            return RpcStatus.BAD_FID
        if len(pipes) >= PIPES_MAX:
            return RpcStatus.NOMEM
        account = parcel.texts.get(Attribute.ACCOUNT, "")
        restricted = bool(flags & RpcFlag.RESTRICTED_CONTEXT) or not account
        pipes[parcel.handle] = Pipe(interface, Caller(self._server, account, restricted))
        return RpcStatus.OK
