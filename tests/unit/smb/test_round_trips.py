# SPDX-License-Identifier: GPL-2.0-or-later
"""Every structure of the wire that is written and read here survives its round trip; and no bytes make a decoder raise
anything but its own error. What the decoders of the other rooms do with any bytes is tested there."""
from __future__ import annotations

import struct
from typing import Any

import pytest
import wire
from bench import Bench
from fake_clock import FakeClock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from script import Client

from ksmbd import limits
from ksmbd.smb import change_notify, create_contexts, directory_classes, dispatch, ea, full_ea, negotiate_contexts
from ksmbd.smb import constants as c
from ksmbd.smb import info_classes as classes
from ksmbd.smb.acl import parse_acl
from ksmbd.smb.enumeration import Enumeration
from ksmbd.smb.header import HEADER_SIZE, Header, error_body, write_header
from ksmbd.smb.info_file import FILE_CLASSES
from ksmbd.smb.ports import DirectoryEntry, FileInfo, LeaseGrant
from ksmbd.smb.query_directory import EntryBuffer
from ksmbd.smb.reader import Reader, decode_utf16, encode_utf16
from ksmbd.smb.request import Reply
from ksmbd.smb.scheduler import Scheduler
from ksmbd.smb.sid import parse_sid
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, ConnectionFatal, NtStatusError
from ksmbd.smb.waiting import Task

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
GUID = st.binary(min_size=16, max_size=16)
CHARACTERS = st.characters(exclude_categories=())
NAMES = st.text(CHARACTERS, min_size=1, max_size=40)
"""Unpaired surrogates are among them: names on the wire may hold them."""


