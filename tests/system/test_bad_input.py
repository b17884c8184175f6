# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input on real sockets: the specified status or the end of that one connection, while another client works on.

That no defect of the server's shows is checked by the fixture: it fails where the server printed a traceback.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rawclient import ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

END = -1
"""In place of a status: the connection ends."""
BAD = s.STATUS_INVALID_PARAMETER


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"max ip connections": "64"}, shares={"share": {"vfs objects": "streams_xattr"}})


@pytest.fixture(scope="module")
def bystander(server: KsmbdServer) -> Iterator[RawClient]:
    """Another client, connected all the time."""
    with RawClient(server) as client:
        yield client


@pytest.fixture
def other(bystander: RawClient) -> Iterator[None]:
    """The other client works on after the test."""
    yield
    file = bystander.open("of the other", disposition=c.FILE_OVERWRITE_IF)
    bystander.ask(c.WRITE, bystander.write_body(file, 0, 5) + b"works")
    assert bytes(bystander.ask(c.READ, bystander.read_body(file, 0, 5))).endswith(b"works")
    bystander.close(file)


# ----------------------------------------------------------------------------------------- frames before the log-on


def nbss(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def header(command: int = c.NEGOTIATE, **fields: int) -> bytes:
    return struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", fields.get("size", 64), 0, 0, command, 1, fields.get("flags", 0),
        fields.get("next", 0), fields.get("message_id", 0), 0, fields.get("tree_id", 0), fields.get("session_id", 0),
        bytes(16),
    )  # fmt: skip


def negotiate(dialects: list[int], count: int | None = None, contexts: bytes = b"", **fields: int) -> bytes:
    """A NEGOTIATE; the contexts follow the dialects at the next multiple of 8 unless `offset` says otherwise."""
    listed = struct.pack(f"<{len(dialects)}H", *dialects)
    offset = (100 + len(listed) + 7) & ~7
    body = struct.pack(
        "<HHHHI16sIHH", fields.get("size", 36), len(dialects) if count is None else count, 1, 0, 0x7F, bytes(range(16)),
        fields.get("offset", offset if contexts else 0), fields.get("count_contexts", 1 if contexts else 0), 0,
    )  # fmt: skip
    whole = header() + body + listed
    return whole + (bytes(offset - len(whole)) + contexts if contexts else b"")


