# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way answers as the long way does: the same frames to two equal servers, every byte sent compared."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from struct import pack, unpack
from typing import Any

import create_messages as m
import pytest
from fakes import FakeSealer, FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from script import ECHO_BODY, Client

from ksmbd import debug, limits
from ksmbd.auth.encryption import AeadSealer
from ksmbd.auth.signing import make_signer
from ksmbd.overriding import override
from ksmbd.smb import constants as c
from ksmbd.smb import fast_path, sending
from ksmbd.smb import status as s
from ksmbd.smb.header import HEADER_SIZE
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.waiting import Future

CONTENT = bytes(range(256)) * 512
COMPILED = not str(fast_path.__file__).endswith(".py")
"""Compiled classes have no methods that a test could replace, to count by which way frames went."""


class Wire(FakeTransport):
    """A transport that keeps the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = b""
        self.sends = 0

    @override
    def take(self, data: bytes) -> None:
        self.sends += 1
        self.stream += data


class Pair:
    """One client's frames, for a server that is asked the short way and one that is not."""

    def __init__(self, dialect: int = c.DIALECT_311, change: Callable[[Client], None] = lambda client: None) -> None:
        self.clients = [Client().ready(dialect), Client().ready(dialect)]
        self.wires = [Wire(), Wire()]
        self.first, self.second = self.clients
        for client, wire in zip(self.clients, self.wires, strict=True):
            change(client)
            client.connection.transport = wire
        self.frames: list[bytes] = []
        self.long = 0
        """Frames that the first server did not answer the short way."""
        receive = self.first.connection.receive

        def counted(frame: bytearray) -> None:
            self.long += 1
            receive(frame)

        opened = self.first.connection.receive_opened

        def counted_opened(message: memoryview, sealed_by: Any) -> None:
            self.long += 1
            opened(message, sealed_by)

        if not COMPILED:
            self.first.connection.receive = counted  # type: ignore[method-assign, assignment]
            self.first.connection.receive_opened = counted_opened  # type: ignore[method-assign]

    def add(self, command: int, body: bytes, kind: int = 0, seal: bool = False, **fields: Any) -> None:
        """A frame more."""
        message = self.first.element(command, body, **fields)
        if seal:
            frame = bytearray(52) + message
            FakeSealer().seal(frame, 52, fields.get("transform", self.first.session_id))
            message = bytes(frame)
        self.frames.append(bytes([kind]) + len(message).to_bytes(3, "big") + message)

    def exchange(self, wanted: int | None = None, limit: int = 128) -> None:
        """Both servers get all frames, of which `wanted` are to go the short way."""
        short, long = self.first.connection, self.second.connection
        self.long = 0
        buffer = bytearray(b"".join(self.frames))
        with memoryview(buffer) as view:
            position = total = 0
            while position < len(buffer) and not self.wires[0].closed:
                at, count = short.receive_batch(view, position, len(buffer), limit)
                assert (count == 0) == (at == position)
                total += count
                position = at
                if not count:
                    total += 1
                    after = position + 4 + int.from_bytes(view[position + 1 : position + 4], "big")
                    short.receive(bytearray(view[position + 4 : after]))
                    position = after
            view[:] = bytes(len(buffer))  # the memory is used again: nothing of it may be needed
        for frame in self.frames:
            if not self.wires[1].closed:
                long.receive(bytearray(frame[4:]))
        self.frames.clear()
        self.check()
        if wanted is not None and not COMPILED:
            assert total - self.long == wanted

    def check(self) -> None:
        """The same was sent, and the connections are in the same state."""
        short, long = self.first.connection, self.second.connection
        assert self.wires[0].stream == self.wires[1].stream
        assert (self.wires[0].closed is None) == (self.wires[1].closed is None)
        sender = short.sender
        assert not sender._joined and not sender.batch_open and not sender._joined_size
        assert short.state == long.state and short.pending.keys() == long.pending.keys()
        windows = [(one.window.low, one.window.high, one.window.used) for one in (short, long)]
        assert windows[0] == windows[1]