def joined(text: str) -> str:
    """Two surrogates side by side are one character once they were on the wire."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@given(st.text(CHARACTERS))
def test_utf16(text: str) -> None:
    assert decode_utf16(encode_utf16(text)) == joined(text)


@given(st.binary(max_size=40))
def test_any_utf16(data: bytes) -> None:
    if len(data) % 2:
        with pytest.raises(NtStatusError):
            decode_utf16(data)
        return
    try:
        assert encode_utf16(decode_utf16(data)) == data
    except UnicodeDecodeError:
        pytest.fail("bytes that are no UTF-16 are to be kept")


@given(U16, U16, U32, U64, U64, U32, st.booleans(), U16, U32)
def test_headers(
    command: int, charge: int, status: int, message_id: int, session: int, tree: int, is_async: bool, granted: int,
    following: int,
) -> None:  # fmt: skip
    """MS-SMB2 2.2.1.1, 2.2.1.2: a reply's header as its request's, read again."""
    raw = struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, charge, 0, command, 7, 0, 0, message_id, 0xFEFF, tree, session, bytes(16)
    )
    frame = bytearray(HEADER_SIZE)
    write_header(frame, 0, Header(raw), status, granted, 0, following, message_id if is_async else 0)
    back = Header(frame)
    assert (back.command, back.credit_charge, back.status, back.message_id, back.session_id) == (
        command, charge, status, message_id, session,
    )  # fmt: skip
    assert (back.credits, back.next_command, back.flags & 1) == (granted, following, 1)
    assert back.flags & c.FLAGS_ASYNC_COMMAND or back.tree_id == tree


@given(st.binary(max_size=300), st.booleans())
def test_error_responses(data: bytes, in_context: bool) -> None:
    """MS-SMB2 2.2.2, 2.2.2.1."""
    body = error_body(data, in_context)
    reader = Reader(body)
    structure, count, reserved, length = reader.unpack(struct.Struct("<HBBI"))
    assert (structure, reserved, count) == (9, 0, int(in_context and bool(data)))
    if not data:
        assert length == 0 and reader.remaining == 1  # one byte of ErrorData all the same
        return
    assert length == reader.remaining
    if count:
        size, kind = reader.u32(), reader.u32()
        assert (size, kind) == (len(data), 0)
    assert reader.bytes(reader.remaining) == data


# ------------------------------------------------------------------------------------------------------ create contexts


CONTEXTS: dict[bytes, Any] = {
    create_contexts.ALSI: st.tuples(U64).map(lambda v: (struct.pack("<Q", *v), "allocation_size", v[0])),
    create_contexts.TWRP: st.tuples(U64).map(lambda v: (struct.pack("<Q", *v), "timewarp", v[0])),
    create_contexts.MXAC: st.tuples(U64).map(lambda v: (struct.pack("<Q", *v), "maximal_access_time", v[0])),
    create_contexts.QFID: st.just((b"", "query_on_disk_id", True)),
    create_contexts.SECD: st.binary(max_size=60).map(lambda v: (v, "security_descriptor", v)),
    create_contexts.DHNQ: st.just((bytes(16), "durable_v1", True)),
    create_contexts.APP_INSTANCE_ID: GUID.map(lambda v: (struct.pack("<HH", 20, 0) + v, "app_instance_id", v)),
    create_contexts.APP_INSTANCE_VERSION: st.tuples(U64, U64).map(
        lambda v: (struct.pack("<HHIQQ", 24, 0, 0, *v), "app_instance_version", v)
    ),
    create_contexts.POSIX: U32.map(
        lambda v: (struct.pack("<I", v), "posix_mode", v if v == 0xFFFFFFFF else v & 0o7777)
    ),
    create_contexts.DH2C: st.tuples(U64, U64, GUID, st.booleans()).map(
        lambda v: (
            struct.pack("<QQ16sI", *v[:3], 2 * v[3]), "reconnect_v2", create_contexts.Reconnect(2, *v)
        )
    ),
    create_contexts.DH2Q: st.tuples(U32, st.booleans(), GUID).map(
        lambda v: (struct.pack("<II8x16s", v[0], 2 * v[1], v[2]), "durable_v2", create_contexts.DurableV2(*v))
    ),
    b"UnknownContext": st.binary(max_size=30).map(lambda v: (v, "count", None)),
}  # fmt: skip
"""Name -> (data, the field it fills, its value)."""


@given(st.data(), st.permutations(sorted(CONTEXTS)), st.integers(1, len(CONTEXTS)))
def test_chains_of_create_contexts(data: st.DataObject, order: list[bytes], count: int) -> None:
    """MS-SMB2 2.2.13.2: any of them together, in any order."""
    drawn = [(name, data.draw(CONTEXTS[name])) for name in order[:count]]
    chain = create_contexts.encode_chain([(name, raw) for name, (raw, _, _) in drawn])
    contexts = create_contexts.parse_contexts(Reader(chain))
    assert contexts.count == count
    for _, (_, field, value) in drawn:
        assert value is None or getattr(contexts, field) == value, field


@given(GUID, st.integers(0, 7), st.sampled_from([1, 2]), GUID, U16, st.booleans())
def test_leases(key: bytes, state: int, version: int, parent: bytes, epoch: int, has_parent: bool) -> None:
    """A response's lease (2.2.14.2.10, 2.2.14.2.11) has a request's layout (2.2.13.2.8, 2.2.13.2.10)."""
    flags = 4 if has_parent and version == 2 else 0
    grant = LeaseGrant(key, state, version, flags, parent if flags else b"", epoch if version == 2 else 0)
    chain = create_contexts.encode_chain([(create_contexts.RQLS, create_contexts.encode_lease(grant))])
    lease = create_contexts.parse_contexts(Reader(chain)).lease
    assert lease is not None
    assert (lease.key, lease.state, lease.version, lease.flags, lease.parent_key, lease.epoch) == (
        grant.key, grant.state, grant.version, grant.flags, grant.parent_key, grant.epoch,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- negotiate contexts


@given(
    st.binary(max_size=64), st.sampled_from([None, 1, 2, 3, 4]), st.sampled_from([None, 0, 1, 2]), st.booleans(),
    st.integers(0, 7),
)  # fmt: skip
def test_negotiate_contexts(
    salt: bytes, cipher: int | None, signing: int | None, posix: bool, before: int
) -> None:
    """MS-SMB2 2.2.3.1, 2.2.4.1: a response's contexts are a request's with one algorithm each."""
    raw, count = negotiate_contexts.encode(salt, cipher, signing, posix)
    offset = 8 * before
    found = negotiate_contexts.parse(Reader(bytes(offset) + raw), offset, count)
    assert found.hash_algorithms == (c.HASH_SHA512,)
    assert found.ciphers == (None if cipher is None else (cipher,))
    assert found.signing_algorithms == (None if signing is None else (signing,))
    assert found.posix == posix


@given(st.binary(max_size=200), st.integers(-8, 220), st.integers(0, 20))
@example(struct.pack("<HHI", 1, 0xFFFF, 0) * 3, 0, 3)
def test_any_negotiate_contexts(data: bytes, offset: int, count: int) -> None:
    try:
        negotiate_contexts.parse(Reader(data), offset, count)
    except NtStatusError:
        pass


# ---------------------------------------------------------------------------------------------------------- information

EA_NAMES = st.text(st.sampled_from("ABCZaz09 .-_~ü"), min_size=1, max_size=20)
EAS = st.lists(st.tuples(EA_NAMES, st.sampled_from([0, 0x80]), st.binary(max_size=40)), min_size=1, max_size=6)


@given(EAS)
def test_extended_attributes(attributes: list[tuple[str, int, bytes]]) -> None:
    """FILE_FULL_EA_INFORMATION (MS-FSCC 2.4.16), and as much of it as fits."""
    raw, count = ea.encode_full_ea(attributes, 1 << 20)
    assert count == len(attributes) and full_ea.parse_full_ea(raw) == attributes
    for limit in range(0, len(raw), 7):
        part, count = ea.encode_full_ea(attributes, limit)
        assert len(part) <= limit and full_ea.parse_full_ea(part) == attributes[:count]


@given(st.lists(EA_NAMES, min_size=1, max_size=6))
def test_names_of_extended_attributes(names: list[str]) -> None:
    """FILE_GET_EA_INFORMATION (MS-FSCC 2.4.16.1)."""
    raw = b""
    for index, name in enumerate(names):
        entry = bytes((len(name),)) + name.encode("latin-1") + b"\0"
        entry += bytes(-(len(entry) + 4) % 4)
        raw += struct.pack("<I", len(entry) + 4 if index < len(names) - 1 else 0) + entry
    assert ea.parse_get_ea(raw) == names


def test_a_list_of_names_that_is_too_long() -> None:
    name = struct.pack("<IB", 8, 2) + b"ab\0"
    with pytest.raises(NtStatusError) as caught:
        ea.parse_get_ea(name * (limits.EA_LIST.value // 8 + 1))
    assert caught.value.status == STATUS_INVALID_PARAMETER


@given(st.lists(st.tuples(st.integers(1, 11), NAMES), min_size=1, max_size=8))
def test_change_notifications(changes: list[tuple[int, str]]) -> None:
    """FILE_NOTIFY_INFORMATION (MS-FSCC 2.7.1)."""
    raw = change_notify.encode_changes(changes)
    found, at, step = [], 0, 1
    while step:
        step, action, size = struct.unpack_from("<III", raw, at)
        assert at % 4 == 0
        found.append((action, decode_utf16(raw[at + 12 : at + 12 + size])))
        end = at + 12 + size
        at += step
    assert found == [(action, joined(name)) for action, name in changes] and end == len(raw)


INFOS = st.builds(
    FileInfo, U64, U64, U64, U64, U64, U64, U32, U32, U64, U64, U32, U32, st.booleans(), U32, U32,
    st.integers(0, 0o7777),
)  # fmt: skip
ENTRIES = st.builds(DirectoryEntry, NAMES, INFOS, st.sampled_from(["", "A", "LONGNA~1.TXT"]))
SHORT_NAME_AT = {3: 68, 37: 68, 63: 88, 79: 80, 81: 96}
"""Where ShortNameLength is, in the classes that have it."""
NAME_LENGTH_AT = {classes.FileNamesInformation: 8}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(set(directory_classes.DIRECTORY_CLASSES) - {classes.FilePosixInformation})),
    st.lists(ENTRIES, min_size=1, max_size=6), st.integers(300, 1000),
)  # fmt: skip
def test_listings(info_class: int, entries: list[DirectoryEntry], limit: int) -> None:
    """MS-FSCC 2.4, MS-SMB2 3.3.5.18: all entries come, once, in their order, in as many buffers as that takes."""
    encoder = directory_classes.DIRECTORY_CLASSES[info_class]
    enumeration = Enumeration("*", iter(entries))
    found: list[str] = []
    while len(found) < len(entries):
        filling = EntryBuffer(encoder, info_class, limit, False)
        assert filling.run(enumeration, Scheduler(FakeClock()).time_slice(None))
        reply = filling.reply()
        assert reply.status == 0 and isinstance(reply.body, bytearray)
        body = reply.body[8:]
        assert len(body) <= limit
        at, step = 0, 1
        while step:
            step = struct.unpack_from("<I", body, at)[0]
            info = entries[len(found)].info
            (length,) = struct.unpack_from("<I", body, at + NAME_LENGTH_AT.get(info_class, 60))
            assert at % 8 == 0
            found.append(decode_utf16(body[at + encoder.fixed : at + encoder.fixed + length]))
            if info_class != classes.FileNamesInformation:
                assert struct.unpack_from("<QQQQQQI", body, at + 8) == (
                    info.creation_time, info.last_access_time, info.last_write_time, info.change_time,
                    info.end_of_file, info.allocation_size, info.attributes,
                )  # fmt: skip
            if info_class in SHORT_NAME_AT:
                place = at + SHORT_NAME_AT[info_class]
                short = entries[len(found) - 1].short_name
                assert body[place + 2 : place + 2 + body[place]].decode("utf-16-le") == short
            end = at + encoder.fixed + length
            at += step
        assert end == len(body)
    assert found == [joined(entry.name) for entry in entries]
    with pytest.raises(NtStatusError):
        EntryBuffer(encoder, info_class, limit, False).run(enumeration, Scheduler(FakeClock()).time_slice(None))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FILE_CLASSES)), st.integers(0, 600))
def test_every_class_keeps_its_limit(info_class: int, limit: int) -> None:
    """MS-SMB2 3.3.5.20.1: less than the fixed part is an error; what is more is cut where the class lets it."""
    bench = Bench()
    bench.volume.add("a rather long name")
    open_ = bench.open("a rather long name")
    open_.is_posix = True
    request = bench.request(c.QUERY_INFO, wire.query_info(open_, 1, info_class, limit))
    try:
        reply = dispatch.COMMANDS[c.QUERY_INFO].handle(request)
    except NtStatusError:
        return
    assert limit >= FILE_CLASSES[info_class].fixed
    assert isinstance(reply, Reply) and len(wire.output(reply)) <= limit


# ------------------------------------------------------------------------------------------------------------ any bytes


@given(st.binary(max_size=120))
@example(b"\x01\x0f" + bytes(70))
@example(struct.pack("<BBHHH", 2, 0, 0xFFFF, 0xFFFF, 0) + bytes(40))
def test_any_bytes_for_the_small_decoders(data: bytes) -> None:
    for decoder in (ea.parse_get_ea, full_ea.parse_full_ea, parse_sid, parse_acl):
        try:
            decoder(data)
        except NtStatusError:
            pass


@pytest.fixture(scope="module")
def honest() -> Any:
    """dispatch.unexpected hides a defect from the client; here it shows."""
    with pytest.MonkeyPatch.context() as patch:

        def unexpected(request: Any, error: BaseException | None = None) -> Any:
            if error is not None:
                raise error
            raise  # noqa: PLE0704 - inside the handler that called

        patch.setattr(dispatch, "unexpected", unexpected)
        yield


@settings(max_examples=400, deadline=None)
@given(
    command=st.sampled_from(sorted(dispatch.COMMANDS)), body=st.binary(max_size=200), dialect=st.sampled_from(
        [c.DIALECT_202, c.DIALECT_210, c.DIALECT_302, c.DIALECT_311]
    ), extra=st.sampled_from([b"", bytes(4096)]),
)  # fmt: skip
def test_any_body_is_answered_by_its_command(
    honest: None, command: int, body: bytes, dialect: int, extra: bytes
) -> None:
    """Behind a good StructureSize, on a session with a tree connect: an answer or the connection's end, and never by
    way of the net that catches defects."""
    wanted = dispatch.COMMANDS[command].structure_sizes[0]
    client = Client().ready(dialect)
    raw = struct.pack("<H", wanted) + body.ljust(wanted & ~1, b"\0") + extra
    replies = client.feed(client.element(command, raw, sign=True))
    assert replies or client.transport.closed or client.connection.pending


@settings(max_examples=400, deadline=None)
@given(
    command=st.sampled_from([c.READ, c.WRITE, c.LOCK, c.IOCTL, c.QUERY_DIRECTORY, c.QUERY_INFO, c.SET_INFO, c.CLOSE,
                             c.CHANGE_NOTIFY, c.FLUSH, c.OPLOCK_BREAK]),
    name=st.sampled_from(["f", "d", None]), head=st.binary(max_size=60), tail=st.binary(max_size=120),
)  # fmt: skip
def test_any_body_on_an_open(command: int, name: str | None, head: bytes, tail: bytes) -> None:
    """The same with a FileId that is one: NTSTATUS or a reply, of every command that works on an open."""
    bench = Bench()
    bench.volume.add("f", bytes(100))
    bench.volume.add("d", None)
    open_ = bench.open(name) if name else bench.open_pipe()
    wanted = dispatch.COMMANDS[command].structure_sizes[0]
    size = (wanted & ~1) - 2
    body = bytearray(struct.pack("<H", wanted) + head.ljust(size, b"\0")[:size] + tail)
    place = FILE_ID_AT[command]
    struct.pack_into("<QQ", body, place, *wire.ids(open_))
    request = bench.request(command, bytes(body), open_.tree)
    try:
        result = dispatch.COMMANDS[command].handle(request)
        if not isinstance(result, Reply):
            task: Task[Reply] = Task(result).start()
            if task.done:  # else it waits, for a lock or for changes
                task.result()
    except (NtStatusError, ConnectionFatal):
        pass


FILE_ID_AT = {
    c.READ: 16, c.WRITE: 16, c.LOCK: 8, c.IOCTL: 8, c.QUERY_DIRECTORY: 8, c.QUERY_INFO: 24, c.SET_INFO: 16, c.CLOSE: 8,
    c.CHANGE_NOTIFY: 8, c.FLUSH: 8, c.OPLOCK_BREAK: 8,
}  # fmt: skip
"""Where the FileId is in the body."""