def context(kind: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", kind, len(data) if length is None else length, 0) + data


PREAUTH = context(1, struct.pack("<HHH4s", 1, 4, 1, b"salt"))
NTLM_OID = bytes.fromhex("060a2b06010401823702020a")

FRAMES = {
    "keepalive and end": b"\x85\0\0\0",
    "empty frame": nbss(b""),
    "one byte": nbss(b"\xfe"),
    "three bytes": nbss(b"\xfeSM"),
    "protocol id alone": nbss(b"\xfeSMB"),
    "half a header": nbss(header()[:32]),
    "header but one byte": nbss(header()[:63]),
    "header alone": nbss(header()),
    "header of size 63": nbss(header(size=63) + bytes(36)),
    "largest length": b"\0\xff\xff\xff" + b"\xfeSMB",
    "longer than a log-on may be": b"\0\x10\0\0" + b"\xfeSMB" + bytes(1000),
    "another session message": b"\x81\0\0\x44" + bytes(68),
    "unknown type": b"\x7f\0\0\x04" + bytes(4),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "transform": nbss(b"\xfdSMB" + bytes(48) + header()),
    "transform alone": nbss(b"\xfdSMB"),
    "compressed": nbss(b"\xfcSMB" + struct.pack("<IHHI", 0xFFFFFFFF, 1, 0, 0) + bytes(64)),
    "smb1 alone": nbss(b"\xffSMB"),
    "smb1 log-on": nbss(b"\xffSMB\x73" + bytes(60)),
    "smb1 without smb2": nbss(b"\xffSMBr" + bytes(27) + b"\0" + struct.pack("<H", 12) + b"\x02NT LM 0.12"),
    "smb1 byte count too long": nbss(b"\xffSMBr" + bytes(27) + b"\0" + struct.pack("<H", 999) + b"\x02SMB 2.002\0"),
    "smb1 word count": nbss(b"\xffSMBr" + bytes(27) + b"\xff" + struct.pack("<H", 11) + b"\x02SMB 2.002\0"),
    "no negotiate first": nbss(header(c.TREE_CONNECT) + bytes(20)),
    "echo first": nbss(header(c.ECHO) + b"\4\0\0\0"),
    "unknown command first": nbss(header(99) + bytes(20)),
    "log-on first": nbss(header(c.SESSION_SETUP) + struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, 4, 0) + b"NTLM"),
    "message id not free": nbss(negotiate([0x210]).replace(bytes(8), b"\7" + bytes(7), 1)),
    "next command past the end": nbss(header(next=4096) + bytes(64)),
    "next command misaligned": nbss(header(next=65) + bytes(200)),
    "next command inside the header": nbss(header(next=8) + bytes(200)),
    "negotiate of no dialects": nbss(negotiate([])),
    "negotiate with more dialects than are there": nbss(negotiate([0x210], count=0xFFFF)),
    "negotiate with unknown dialects": nbss(negotiate([0x199, 0x2FF, 0xFFFF])),
    "negotiate of another structure size": nbss(negotiate([0x210], size=37)),
    "3.1.1 without contexts": nbss(negotiate([0x311])),
    "3.1.1 contexts out of bounds": nbss(negotiate([0x311], contexts=PREAUTH, offset=0xFFFFFFF0)),
    "3.1.1 contexts before the body": nbss(negotiate([0x311], contexts=PREAUTH).replace(b"\x68\0\0\0", b"\4\0\0\0", 1)),
    "3.1.1 more contexts than are there": nbss(negotiate([0x311], contexts=PREAUTH)[:98] + b"\xff\xff" + bytes(30)),
    "3.1.1 context longer than the frame": nbss(negotiate([0x311], contexts=context(1, bytes(6), 0xFFFF))),
    "3.1.1 no hash algorithms": nbss(negotiate([0x311], contexts=context(1, struct.pack("<HH", 0, 0)))),
    "3.1.1 unknown hash algorithm": nbss(negotiate([0x311], contexts=context(1, struct.pack("<HHH", 1, 0, 0x99)))),
    "3.1.1 hash algorithms cut": nbss(negotiate([0x311], contexts=context(1, struct.pack("<HHH", 300, 0, 1)))),
    "3.1.1 preauth twice": nbss(negotiate([0x311], contexts=PREAUTH + bytes(6) + PREAUTH, count_contexts=2)),
    "3.1.1 context cut": nbss(negotiate([0x311], contexts=PREAUTH)[:-2]),
    "noise": nbss(b"\xfeSMB" + os.urandom(300)),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_bad_frame_before_the_log_on(server: KsmbdServer, other: None, name: str) -> None:
    """An answer may come, but then the end: nothing that was sent opens a session or hangs the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as bad:
        heard = b""
        try:
            bad.sendall(FRAMES[name])
            bad.shutdown(socket.SHUT_WR)
            while part := bad.recv(65536):
                heard += part
        except (ConnectionResetError, BrokenPipeError, OSError) as error:
            assert not isinstance(error, TimeoutError)
    if FRAMES[name][:1] == b"\x81":
        assert heard == b"\x82\0\0\0", "RFC 1002 4.3.2, 4.3.3"
    elif heard:
        assert heard[4:8] == b"\xfeSMB"
        assert status_of(heard[4:]) & 0x80000000, "an error"


SECURITY_BLOBS = {
    "nothing": b"",
    "noise": bytes(range(7, 107)),
    "one byte": b"\x60",
    "asn.1 longer than it is": b"\x60\x84\xff\xff\xff\xff" + bytes(20),
    "asn.1 indefinite length": b"\x60\x80" + bytes(40),
    "asn.1 nested a thousand times": b"\x60\x82\x03\xe8" * 1000,
    "spnego without mechanisms": bytes.fromhex("601006062b0601050502a0063004a0023000"),
    "spnego of unknown mechanisms": bytes.fromhex("601606062b0601050502a00c300aa008300606042b060199"),
    "ntlm signature alone": b"NTLMSSP\0",
    "ntlm of unknown type": b"NTLMSSP\0" + struct.pack("<I", 9) + bytes(60),
    "ntlm negotiate cut": b"NTLMSSP\0" + struct.pack("<I", 1) + b"\1",
    "ntlm authenticate first": b"NTLMSSP\0" + struct.pack("<I", 3) + bytes(80),
}  # fmt: skip


@pytest.mark.parametrize("name", SECURITY_BLOBS)
def test_a_bad_security_blob(server: KsmbdServer, other: None, name: str) -> None:
    """Refused with an error status, and the connection stays usable for a real log-on."""
    blob = SECURITY_BLOBS[name]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as bad:
        stream = bad.makefile("rwb")

        def ask(message: bytes) -> bytes:
            stream.write(nbss(message))
            stream.flush()
            return stream.read(int.from_bytes(stream.read(4), "big"))

        assert status_of(ask(negotiate([0x210, 0x302]))) == 0
        for number in (1, 2):
            body = struct.pack("<HBBIIHHQ", 25, 0, 1, 0x7F, 0, 88, len(blob), 0) + (blob or b"\0")
            answer = ask(header(c.SESSION_SETUP, message_id=number) + body)
            assert status_of(answer) in (BAD, s.STATUS_LOGON_FAILURE, s.STATUS_ACCESS_DENIED), hex(status_of(answer))
        stream.close()


@pytest.mark.parametrize("field", ["lm", "nt", "domain", "user", "workstation", "key"])
@pytest.mark.parametrize("extreme", [(0xFFFF, 64), (16, 0xFFFFFFF0), (3, 64), (0, 0xFFFFFFFF)], ids=str)
def test_a_bad_ntlm_proof(server: KsmbdServer, other: None, field: str, extreme: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as bad:
        stream = bad.makefile("rwb")

        def ask(message: bytes) -> bytes:
            stream.write(nbss(message))
            stream.flush()
            return stream.read(int.from_bytes(stream.read(4), "big"))

        def log_on(number: int, session_id: int, blob: bytes) -> bytes:
            body = struct.pack("<HBBIIHHQ", 25, 0, 1, 0x7F, 0, 88, len(blob), 0) + blob
            return ask(header(c.SESSION_SETUP, message_id=number, session_id=session_id) + body)

        ask(negotiate([0x210, 0x302]))
        challenge = log_on(1, 0, b"NTLMSSP\0" + struct.pack("<II", 1, 0xE2088297) + bytes(16))
        assert status_of(challenge) == s.STATUS_MORE_PROCESSING_REQUIRED
        session_id = struct.unpack_from("<Q", challenge, 40)[0]
        names = ("lm", "nt", "domain", "user", "workstation", "key")
        fields = []
        for name in names:
            size, offset = extreme if name == field else (16, 88)
            fields += [size, size, offset]
        blob = struct.pack("<8sI", b"NTLMSSP\0", 3) + struct.pack("<" + "HHI" * 6, *fields)
        answer = log_on(2, session_id, blob + struct.pack("<I", 0xE2088297) + bytes(120))
        assert status_of(answer) in (BAD, s.STATUS_LOGON_FAILURE), hex(status_of(answer))
        stream.close()


# ------------------------------------------------------------------------------------------- requests after the log-on

NAME = "täst".encode("utf-16-le")


def create(offset: int = 120, length: int = len(NAME), context_offset: int = 0, context_length: int = 0,
           name: bytes = NAME, contexts: bytes = b"", disposition: int = 3, impersonation: int = 2,
           options: int = 0x40, access: int = 0x12019F) -> bytes:  # fmt: skip
    """CREATE (MS-SMB2 2.2.13)."""
    fixed = struct.pack("<HBBIQQIIIIIHHII", 57, 0, 0, impersonation, 0, 0, access, 0x80, 7, disposition, options,
                        offset, length, context_offset, context_length)  # fmt: skip
    return fixed + name + contexts


def with_contexts(contexts: bytes, offset: int = 128, length: int | None = None) -> bytes:
    return create(context_offset=offset, context_length=len(contexts) if length is None else length, contexts=contexts)


def create_context(name: bytes, data: bytes, following: int = 0, **fields: int) -> bytes:
    """SMB2_CREATE_CONTEXT (MS-SMB2 2.2.13.2), its name at 16, its data behind."""
    start = 16 + (len(name) + 7 & ~7)
    head = struct.pack(
        "<IHHHHI", following, fields.get("name_offset", 16), fields.get("name_length", len(name)), 0,
        fields.get("data_offset", start if data else 0), fields.get("data_length", len(data)),
    )  # fmt: skip
    return head + name + bytes(-len(name) % 8) + data


def read(file: bytes, length: int = 16, offset: int = 0, channel: int = 0, info: tuple[int, int] = (0, 0)) -> bytes:
    return struct.pack("<HBBIQ16sIIIHH", 49, 0x50, 0, length, offset, file, 0, channel, 0, *info) + b"\0"


def write(file: bytes, data_offset: int = 112, length: int = 4, offset: int = 0, channel: int = 0,
          info: tuple[int, int] = (0, 0)) -> bytes:  # fmt: skip
    return struct.pack("<HHIQ16sIIHHI", 49, data_offset, length, offset, file, channel, 0, *info, 0) + b"data"


def lock(file: bytes, count: int = 1, elements: bytes = struct.pack("<QQII", 0, 10, 0x12, 0)) -> bytes:
    return struct.pack("<HHI16s", 48, count, 0, file) + elements


def ioctl(file: bytes, code: int = 0x1401C4, offset: int = 120, length: int = 0, out: int = 1024,
          data: bytes = b"", flags: int = 1) -> bytes:  # fmt: skip
    """IOCTL; FSCTL_LMR_REQUEST_RESILIENCY's code is given so that none is special."""
    return struct.pack("<HHI16sIIIIIIII", 57, 0, code, file, offset, length, 0, 0, 0, out, flags, 0) + (data or b"\0")


def query_directory(file: bytes, info_class: int = 37, offset: int = 96, length: int = 2, size: int = 4096,
                    pattern: bytes = b"*\0") -> bytes:  # fmt: skip
    return struct.pack("<HBBI16sHHI", 33, info_class, 0, 0, file, offset, length, size) + pattern


def notify(file: bytes, size: int = 1024, filters: int = 1) -> bytes:
    return struct.pack("<HHI16sII", 32, 0, size, file, filters, 0)


def query_info(file: bytes, kind: int = 1, info_class: int = 18, size: int = 4096, offset: int = 0, length: int = 0,
               data: bytes = b"\0") -> bytes:  # fmt: skip
    return struct.pack("<HBBIHHIII16s", 41, kind, info_class, size, offset, 0, length, 0, 0, file) + data


def set_info(file: bytes, kind: int = 1, info_class: int = 20, length: int = 8, offset: int = 96,
             data: bytes = bytes(8)) -> bytes:  # fmt: skip
    return struct.pack("<HBBIHHI16s", 33, kind, info_class, length, offset, 0, 0, file) + data


def rename(name: bytes, length: int | None = None) -> bytes:
    """FileRenameInformation (MS-FSCC 2.4.42.2)."""
    return bytes(16) + struct.pack("<I", len(name) if length is None else length) + name


def full_ea(following: int, name_length: int, value_length: int, rest: bytes) -> bytes:
    return struct.pack("<IBBH", following, 0, name_length, value_length) + rest


def descriptor(owner: int = 0, group: int = 0, sacl: int = 0, dacl: int = 0, rest: bytes = b"",
               control: int = 0x8004) -> bytes:  # fmt: skip
    return struct.pack("<BBHIIII", 1, 0, control, owner, group, sacl, dacl) + rest


Body = Callable[[bytes, bytes], bytes]
SETS = 0x1F01FF
NOT_OPEN = b"\x55" * 16
SIZES = (s.STATUS_INFO_LENGTH_MISMATCH, BAD)
DATA_ERROR = (BAD, s.STATUS_EA_LIST_INCONSISTENT, s.STATUS_INFO_LENGTH_MISMATCH)

REQUESTS: dict[str, tuple[int, Body, tuple[int, ...]]] = {
    # what, its command, its body from an open file's and an open folder's FileId, the statuses that are right
    "unknown command": (0x13, lambda f, d: bytes(8), (BAD,)),
    "largest command": (0xFFFF, lambda f, d: bytes(8), (BAD,)),
    "a second negotiate": (c.NEGOTIATE, lambda f, d: negotiate([0x210])[64:], (END,)),
    "log-on: blob past the end": (
        c.SESSION_SETUP, lambda f, d: struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, 500, 0) + bytes(8), (BAD,)),
    "log-on: blob before the body": (
        c.SESSION_SETUP, lambda f, d: struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 4, 8, 0) + bytes(8), (BAD,)),
    "tree connect: path past the end": (
        c.TREE_CONNECT, lambda f, d: struct.pack("<HHHH", 9, 0, 72, 500) + bytes(20), (BAD, END)),
    "tree connect: path in the header": (
        c.TREE_CONNECT, lambda f, d: struct.pack("<HHHH", 9, 0, 0, 20) + bytes(20), (BAD, END)),
    "create: name past the end": (c.CREATE, lambda f, d: create(length=4000), (BAD,)),
    "create: name offset past the end": (c.CREATE, lambda f, d: create(offset=0xFFF0), (BAD,)),
    "create: name in the header": (c.CREATE, lambda f, d: create(offset=0), (BAD,)),
    "create: name of odd length": (c.CREATE, lambda f, d: create(length=7), (BAD, s.STATUS_OBJECT_NAME_INVALID)),
    "create: disposition": (c.CREATE, lambda f, d: create(disposition=6), (BAD,)),
    "create: impersonation": (c.CREATE, lambda f, d: create(impersonation=4), (s.STATUS_BAD_IMPERSONATION_LEVEL,)),
    "create: options at odds": (c.CREATE, lambda f, d: create(options=0x41), (BAD,)),
    "create: reserved options": (
        c.CREATE, lambda f, d: create(options=0xFFFFFFFF), (BAD, s.STATUS_NOT_SUPPORTED)),
    "create: contexts past the end": (c.CREATE, lambda f, d: with_contexts(bytes(16), length=5000), (BAD,)),
    "create: contexts misaligned": (c.CREATE, lambda f, d: with_contexts(bytes(24), offset=129, length=16), (BAD,)),
    "create: contexts before the body": (c.CREATE, lambda f, d: with_contexts(bytes(24), offset=8), (BAD,)),
    "create: half a context": (c.CREATE, lambda f, d: with_contexts(bytes(8)), (BAD,)),
    "create: context's name past the end": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), name_length=900)), (BAD,)),
    "create: context's name in its head": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), name_offset=2)), (BAD,)),
    "create: context's data past the end": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), data_length=0xFFFFFFFF)), (BAD,)),
    "create: context's data offset past the end": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), data_offset=0xFFF8)), (BAD,)),
    "create: next context past the end": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), following=4096)), (BAD,)),
    "create: next context is itself": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"RqLs", bytes(32), following=4)), (BAD,)),
    "create: durable v2 of another size": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"DH2Q", bytes(9))), (BAD, s.STATUS_SUCCESS)),
    "create: extended attributes cut": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"ExtA", full_ea(0, 200, 9, b"A\0B"))), DATA_ERROR),
    "create: security descriptor cut": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"SecD", descriptor(dacl=0xFFFF))),
        (BAD, s.STATUS_INVALID_SECURITY_DESCR)),
    "create: allocation size cut": (
        c.CREATE, lambda f, d: with_contexts(create_context(b"AlSi", bytes(3))), (BAD,)),
    "close: not open": (c.CLOSE, lambda f, d: struct.pack("<HHI16s", 24, 0, 0, NOT_OPEN), (s.STATUS_FILE_CLOSED,)),
    "flush: not open": (c.FLUSH, lambda f, d: struct.pack("<HHI16s", 24, 0, 0, NOT_OPEN), (s.STATUS_FILE_CLOSED,)),
    "read: not open": (c.READ, lambda f, d: read(NOT_OPEN), (s.STATUS_FILE_CLOSED,)),
    "read: longer than agreed": (c.READ, lambda f, d: read(f, 0xFFFFFFFF), (BAD,)),
    "read: more than it pays for": (c.READ, lambda f, d: read(f, 65537), (BAD,)),
    "read: from behind the largest offset": (
        c.READ, lambda f, d: read(f, 16, 0xFFFFFFFFFFFFFFFF), (BAD, s.STATUS_END_OF_FILE)),
    "read: from the largest offset": (
        c.READ, lambda f, d: read(f, 16, 0x7FFFFFFFFFFFFFFF), (BAD, s.STATUS_END_OF_FILE)),
    "read: a folder": (c.READ, lambda f, d: read(d), (s.STATUS_INVALID_DEVICE_REQUEST,)),
    "read: rdma without a channel": (c.READ, lambda f, d: read(f, channel=1, info=(112, 16)), (BAD,)),
    "write: not open": (c.WRITE, lambda f, d: write(NOT_OPEN), (s.STATUS_FILE_CLOSED,)),
    "write: data past the end": (c.WRITE, lambda f, d: write(f, length=5), (BAD,)),
    "write: data offset past the end": (c.WRITE, lambda f, d: write(f, 0xFFFF), (BAD,)),
    "write: data in the header": (c.WRITE, lambda f, d: write(f, 8), (BAD,)),
    "write: longer than agreed": (c.WRITE, lambda f, d: write(f, length=0xFFFFFFFF), (BAD,)),
    "write: behind the largest offset": (
        c.WRITE, lambda f, d: write(f, offset=0x7FFFFFFFFFFFFFFE), (BAD, s.STATUS_DISK_FULL)),
    "write: at no offset": (c.WRITE, lambda f, d: write(f, offset=0xFFFFFFFFFFFFFFF0), (BAD,)),
    "write: a folder": (c.WRITE, lambda f, d: write(d), (s.STATUS_INVALID_DEVICE_REQUEST, s.STATUS_ACCESS_DENIED)),
    "lock: no elements": (c.LOCK, lambda f, d: lock(f, 0), (BAD,)),
    "lock: more elements than are there": (c.LOCK, lambda f, d: lock(f, 0xFFFF), (BAD,)),
    "lock: lock and unlock": (c.LOCK, lambda f, d: lock(f, elements=struct.pack("<QQII", 0, 1, 7, 0)), (BAD,)),
    "lock: beyond the end of numbers": (
        c.LOCK, lambda f, d: lock(f, elements=struct.pack("<QQII", 2**64 - 1, 2, 0x12, 0)),
        (s.STATUS_INVALID_LOCK_RANGE,)),
    "unlock: what is not locked": (
        c.LOCK, lambda f, d: lock(f, elements=struct.pack("<QQII", 9, 9, 4, 0)), (s.STATUS_RANGE_NOT_LOCKED,)),
    "ioctl: unknown code": (c.IOCTL, lambda f, d: ioctl(f, 0x12345678), (s.STATUS_INVALID_DEVICE_REQUEST,)),
    "ioctl: no fsctl": (c.IOCTL, lambda f, d: ioctl(f, flags=0), (s.STATUS_NOT_SUPPORTED,)),
    "ioctl: input past the end": (c.IOCTL, lambda f, d: ioctl(f, 0x900C4, length=4000), (BAD,)),
    "ioctl: input in the header": (c.IOCTL, lambda f, d: ioctl(f, 0x900C4, offset=4, length=64), (BAD,)),
    "ioctl: output longer than agreed": (c.IOCTL, lambda f, d: ioctl(f, 0x1401D4, out=0xFFFFFFFF), (BAD,)),
    "ioctl: zero data cut": (c.IOCTL, lambda f, d: ioctl(f, 0x980C8, length=8, data=bytes(8)), (BAD,)),
    "ioctl: zero data the wrong way": (
        c.IOCTL, lambda f, d: ioctl(f, 0x980C8, length=16, data=struct.pack("<qq", 9, 3)), (BAD,)),
    "ioctl: copychunk of a lying count": (
        c.IOCTL, lambda f, d: ioctl(f, 0x1480F2, length=32, data=bytes(24) + struct.pack("<II", 0xFFFFFFFF, 0)),
        (BAD, s.STATUS_OBJECT_NAME_NOT_FOUND)),
    "ioctl: reparse point cut": (
        c.IOCTL, lambda f, d: ioctl(f, 0x900A4, length=6, data=bytes(6)),
        (BAD, s.STATUS_IO_REPARSE_DATA_INVALID, s.STATUS_INVALID_BUFFER_SIZE)),
    "ioctl: secure negotiate under 3.1.1": (
        c.IOCTL, lambda f, d: ioctl(b"\xff" * 16, 0x140204, length=26, data=bytes(26)), (END,)),
    "ioctl: pipe on a file": (
        c.IOCTL, lambda f, d: ioctl(f, 0x11C017, length=8, data=bytes(8)),
        (s.STATUS_INVALID_DEVICE_REQUEST, s.STATUS_NOT_SUPPORTED, BAD)),
    "list: pattern past the end": (c.QUERY_DIRECTORY, lambda f, d: query_directory(d, length=800), (BAD,)),
    "list: pattern in the header": (c.QUERY_DIRECTORY, lambda f, d: query_directory(d, offset=2), (BAD,)),
    "list: pattern of odd length": (
        c.QUERY_DIRECTORY, lambda f, d: query_directory(d, length=1), (BAD, s.STATUS_OBJECT_NAME_INVALID)),
    "list: unknown class": (c.QUERY_DIRECTORY, lambda f, d: query_directory(d, 99), (s.STATUS_INVALID_INFO_CLASS,)),
    "list: a file": (c.QUERY_DIRECTORY, lambda f, d: query_directory(f), (BAD,)),
    "list: longer than agreed": (c.QUERY_DIRECTORY, lambda f, d: query_directory(d, size=0xFFFFFFFF), (BAD,)),
    "list: no room": (c.QUERY_DIRECTORY, lambda f, d: query_directory(d, size=1), SIZES),
    "watch: a file": (c.CHANGE_NOTIFY, lambda f, d: notify(f), (BAD,)),
    "watch: longer than agreed": (c.CHANGE_NOTIFY, lambda f, d: notify(d, 0xFFFFFFFF), (BAD,)),
    "query: unknown kind": (c.QUERY_INFO, lambda f, d: query_info(f, 9), (BAD, s.STATUS_INVALID_INFO_CLASS)),
    "query: unknown class": (c.QUERY_INFO, lambda f, d: query_info(f, 1, 200), (s.STATUS_INVALID_INFO_CLASS,)),
    "query: unknown file-system class": (
        c.QUERY_INFO, lambda f, d: query_info(f, 2, 200), (s.STATUS_INVALID_INFO_CLASS,)),
    "query: no room": (c.QUERY_INFO, lambda f, d: query_info(f, 1, 5, 3), (s.STATUS_INFO_LENGTH_MISMATCH,)),
    "query: longer than agreed": (c.QUERY_INFO, lambda f, d: query_info(f, size=0xFFFFFFFF), (BAD,)),
    "query: input past the end": (
        c.QUERY_INFO, lambda f, d: query_info(f, 1, 15, offset=104, length=5000), (BAD,)),
    "query: input in the header": (
        c.QUERY_INFO, lambda f, d: query_info(f, 1, 15, offset=3, length=9, data=bytes(9)), (BAD,)),
    "query: attribute names that overlap": (
        c.QUERY_INFO,
        lambda f, d: query_info(f, 1, 15, offset=104, length=9, data=struct.pack("<IB", 3, 200) + b"ABCD"), DATA_ERROR),
    "set: unknown kind": (c.SET_INFO, lambda f, d: set_info(f, 9), (BAD, s.STATUS_INVALID_INFO_CLASS)),
    "set: unknown class": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 200), (s.STATUS_INVALID_INFO_CLASS, s.STATUS_NOT_SUPPORTED)),
    "set: data past the end": (c.SET_INFO, lambda f, d: set_info(f, length=4000), (BAD,)),
    "set: data in the header": (c.SET_INFO, lambda f, d: set_info(f, offset=0), (BAD,)),
    "set: longer than agreed": (c.SET_INFO, lambda f, d: set_info(f, length=0xFFFFFFFF), (BAD,)),
    "set: size too short": (c.SET_INFO, lambda f, d: set_info(f, length=4), SIZES),
    "set: negative size": (
        c.SET_INFO, lambda f, d: set_info(f, data=struct.pack("<q", -5)), (BAD,)),
    "set: basic too short": (c.SET_INFO, lambda f, d: set_info(f, 1, 4), SIZES),
    "set: times before all times": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 4, 40, data=struct.pack("<qqqqII", -9, -9, -9, -9, 0, 0)), (BAD,)),
    "set: rename to a lying length": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 10, 24, data=rename(b"a\0b\0", 0x7FFFFFF0)),
        (*SIZES, s.STATUS_ACCESS_DENIED)),
    "set: rename to an odd length": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 10, 23, data=rename(b"a\0b")),
        (*SIZES, s.STATUS_ACCESS_DENIED, s.STATUS_OBJECT_NAME_INVALID)),
    "set: rename to nothing": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 10, 20, data=rename(b"")),
        (*SIZES, s.STATUS_ACCESS_DENIED, s.STATUS_OBJECT_NAME_INVALID)),
    "set: attributes that overlap": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 15, 16, data=full_ea(3, 5, 9, bytes(8))), DATA_ERROR),
    "set: attribute name past the end": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 15, 16, data=full_ea(0, 250, 0, bytes(8))), DATA_ERROR),
    "set: attribute value past the end": (
        c.SET_INFO, lambda f, d: set_info(f, 1, 15, 16, data=full_ea(0, 2, 0xFFFF, b"AB\0" + bytes(5))), DATA_ERROR),
    "set: security descriptor cut": (
        c.SET_INFO, lambda f, d: set_info(f, 3, 0, 10, data=bytes(10)),
        (BAD, s.STATUS_INVALID_SECURITY_DESCR, s.STATUS_ACCESS_DENIED)),
    "oplock break: not open": (
        c.OPLOCK_BREAK, lambda f, d: struct.pack("<HBBI16s", 24, 0, 0, 0, NOT_OPEN), (s.STATUS_FILE_CLOSED,)),
    "oplock break: none was sent": (
        c.OPLOCK_BREAK, lambda f, d: struct.pack("<HBBI16s", 24, 0, 0, 0, f), (BAD,
                                                                              s.STATUS_INVALID_OPLOCK_PROTOCOL)),
    "oplock break: unknown level": (
        c.OPLOCK_BREAK, lambda f, d: struct.pack("<HBBI16s", 24, 0x77, 0, 0, f),
        (BAD, s.STATUS_INVALID_OPLOCK_PROTOCOL)),
    "lease break: unknown lease": (
        c.OPLOCK_BREAK, lambda f, d: struct.pack("<HHI16sIQ", 36, 0, 0, NOT_OPEN, 0, 0),
        (s.STATUS_OBJECT_NAME_NOT_FOUND, BAD)),
}  # fmt: skip