def opened(
    dialect: int = c.DIALECT_311, change: Callable[[Client], None] = lambda client: None
) -> tuple[Pair, tuple[int, int]]:
    """A pair whose clients have opened a file; its FileId."""
    found = []

    def open_file(client: Client) -> None:
        client.volume.add("file", CONTENT)
        response = client.ask(c.CREATE, m.create("file"), credits=200)
        assert response.status == 0
        found.append(response.body[64:80])
        change(client)

    pair = Pair(dialect, open_file)
    assert found[0] == found[1]
    persistent, volatile = (int.from_bytes(found[0][at : at + 8], "little") for at in (0, 8))
    return pair, (persistent, volatile)


def session_of(client: Client) -> Any:
    return client.connection.sessions[client.session_id]


# -------------------------------------------------------------------------------------------------- header variants


FLAGS = [
    0, 0x10, 0x70, 0x80, c.FLAGS_SERVER_TO_REDIR, c.FLAGS_SIGNED, c.FLAGS_RELATED_OPERATIONS, c.FLAGS_DFS_OPERATIONS,
    c.FLAGS_REPLAY_OPERATION, c.FLAGS_ASYNC_COMMAND, 0x100, 0x10 | c.FLAGS_REPLAY_OPERATION, 0x80000000,
]  # fmt: skip
COMMANDS = [*range(0x13), 0x13, 0xFF, c.ECHO | 0x100, c.READ | 0x100]


def bodies(persistent: int, volatile: int) -> dict[int, bytes]:
    """A valid body of each command that needs no more than an open file."""
    ids = pack("<QQ", persistent, volatile)
    return {
        c.ECHO: ECHO_BODY,
        c.READ: m.read(persistent, volatile, 5, 100),
        c.WRITE: m.write(persistent, volatile, 7, b"written"),
        c.FLUSH: pack("<HHI", 24, 0, 0) + ids,
        c.CLOSE: pack("<HHI", 24, 0, 0) + ids,
        c.CREATE: m.create("file"),
        c.LOGOFF: ECHO_BODY,
        c.TREE_DISCONNECT: ECHO_BODY,
        c.QUERY_INFO: pack("<HBBIHHIIIQQ", 41, 1, 5, 4096, 0, 0, 0, 0, 0, persistent, volatile),
    }


PROTECTIONS: list[dict[str, Any]] = [{}, {"sign": True}, {"seal": True}]


@pytest.mark.parametrize("protection", PROTECTIONS, ids=str)
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("command", [c.ECHO, c.READ, c.WRITE, c.FLUSH, c.CLOSE, c.CREATE, c.QUERY_INFO, c.LOGOFF])
def test_flags(command: int, flags: int, protection: dict[str, Any]) -> None:
    pair, ids = opened()
    body = bodies(*ids)[command]
    pair.add(command, body, flags=flags, **protection)
    pair.add(c.ECHO, ECHO_BODY)
    short = not flags & ~c.FLAGS_PRIORITY_MASK and command != c.LOGOFF
    pair.exchange(2 if short else None)


@pytest.mark.parametrize("protection", PROTECTIONS[1:], ids=str)
@pytest.mark.parametrize("change", [{}, {"key": b"\x02" * 16}, {"session_id": 77}, {"transform": 77}], ids=str)
def test_protection_that_does_not_fit(protection: dict[str, Any], change: dict[str, Any]) -> None:
    pair, ids = opened()
    pair.add(c.READ, bodies(*ids)[c.READ], **protection, **change)
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange()
    assert bool(pair.wires[0].closed) == (bool(protection.get("seal")) and "key" not in change and bool(change))


@pytest.mark.parametrize("protection", PROTECTIONS[1:], ids=str)
@pytest.mark.parametrize("keys", ["session", "channel", "none"])
def test_keys(protection: dict[str, Any], keys: str) -> None:
    """Guests have no key; a channel may have its own."""

    def change(client: Client) -> None:
        session = session_of(client)
        channel = session.channels[client.connection]
        if keys == "none":
            session.signer = channel.signer = None
        elif keys == "session":
            channel.signer = None

    pair, ids = opened(change=change)
    for command in (c.READ, c.QUERY_INFO, c.CREATE, c.CLOSE):
        pair.add(command, bodies(*ids)[command], **protection)
    pair.exchange(0 if keys == "none" and "sign" in protection else 4)


