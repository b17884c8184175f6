# SPDX-License-Identifier: GPL-2.0-or-later
"""ClientGuid affinity: brings all connections of a client to one worker, since leases and channels are a client's.

The first frame of a connection, a NEGOTIATE, names the client. `AwaitingNegotiate` is its core until it comes. If
another worker owns the ClientGuid, the socket goes to that worker with the bytes that were received. Otherwise
this worker claims the GUID, and the protocol's own core takes over. Nothing relies on this: a connection that cannot be
handed over is served here.

A new channel must go to the worker of its session. `AwaitingSessionSetup` is the core until the first SESSION_SETUP. If
that asks for a binding to a session of another worker (because the client used another GUID, or the shared table was
full), the connection goes to that worker together with what was negotiated.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from typing import Final

from ksmbd import debug, log
from ksmbd.conn.connections import Connections
from ksmbd.conn.contract import Connected, Core, Provider
from ksmbd.process.bpf_programs import BpfPrograms
from ksmbd.process.core import WorkerConnection
from ksmbd.process.peers import MESSAGE_MAX, Kind, Peers
from ksmbd.process.shared import WorkerCounters
from ksmbd.process.table import UNPIN, SharedTable
from ksmbd.smb import handover
from ksmbd.smb.constants import NEGOTIATE
from ksmbd.smb.header import HEADER_SIZE, SMB2_PROTOCOL_ID
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError

_PROVIDER: Final = struct.Struct("8s")
"""The name of the transport of a connection that is handed over."""
_LENGTH: Final = struct.Struct("<I")
_COMMAND: Final = 12
_CLIENT_GUID: Final = HEADER_SIZE + 12
NO_GUID: Final = bytes(16)
"""SMB 2.0.2 sends zeros (MS-SMB2 2.2.3), which name no client."""


def client_guid(frame: bytes | bytearray | memoryview) -> bytes:
    """The ClientGuid of an SMB2 NEGOTIATE (MS-SMB2 2.2.3), NO_GUID for any other frame, however malformed."""
    if bytes(frame[:4]) != SMB2_PROTOCOL_ID:
        return NO_GUID
    reader = Reader(frame)
    try:
        if int.from_bytes(reader.at(_COMMAND, 2), "little") != NEGOTIATE:
            return NO_GUID
        return bytes(reader.at(_CLIENT_GUID, 16))
    except WireError:
        return NO_GUID


class Affinity:
    """Assigns the connections of one worker, and takes over those of other workers."""

    def __init__(
        self,
        table: SharedTable,
        counters: WorkerCounters,
        peers: Peers,
        bpf: BpfPrograms,
        make_core: Callable[[Connected], WorkerConnection],
        providers: Sequence[Provider],
    ) -> None:
        """`providers`: the transports whose connections may be handed over."""
        self._bpf = bpf
        self._table = table
        self._counters = counters
        self._peers = peers
        self._make_core = make_core
        self._providers = {provider.name.encode(): provider for provider in providers}
        self.connections: Connections | None = None
        """The connections of this worker, to which those handed over are added; set by the worker."""
        self._arriving = False
        self._negotiated = b""
        """The negotiated state of the connection that is being taken over, if it has any."""
        peers.on(Kind.SOCKET, self._arrived)
        peers.on(Kind.CHANNEL, self._channel_arrived)

    def first_core(self, transport: Connected) -> Core:
        """The core that a new connection begins with."""
        if self._negotiated:
            core = self._make_core(transport)
            handover.resume(core, self._negotiated)
            return core
        return AwaitingNegotiate(self, transport, self._arriving)

    def place(self, transport: Connected, frame: bytearray, arrived: bool) -> bytes | None:
        """Assign a connection by its first frame. None: it was handed over. Else it stays, and the result is the GUID
        that was claimed for it, or NO_GUID."""
        guid = client_guid(frame)
        if guid == NO_GUID:
            return guid
        own = self._counters.index
        owner = self._table.claim(guid, own, self._counters.epoch)
        if owner == own:
            self._teach(transport.peer, guid, own)
            return guid
        if not arrived and self._hand_over(transport, frame, owner):
            return None
        return NO_GUID

    def hand_over_binding(self, transport: Connected, core: WorkerConnection, frame: bytearray) -> bool:
        """Hand over a connection whose SESSION_SETUP asks for a binding to a session of another worker. False: it stays
        here."""
        owner = core.server.worker_of_session(handover.session_to_bind(frame))
        if not owner or owner == self._counters.index or transport.waiting_bytes or not handover.can_move(core):
            return False
        state = handover.encode(core)
        return self._send(transport, frame, owner, Kind.CHANNEL, _LENGTH.pack(len(state)) + state)

    def core_for(self, transport: Connected) -> WorkerConnection:
        """Make the core of the protocol for a connection."""
        return self._make_core(transport)

    def release(self, guid: bytes, address: str) -> None:
        """Release the claim of a connection that has ended."""
        if guid != NO_GUID:
            self._table.release(guid, self._counters.index)
            self._table.client_disconnected(address)

    def _teach(self, address: str, guid: bytes, own: int) -> None:
        """Teach the BPF program to give the next connection from this address to this worker, unless several clients
        use the address."""
        lesson = self._table.client_connected(address, guid, own)
        if lesson == UNPIN:
            self._bpf.unpin(address)
        elif lesson:
            self._bpf.pin(address, lesson)

    def _hand_over(self, transport: Connected, frame: bytearray, owner: int) -> bool:
        return self._send(transport, frame, owner, Kind.SOCKET, b"")

    def _send(self, transport: Connected, frame: bytearray, owner: int, kind: Kind, head: bytes) -> bool:
        fds = transport.descriptors()
        data = _PROVIDER.pack(transport.provider.encode()) + head + transport.unread(frame)
        if not fds or len(data) > MESSAGE_MAX or not self._peers.deliver(owner, data, kind, fds):
            return False
        if debug.mask[0] & debug.CONN:
            log.debug(debug.CONN, f"{transport.peer}: handed over to ksmbd/{owner}", transport.peer)
        transport.give_away()
        return True

    def _arrived(self, sender: int, data: bytes, fds: list[int]) -> None:
        self._take_over(data, _PROVIDER.size, fds)

    def _take_over(self, data: bytes, start: int, fds: list[int]) -> None:
        """Serve a connection that another worker handed over; the bytes that it had received begin at `start`."""
        provider = self._providers.get(_PROVIDER.unpack_from(data)[0].rstrip(b"\0"))
        if not fds or provider is None or self.connections is None:
            for fd in fds:
                os.close(fd)
            return
        # It is not handed over again, even if its GUID has another owner by now: two workers could do so for ever.
        self._arriving = True
        try:
            self.connections.adopt(provider.arrival(fds), data[start:])
        finally:
            self._arriving = False

    def _channel_arrived(self, sender: int, data: bytes, fds: list[int]) -> None:
        start = _PROVIDER.size + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, _PROVIDER.size)[0]
        self._negotiated = data[start:end]
        try:
            self._take_over(data, end, fds)
        finally:
            self._negotiated = b""


NOTHING: Final = 1 << 32
"""Longer than any frame, so that `begin_write` is never called."""


class AwaitingNegotiate:
    """The core of a new connection until its first frame, a NEGOTIATE; then AwaitingSessionSetup takes its place."""

    session_count = 0
    open_count = 0
    offloaded_bytes = 0
    write_from = NOTHING

    def __init__(self, affinity: Affinity, transport: Connected, arrived: bool) -> None:
        self._affinity = affinity
        self._transport = transport
        self._arrived = arrived
        self._core = affinity.core_for(transport)
        self.max_frame = self._core.max_frame

    def begin_write(self, head: memoryview, length: int) -> None:
        """Decline: the first frame is needed whole."""

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Decline: the first frame is handled alone."""
        return position, 0

    def receive(self, frame: bytearray) -> None:
        """Handle the first frame: hand the connection over or keep it."""
        guid = self._affinity.place(self._transport, frame, self._arrived)
        if guid is None:
            self._core.disconnected("handed over to another worker")
            return
        core = self._core
        if guid != NO_GUID:
            peer = self._transport.peer
            self._transport.when_closed(lambda: self._affinity.release(guid, peer))
        self._transport.core = AwaitingSessionSetup(self._affinity, self._transport, core)
        core.receive(frame)

    def disconnected(self, reason: str) -> None:
        """The connection ended before its first frame."""
        self._core.disconnected(reason)


class AwaitingSessionSetup:
    """The core until the first SESSION_SETUP, which may ask for a binding to a session of another worker."""

    session_count = 0
    open_count = 0
    offloaded_bytes = 0
    write_from = NOTHING

    def __init__(self, affinity: Affinity, transport: Connected, core: WorkerConnection) -> None:
        self._affinity = affinity
        self._transport = transport
        self._core = core
        self.max_frame = core.max_frame

    def begin_write(self, head: memoryview, length: int) -> None:
        """Decline: nothing is open yet."""

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Decline: every frame is checked for a SESSION_SETUP."""
        return position, 0

    def receive(self, frame: bytearray) -> None:
        """Handle a frame; the first SESSION_SETUP may hand the connection over."""
        core = self._core
        if handover.is_session_setup(frame):
            if self._affinity.hand_over_binding(self._transport, core, frame):
                core.disconnected("handed over to the worker of its session")
                return
            self._transport.core = core
        core.receive(frame)

    def disconnected(self, reason: str) -> None:
        """The connection ended without a session."""
        self._core.disconnected(reason)