class Victim:
    """The client that misbehaves: it comes back with its open file and folder when its connection ended."""

    def __init__(self, server: KsmbdServer) -> None:
        self.server = server
        self.client: RawClient | None = None
        self.file = self.folder = b""

    def ready(self) -> RawClient:
        if self.client is None:
            self.client = RawClient(self.server)
            self.file = self.client.open("victim", access=SETS)
            self.folder = self.client.open("", access=0x120089, disposition=c.FILE_OPEN, options=1)
        self.client.want_credits(16)
        return self.client

    def status(self, command: int, body: bytes, **fields: int) -> int:
        """The answer's status, END where the connection ended."""
        client = self.ready()
        try:
            return client.status(command, body, **fields)
        except ConnectionEnded:
            self.end()
            return END

    def end(self) -> None:
        if self.client is not None:
            self.client.socket.close()
            self.client = None


@pytest.fixture(scope="module")
def shared_victim(server: KsmbdServer) -> Iterator[Victim]:
    victim = Victim(server)
    yield victim
    victim.end()


@pytest.fixture
def victim(shared_victim: Victim, other: None) -> Victim:
    shared_victim.ready()
    return shared_victim


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request(victim: Victim, name: str) -> None:
    command, body, expected = REQUESTS[name]
    status = victim.status(command, body(victim.file, victim.folder))
    assert status in expected, f"{status & 0xFFFFFFFF:08X}, not {[f'{one & 0xFFFFFFFF:08X}' for one in expected]}"
    if status != END:
        assert victim.status(c.ECHO, b"\4\0\0\0") == 0