@pytest.mark.parametrize("sizes", [(100, 20_000), (33_000, 65_000)])
@pytest.mark.parametrize("protection", PROTECTIONS[1:], ids=str)
def test_protected_reads_and_writes(protection: dict[str, Any], sizes: tuple[int, ...]) -> None:
    pair, ids = opened()
    for size in sizes:
        pair.add(c.WRITE, m.write(*ids, 3, b"w" * size), **protection)
        pair.add(c.READ, m.read(*ids, 0, size), **protection)
    pair.exchange()


def test_a_sealed_compound() -> None:
    pair, ids = opened()
    parts: list[tuple[int, bytes, dict[str, Any]]] = [
        (command, bodies(*ids)[command], {}) for command in (c.CREATE, c.QUERY_INFO, c.CLOSE)
    ]
    frame = bytearray(52) + pair.first.compound(*parts)
    FakeSealer().seal(frame, 52, pair.first.session_id)
    pair.frames.append(len(frame).to_bytes(4, "big") + frame)
    pair.add(c.READ, bodies(*ids)[c.READ], seal=True)
    pair.exchange()


@pytest.mark.parametrize("way", ["short", "long"])
@pytest.mark.parametrize("kind", ["gmac", "cmac", "gcm", "ccm", "other tag"])
def test_real_keys(kind: str, way: str) -> None:
    """Replies are signed or encrypted as the algorithm demands; what does not fit is not carried out."""
    client = Client().ready()
    client.volume.add("file", CONTENT)
    response = client.ask(c.CREATE, m.create("file"))
    persistent, volatile = unpack("<QQ", response.body[64:80])
    session, connection = session_of(client), client.connection
    signing = {"gmac": c.SIGNING_AES_GMAC, "cmac": c.SIGNING_AES_CMAC}.get(kind)
    flags = c.FLAGS_SIGNED if signing else 0
    message = bytearray(client.element(c.READ, m.read(persistent, volatile, 1, 5), flags=flags))
    if signing is not None:
        signer = session.signer = session.channels[connection].signer = make_signer(signing, bytes(16))
        message[48:64] = signer._mac(memoryview(message), False)
    else:
        cipher = c.CIPHER_AES128_CCM if kind == "ccm" else c.CIPHER_AES128_GCM
        sealer = session.sealer = AeadSealer(cipher, bytes(16), bytes(16))
        message = bytearray(52) + message
        sealer.seal(message, 52, client.session_id)
        if kind == "other tag":
            message[4] ^= 1
    wire = Wire()
    connection.transport = wire
    if way == "short":
        frame = len(message).to_bytes(4, "big") + message
        assert connection.receive_batch(memoryview(frame), 0, len(frame), 9)[1] == 1
    else:
        connection.receive(message)
    if kind == "other tag":
        assert wire.closed and not wire.stream
        return
    assert int.from_bytes(wire.stream[:4], "big") == len(wire.stream) - 4
    reply = bytearray(wire.stream[4:])
    if signing is not None:
        signature = reply[48:64]
        signer.sign(memoryview(reply))
        assert reply[48:64] == signature and reply[16] & c.FLAGS_SIGNED
    else:
        reply = bytearray(sealer.open(memoryview(reply)))
        assert not reply[16] & c.FLAGS_SIGNED
    assert reply[80:] == CONTENT[1:6]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_with_a_body_that_is_not_theirs(command: int) -> None:
    pair, ids = opened()
    for body in (b"", b"\x04", ECHO_BODY, b"\x05\0\0\0", bodies(*ids)[c.READ], bytes(200)):
        pair.add(command, body)
    pair.exchange()


@pytest.mark.parametrize("command", [c.ECHO, c.READ, c.WRITE])
@pytest.mark.parametrize(
    "fields",
    [
        {"charge": 0}, {"charge": 2}, {"charge": 100}, {"credits": 0}, {"credits": 1}, {"credits": 0xFFFF},
        {"tree_id": 77}, {"session_id": 0}, {"session_id": 77}, {"message_id": 0}, {"message_id": 1 << 40},
        {"message_id": 0xFFFFFFFFFFFFFFFF}, {"next_command": 8}, {"next_command": 72}, {"protocol": b"\xffSMB"},
        {"protocol": b"\xfdSMB"}, {"protocol": b"\xfcSMB"}, {"protocol": b"\xfeSMC"}, {"status": 1}, {"status": 0xFFFF},
        {"status": 0xC0000022}, {"kind": 0},
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_210, c.DIALECT_311])
def test_fields(command: int, fields: dict[str, Any], dialect: int) -> None:
    pair, ids = opened(dialect)
    pair.add(command, bodies(*ids)[command], **fields)
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange()