VALID: dict[int, Body] = {
    c.SESSION_SETUP: lambda f, d: struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, 8, 0) + b"NTLMSSP\0",
    c.TREE_CONNECT: lambda f, d: struct.pack("<HHHH", 9, 0, 72, 28) + r"\\h\missing ".encode("utf-16-le"),
    c.CREATE: lambda f, d: create(),
    c.CLOSE: lambda f, d: struct.pack("<HHI16s", 24, 0, 0, NOT_OPEN),
    c.FLUSH: lambda f, d: struct.pack("<HHI16s", 24, 0, 0, f),
    c.READ: lambda f, d: read(f),
    c.WRITE: lambda f, d: write(f),
    c.LOCK: lambda f, d: lock(f),
    c.IOCTL: lambda f, d: ioctl(f, 0x900C0, length=0),
    c.QUERY_DIRECTORY: lambda f, d: query_directory(d),
    c.QUERY_INFO: lambda f, d: query_info(f),
    c.SET_INFO: lambda f, d: set_info(f),
    c.OPLOCK_BREAK: lambda f, d: struct.pack("<HBBI16s", 24, 0, 0, 0, NOT_OPEN),
    c.ECHO: lambda f, d: b"\4\0\0\0",
    c.CHANGE_NOTIFY: lambda f, d: notify(f),
    c.TREE_DISCONNECT: lambda f, d: b"\4\0\0\0",
    c.LOGOFF: lambda f, d: b"\4\0\0\0",
}
FIXED = {c.SESSION_SETUP: 24, c.TREE_CONNECT: 8, c.CREATE: 56, c.READ: 48, c.WRITE: 48, c.LOCK: 48, c.IOCTL: 56,
         c.QUERY_DIRECTORY: 32, c.QUERY_INFO: 40, c.SET_INFO: 32, c.CLOSE: 24, c.FLUSH: 24, c.OPLOCK_BREAK: 24,
         c.ECHO: 4, c.CHANGE_NOTIFY: 32, c.TREE_DISCONNECT: 4, c.LOGOFF: 4}  # fmt: skip
"""Bytes of each request's fixed part."""


@pytest.mark.parametrize("command", VALID, ids=lambda command: c.COMMAND_NAMES[command])
def test_another_structure_size_or_a_cut_request(victim: Victim, command: int) -> None:
    """MS-SMB2 3.3.5.2.6: STATUS_INVALID_PARAMETER for each wrong size and each place to cut."""
    body = VALID[command](victim.file, victim.folder)
    size = int.from_bytes(body[:2], "little")
    for wrong in (0, size - 1, size + 1, size << 8, 0xFFFF):
        assert victim.status(command, struct.pack("<H", wrong) + body[2:]) == BAD, wrong
    for length in range(FIXED[command]):
        assert victim.status(command, body[:length]) == BAD, length
    assert victim.status(c.ECHO, b"\4\0\0\0") == 0


EXTREMES = (b"\0\0", b"\xff\xff", b"\xff\x7f", b"\0\x80", b"\1\0")


@pytest.mark.parametrize("command", VALID, ids=lambda command: c.COMMAND_NAMES[command])
def test_each_field_of_each_request_at_its_extremes(victim: Victim, command: int) -> None:
    """Whatever they say: an answer, or the end of this connection."""
    ended = 0
    for offset in range(2, FIXED[command], 2):
        for extreme in EXTREMES:
            for wide in (2, 4):
                victim.ready()
                body = bytearray(VALID[command](victim.file, victim.folder))
                body[offset : offset + wide] = (extreme * 2)[:wide] if offset + wide <= FIXED[command] else extreme
                if command == c.CHANGE_NOTIFY and bytes(body[8:24]) == victim.folder:
                    continue
                ended += victim.status(command, bytes(body)) == END
                if command in (c.LOGOFF, c.TREE_DISCONNECT):
                    victim.end()
    assert ended <= 4, "these requests are malformed, but none of them is a reason to throw a client out"