def test_message_ids_out_of_order_and_used_twice() -> None:
    pair, _ = opened()
    at = pair.first.message_id
    for number in (2, 0, 1, 5, 4, 3):
        pair.add(c.ECHO, ECHO_BODY, message_id=at + number)
    pair.exchange(6)
    pair.add(c.ECHO, ECHO_BODY, message_id=at + 6)
    pair.add(c.ECHO, ECHO_BODY, message_id=at + 6)
    pair.exchange()
    assert pair.wires[0].closed


def test_a_header_that_is_none() -> None:
    pair, _ = opened()
    pair.add(c.ECHO, ECHO_BODY)
    message = bytearray(pair.frames.pop())
    message[8] = 63
    pair.frames.append(bytes(message))
    pair.exchange()
    assert pair.wires[0].closed


def test_other_packets_are_left_where_they_are() -> None:
    """RFC 1002 4.3: only a SESSION MESSAGE is taken, and only a whole one."""
    pair, _ = opened()
    pair.add(c.ECHO, ECHO_BODY, kind=0x85)
    pair.add(c.READ, m.read(1, 1, 0, 1), kind=0x85)
    connection = pair.first.connection
    for frame in pair.frames:
        assert connection.receive_batch(memoryview(frame), 0, len(frame), 128) == (0, 0)
        whole = memoryview(b"\0" + frame[1:])
        assert connection.receive_batch(whole, 0, len(frame) - 1, 128) == (0, 0)
    assert not pair.wires[0].sends


# ------------------------------------------------------------------------------------------------ sessions and trees


def signing_required(client: Client) -> None:
    session_of(client).signing_required = True


def encrypted(client: Client) -> None:
    session_of(client).encrypt_data = True


def expires(client: Client) -> None:
    session_of(client).expires = 1e9


def expired(client: Client) -> None:
    session_of(client).expires = 1e-9


def in_progress(client: Client) -> None:
    session_of(client).state = SessionState.IN_PROGRESS


def without_channel(client: Client) -> None:
    session_of(client).channels.clear()


def encrypted_tree(client: Client) -> None:
    session_of(client).tree_connects[client.tree_id].encrypt_data = True


def no_tree(client: Client) -> None:
    session_of(client).tree_connects.clear()


@pytest.mark.parametrize(
    "change",
    [signing_required, encrypted, expires, expired, in_progress, without_channel, encrypted_tree, no_tree],
)
@pytest.mark.parametrize("protection", PROTECTIONS, ids=str)
def test_sessions_and_trees(change: Callable[[Client], None], protection: dict[str, Any]) -> None:
    pair, ids = opened(change=change)
    for command, body in bodies(*ids).items():
        if command not in (c.LOGOFF, c.TREE_DISCONNECT):
            pair.add(command, body, **protection)
    count = len(pair.frames)
    passed: list[object] = [encrypted_tree, no_tree, expires]
    if "sign" in protection:
        passed.append(signing_required)
    elif protection:
        passed += [signing_required, encrypted]
    pair.exchange(count if change in passed else 0)


def test_a_session_that_ends_in_between() -> None:
    pair, ids = opened()
    pair.add(c.ECHO, ECHO_BODY)
    pair.add(c.LOGOFF, ECHO_BODY)
    pair.add(c.ECHO, ECHO_BODY)
    pair.add(c.READ, bodies(*ids)[c.READ])
    pair.exchange(1)


# ---------------------------------------------------------------------------------------------------------- commands


def test_reads_and_writes() -> None:
    pair, ids = opened()
    offsets = (0, 1, len(CONTENT) - 1, len(CONTENT), 1 << 63)
    for offset in offsets:
        for length in (0, 1, 4096, 16384, 16385, 65536):
            pair.add(c.READ, m.read(*ids, offset, length), credits=2)
    pair.add(c.READ, m.read(*ids, 0, 65537), credits=2)
    pair.add(c.READ, m.read(*ids, 0, len(CONTENT)), charge=2, credits=4)
    pair.add(c.READ, m.read(*ids, 0, 10, minimum=11))
    for offset in offsets:
        pair.add(c.WRITE, m.write(*ids, offset, b"x" * 1000), credits=2)
    pair.add(c.WRITE, m.write(*ids, 0, b"", length=5))
    pair.add(c.WRITE, m.write(ids[0], 5, 0, b"no such open"))
    count = len(pair.frames)
    pair.exchange(count)
    assert pair.wires[0].sends < pair.wires[1].sends