HEADERS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "unknown session": ({"session_id": 0x1234567}, (s.STATUS_USER_SESSION_DELETED,)),
    "no session": ({"session_id": 0}, (s.STATUS_USER_SESSION_DELETED,)),
    "unknown tree": ({"tree_id": 0xFFFFFF}, (s.STATUS_NETWORK_NAME_DELETED,)),
    "response flag": ({"flags": 1}, (BAD, END)),
    "async flag": ({"flags": 2}, (BAD, END)),
    "related to nothing": ({"flags": 4}, (BAD,)),
    "forged signature": ({"flags": 8, "signature": b"forged signature"}, (s.STATUS_ACCESS_DENIED,)),
    "unknown flags": ({"flags": 0x00F00F00}, (BAD, END, 0)),
    "another header size": ({"structure_size": 63}, (END,)),
    "another protocol": ({"protocol_id": b"\xfeSMA"}, (END,)),
    "smb1": ({"protocol_id": b"\xffSMB"}, (END,)),
    "transform": ({"protocol_id": b"\xfdSMB"}, (END,)),
    "compressed": ({"protocol_id": b"\xfcSMB"}, (END,)),
    "message id used": ({"message_id": 1}, (END,)),
    "message id far ahead": ({"message_id": 1 << 40}, (END,)),
    "largest message id": ({"message_id": 0xFFFFFFFFFFFFFFFF}, (END,)),
    "more credits than it has": ({"credit_charge": 0xFFFF}, (END,)),
    "next command past the end": ({"next_command": 0x7FFFFFF8}, (END,)),
    "next command misaligned": ({"next_command": 66}, (END,)),
    "next command inside the header": ({"next_command": 16}, (END,)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header(victim: Victim, name: str) -> None:
    fields, expected = HEADERS[name]
    client = victim.ready()
    if name == "message id used":
        client.ask(c.ECHO, b"\4\0\0\0")
    status = victim.status(c.FLUSH, struct.pack("<HHI16s", 24, 0, 0, victim.file), **fields)
    assert status in expected, f"{status & 0xFFFFFFFF:08X}"
    victim.end()


@pytest.mark.parametrize("broken", ["tag", "nonce", "size", "session", "flags", "cut"])
def test_a_bad_encrypted_frame(server: KsmbdServer, other: None, broken: str) -> None:
    with RawClient(server, encrypt=True) as client:
        assert client.status(c.ECHO, b"\4\0\0\0") == 0
        frame = bytearray(client.wire(client.message(c.ECHO, b"\4\0\0\0")))
        where = {"tag": 4 + 8, "nonce": 4 + 20, "size": 4 + 36, "session": 4 + 44, "flags": 4 + 42}
        if broken == "cut":
            frame = bytearray(nbss(bytes(frame[4:80])))
        else:
            frame[where[broken]] ^= 0x55
        with pytest.raises(ConnectionEnded):
            client.post_bytes(bytes(frame))
            client.frame()


def test_a_frame_that_is_never_finished(server: KsmbdServer, other: None) -> None:
    """Half a frame, then silence: the others go on; then the rest comes, and it is answered."""
    with RawClient(server) as slow, RawClient(server) as quick:
        file = slow.open("slow")
        frame = slow.wire(slow.message(c.WRITE, slow.write_body(file, 0, 60_000) + bytes(60_000)))
        for end in (3, 4, 60, 200, 30_000):
            slow.post_bytes(frame[:end])
            frame = frame[end:]
            assert quick.status(c.ECHO, b"\4\0\0\0") == 0
        slow.post_bytes(frame)
        assert status_of(slow.frame()) == 0
    assert (server.share_path / "slow").stat().st_size == 60_000


def test_everything_is_given_back(server: KsmbdServer, shared_victim: Victim, bystander: RawClient) -> None:
    shared_victim.end()
    bystander.socket.close()
    server.wait_stats("\nconnections: 0\nsessions: 0\nopens: 0\n")