def test_the_limit() -> None:
    pair, _ = opened()
    for _ in range(10):
        pair.add(c.ECHO, ECHO_BODY)
    buffer = memoryview(b"".join(pair.frames))
    assert pair.first.connection.receive_batch(buffer, 0, len(buffer), 3) == (3 * fast_path.LEAST, 3)
    assert pair.wires[0].sends == 1 and len(pair.wires[0].stream) == 3 * fast_path.LEAST


@pytest.mark.skipif(COMPILED, reason="a compiled constant is not to be changed")
def test_much_data_ends_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "JOINED_MAX", 5000)
    pair, ids = opened()
    for number in range(6):
        pair.add(c.READ, m.read(*ids, number, 4096), credits=2)
    buffer = memoryview(b"".join(pair.frames))
    _, count = pair.first.connection.receive_batch(buffer, 0, len(buffer), 128)
    assert count == 2


@pytest.mark.parametrize("sign", [False, True])
def test_a_long_reply_ends_a_run(sign: bool) -> None:
    """Between them the transport looks how much waits for the client, and stops where that is too much."""
    pair, ids = opened()
    pair.add(c.ECHO, ECHO_BODY, sign=sign)
    for number in range(3):
        pair.add(c.READ, m.read(*ids, number, 60_000), sign=sign)
    buffer = memoryview(bytearray(b"".join(pair.frames)))
    at, count = pair.first.connection.receive_batch(buffer, 0, len(buffer), 128)
    assert count == 2 and at < len(buffer) and pair.wires[0].sends == 2
    assert pair.first.connection.receive_batch(buffer, at, len(buffer), 128)[1] == 1
    assert not pair.first.connection.sender.batch_open


def test_a_write_that_waits() -> None:
    """Its data, which was in the receive buffer, is written when the break is acknowledged."""
    pair, ids = opened()
    waits: list[Future[None]] = []
    for client in pair.clients:
        table: Any = client.server.table
        future: Future[None] = Future()
        waits.append(future)
        table.break_caching = lambda ref, kind, future=future: future
    pair.add(c.ECHO, ECHO_BODY)
    pair.add(c.WRITE, m.write(*ids, 0, b"late"))
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange(3)
    assert len(pair.first.connection.pending) == 1
    for future in waits:
        future.set_result(None)
    pair.check()
    assert not pair.first.connection.pending
    file: Any = next(iter(session_of(pair.first).opens.values())).file
    assert file.read(0, 4) == b"late"


def test_a_write_that_may_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_REQUESTS", replace(limits.WAITING_REQUESTS, value=1))
    pair, ids = opened()
    for client in pair.clients:
        table: Any = client.server.table
        table.break_caching = lambda ref, kind: Future()
    for text in (b"waits", b"may not"):
        pair.add(c.WRITE, m.write(*ids, 0, text))
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange(3)
    assert len(pair.first.connection.pending) == 1
    for client in pair.clients:
        client.connection.disconnected("cable")
        assert not client.connection.pending_budget.requests and not client.connection.pending_budget.bytes


def test_a_read_from_the_disk_comes_later() -> None:
    pair, ids = opened()
    waits: list[Future[None]] = []
    for client in pair.clients:
        file: Any = next(iter(session_of(client).opens.values())).file
        waits.append(Future())
        file.prefetch = lambda offset, length, future=waits[-1]: future
    pair.add(c.READ, m.read(*ids, 3, 10))
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange(2)
    for future in waits:
        future.set_result(None)
    pair.check()
    assert CONTENT[3:13] in pair.wires[0].stream


def test_what_is_sent_meanwhile_keeps_its_place() -> None:
    """A notification that a command of the run sends comes behind the replies before it."""
    pair, ids = opened()
    for client in pair.clients:
        table: Any = client.server.table
        connection = client.connection

        def break_caching(ref: Any, kind: Any, connection: Any = connection) -> Future[None]:
            connection.sender.send_notification(c.OPLOCK_BREAK, bytes(24))
            return Future.of(None)

        table.break_caching = break_caching
    pair.add(c.ECHO, ECHO_BODY)
    pair.add(c.WRITE, m.write(*ids, 0, b"data"))
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange(3)


def test_small_replies_leave_joined_whatever_way_they_came() -> None:
    pair, ids = opened()
    for client in pair.clients:
        client.sign = True
    for number in range(5):
        pair.add(c.ECHO, ECHO_BODY, sign=number != 2)
        pair.add(c.READ, m.read(*ids, number, 100), sign=number != 3)
    pair.exchange(10)
    assert pair.wires[0].sends == 1 and pair.wires[1].sends == 10


def test_what_asks_for_its_delivery_has_left_before() -> None:
    """delivery_mark counts what the transport was given; a notification waits for nothing."""
    pair, _ = opened()
    connection = pair.first.connection
    connection.sender.begin_batch()
    connection.sender.send_clear(bytearray(100))
    sends = [pair.wires[0].sends]
    connection.sender.send_notification(c.OPLOCK_BREAK, bytes(24))
    sends.append(pair.wires[0].sends)
    assert sends == [0, 1] and not connection.sender._joined
    connection.sender.send_clear(bytearray(100_000))
    assert pair.wires[0].sends == 2, "long ones do not wait"


def test_replies_before_the_end_of_a_connection_leave() -> None:
    pair, _ = opened()
    pair.add(c.ECHO, ECHO_BODY)
    pair.add(c.ECHO, ECHO_BODY, protocol=b"\xfcSMB")
    pair.exchange()
    assert pair.wires[0].closed and len(pair.wires[0].stream) == fast_path.LEAST


def test_a_defect_is_answered_as_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    pair, ids = opened()
    for client in pair.clients:
        file: Any = next(iter(session_of(client).opens.values())).file

        def read(offset: int, length: int) -> bytes:
            raise ZeroDivisionError

        file.read = read
    pair.add(c.READ, m.read(*ids, 0, 10))
    pair.add(c.ECHO, ECHO_BODY)
    pair.exchange(2)
    assert "READ: unexpected failure" in caplog.text
    assert s.STATUS_INVALID_PARAMETER.to_bytes(4, "little") == pair.wires[0].stream[12:16]


def test_requests_are_told_of_one_by_one() -> None:
    """The `smb` debug component speaks in one place, so nothing goes past it."""
    pair, _ = opened()
    pair.add(c.ECHO, ECHO_BODY)
    debug.toggle("smb")
    try:
        pair.exchange(0)
    finally:
        debug.toggle("smb")


def test_a_connection_that_has_ended_takes_nothing() -> None:
    pair, _ = opened()
    pair.add(c.ECHO, ECHO_BODY)
    pair.first.connection.disconnected("test")
    frame = memoryview(pair.frames[0])
    assert pair.first.connection.receive_batch(frame, 0, len(frame), 1) == (0, 0)
    assert not pair.wires[0].stream


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([c.ECHO, c.READ, c.WRITE, c.FLUSH, c.QUERY_INFO, c.CLOSE]),
            st.sampled_from([0, 0, 0, 0x20, c.FLAGS_SIGNED, c.FLAGS_REPLAY_OPERATION]),
            st.integers(0, 3),
            st.sampled_from([0, 1, 1, 5, 600]),
            st.binary(max_size=3) | st.none(),
            st.integers(0, 150),
            st.sampled_from(PROTECTIONS),
        ),
        max_size=12,
    )
)
def test_any_mixture(requests: list[tuple[int, int, int, int, bytes | None, int, dict[str, Any]]]) -> None:
    pair, ids = opened()
    for command, flags, charge, credits_, noise, at, protection in requests:
        body = bytearray(bodies(*ids)[command])
        if noise is not None and at < len(body):
            body[at : at + len(noise)] = noise
        pair.add(command, bytes(body), flags=flags, charge=charge, credits=credits_, **protection)
    pair.exchange()


def test_the_shortest_request_is_an_echo() -> None:
    assert fast_path.LEAST == 4 + HEADER_SIZE + len(ECHO_BODY)
