# SPDX-License-Identifier: GPL-2.0-or-later
"""DCE/RPC: the association by bytes, and the services by impacket's client codecs as an independent decoder."""
from __future__ import annotations

import contextlib
import struct
import time
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.dcerpc.v5 import rpcrt, srvs, wkst
from impacket.dcerpc.v5.dtypes import NULL
from impacket.uuid import uuidtup_to_bin
from mountd_doubles import FakeServer
from rpc_doubles import Transport

from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError
from mountd.rpc import pdu, srvsvc, wkssvc
from mountd.rpc.facts import decode
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import NDR32, NDR64, Fault, Pfc, Ptype, Reason, Result, Syntax
from mountd.rpc.pipe import INPUT_MAX, OUTPUT_MAX, Pipe, PipeBroken
from mountd.rpc.service import Caller, Interface
from mountd.rpc.telling import facts, level_of

SHARES = """
[global]
netbios name = BÄR
workgroup = WALD
server string = a server
[docs]
path = /srv/docs
comment = Ünïcode
max connections = 7
[hidden]
path = /srv/hidden
browseable = no
[pathless]
[IPC$]
admin users = ann
"""


class View(FakeServer):
    """The daemon, for services."""

    def __init__(self, text: str = SHARES) -> None:
        super().__init__(text)


def pipe(
    account: str = "bob", restricted: bool = False, interface: Interface = srvsvc.INTERFACE, view: View | None = None
) -> Pipe:
    server = view or View()
    level = level_of(server, account, restricted)
    return Pipe((interface,), Caller(lambda: decode(facts(server, level).encode()), level))


def messages(p: Pipe) -> list[bytes]:
    """All that waits to be read."""
    found = []
    while (item := p.read(1 << 20)) is not None:
        found.append(item[0])
    return found


# ---------------------------------------------------------------------------------------------- the services


def client(p: Pipe, module: Any = srvs) -> Any:
    dce = rpcrt.DCERPC_v5(Transport(p))
    dce.connect()
    dce.bind(module.MSRPC_UUID_SRVS if module is srvs else module.MSRPC_UUID_WKST)
    return dce


def share_enum(
    dce: Any, level: int, preferred: int = 0xFFFFFFFF, resume: int | None = None, sticky: bool = False
) -> Any:
    request = srvs.NetrShareEnumSticky() if sticky else srvs.NetrShareEnum()
    request["ServerName"] = "\\\\server\0"
    request["InfoStruct"]["Level"] = level
    request["InfoStruct"]["ShareInfo"]["tag"] = level
    request["InfoStruct"]["ShareInfo"][f"Level{level}"]["Buffer"] = NULL
    request["PreferedMaximumLength"] = preferred
    request["ResumeHandle"] = NULL if resume is None else resume
    return dce.request(request, checkError=False)


@pytest.mark.parametrize("level", [0, 1, 2, 501, 502, 503])
def test_share_enum(level: int) -> None:
    answer = share_enum(client(pipe()), level)
    assert (answer["ErrorCode"], answer["TotalEntries"]) == (0, 2)
    rows = answer["InfoStruct"]["ShareInfo"][f"Level{level}"]["Buffer"]
    prefix = f"shi{level}"
    assert [row[f"{prefix}_netname"] for row in rows] == ["docs\0", "IPC$\0"]
    if level:
        assert [row[f"{prefix}_type"] for row in rows] == [0, 0x80000003]
        assert rows[0][f"{prefix}_remark"] == "Ünïcode\0"
    if level in (2, 502, 503):
        assert rows[0][f"{prefix}_path"] == "C:\\srv\\docs\0"
        assert (rows[0][f"{prefix}_max_uses"], rows[0][f"{prefix}_current_uses"]) == (7, 0)


def test_share_enum_sticky() -> None:
    assert share_enum(client(pipe()), 1, sticky=True)["TotalEntries"] == 2
    assert share_enum(client(pipe()), 501, sticky=True)["ErrorCode"] == 124


@pytest.mark.parametrize("level, error", [(0, 0), (1, 0), (501, 0), (2, 5), (502, 5), (503, 5)])
def test_what_guests_see(level: int, error: int) -> None:
    assert share_enum(client(pipe("", restricted=True)), level)["ErrorCode"] == error


def test_share_enum_in_pages() -> None:
    many = "[global]\n" + "".join(f"[share{i:03}]\npath = /s\n" for i in range(100))
    dce = client(pipe(view=View(many)))
    names: list[str] = []
    resume, pages = 0, 0
    while True:
        answer = share_enum(dce, 1, preferred=600, resume=resume)
        rows = answer["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]
        assert answer["TotalEntries"] == 101 - len(names)
        assert rows
        names += [row["shi1_netname"] for row in rows]
        pages += 1
        if answer["ErrorCode"] == 0:
            break
        assert answer["ErrorCode"] == 234
        resume = answer["ResumeHandle"]
    assert len(names) == len(set(names)) == 101
    assert pages > 5


def test_long_answer_comes_in_fragments() -> None:
    many = "[global]\n" + "".join(f"[share{i:03}]\npath = /s\ncomment = {'x' * 100}\n" for i in range(200))
    dce = client(pipe(view=View(many)))
    assert share_enum(dce, 1)["TotalEntries"] == 201
    assert dce.get_rpc_transport().fragments > 5


def test_request_in_fragments() -> None:
    dce = client(pipe())
    dce.set_max_fragment_size(16)
    assert share_enum(dce, 1)["TotalEntries"] == 2


@pytest.mark.parametrize("level", [0, 1, 2, 501, 502, 503])
@pytest.mark.parametrize("name", ["docs", "DOCS", "hidden", "IPC$"])
def test_share_get_info(level: int, name: str) -> None:
    answer = srvs.hNetrShareGetInfo(client(pipe()), name + "\0", level)
    info = answer["InfoStruct"][f"ShareInfo{level}"]
    assert info[f"shi{level}_netname"].rstrip("\0").lower() == name.lower()


@pytest.mark.parametrize(("host", "flags"), [("yes", 3), ("no", 0)])
def test_a_dfs_root_says_that_it_is_one(host: str, flags: int) -> None:
    view = View(f"[global]\nhost msdfs = {host}\n[docs]\npath = /srv\nmsdfs root = yes\n")
    info = srvs.hNetrShareGetInfo(client(pipe(view=view)), "docs\0", 1005)["InfoStruct"]["ShareInfo1005"]
    assert info["shi1005_flags"] == flags


def test_share_get_info_1005() -> None:
    answer = srvs.hNetrShareGetInfo(client(pipe()), "docs\0", 1005)
    assert answer["InfoStruct"]["ShareInfo1005"]["shi1005_flags"] == 0


@pytest.mark.parametrize("name, level, error", [("nope", 1, 2310), ("pathless", 1, 2310), ("docs", 77, 124)])
def test_share_get_info_errors(name: str, level: int, error: int) -> None:
    stub = NdrWriter()
    stub.pointer(None)
    stub.string(name)
    stub.u32(level)
    status = struct.unpack("<I", call(bound(), 16, bytes(stub.data))[-4:])[0]
    assert status == error


@pytest.mark.parametrize("level", [100, 101, 102])
def test_server_get_info(level: int) -> None:
    info = srvs.hNetrServerGetInfo(client(pipe()), level)["InfoStruct"][f"ServerInfo{level}"]
    assert info[f"sv{level}_name"] == "BÄR\0"
    assert info[f"sv{level}_platform_id"] == 500
    if level > 100:
        assert info[f"sv{level}_comment"] == "a server\0"
    if level == 102:
        assert (info["sv102_users"], info["sv102_userpath"]) == (1024, "C:\\\0")


def test_more_about_the_server() -> None:
    info = srvs.hNetrServerGetInfo(client(pipe("bob")), 103)["InfoStruct"]["ServerInfo103"]
    assert (info["sv103_name"], info["sv103_userpath"], info["sv103_capabilities"]) == ("BÄR\0", "C:\\\0", 0)
    for level in (502, 503):
        info = srvs.hNetrServerGetInfo(client(pipe("ann")), level)["InfoStruct"][f"ServerInfo{level}"]
        assert (info[f"sv{level}_sessusers"], info[f"sv{level}_lmannounce"]) == (1024, 0)
        with pytest.raises(rpcrt.DCERPCException) as caught:
            srvs.hNetrServerGetInfo(client(pipe("bob")), level)
        assert caught.value.get_error_code() == 5
    assert (info["sv503_domain"], info["sv503_maxfreeconnections"]) == ("WALD\0", 2)


@pytest.mark.parametrize(("name", "kind", "flags", "error"), [
    ("docs", 9, 0, 0), ("", 9, 0, 123), ("a/b", 9, 0, 123), ("x" * 80, 9, 0, 0), ("x" * 81, 9, 0, 123),
    ("x" * 13, 9, 0x80000000, 123), ("x" * 12, 9, 0x80000000, 0), ("x" * 16, 4, 0, 123), ("a*b", 1, 0, 123),
    ("a*b", 2, 0, 0), ("", 12, 0, 0), ("x", 0, 0, 87), ("x", 14, 0, 87), ("x", 9, 4, 87),
])  # fmt: skip
def test_names_that_are_valid(name: str, kind: int, flags: int, error: int) -> None:
    request = srvs.NetprNameValidate()
    request["ServerName"], request["Name"], request["NameType"], request["Flags"] = NULL, name + "\0", kind, flags
    assert client(pipe()).request(request, checkError=False)["ErrorCode"] == error


@pytest.mark.parametrize(("one", "other", "kind", "result"), [
    ("Docs", "dOCS", 9, 0), ("docs", "doc", 9, 1), ("Secret", "secret", 2, 1), ("a/b", "a/b", 9, 123),
])  # fmt: skip
def test_names_that_are_the_same(one: str, other: str, kind: int, result: int) -> None:
    request = srvs.NetprNameCompare()
    request["ServerName"], request["Name1"], request["Name2"] = NULL, one + "\0", other + "\0"
    request["NameType"], request["Flags"] = kind, 0
    assert client(pipe()).request(request, checkError=False)["ErrorCode"] == result


def test_remote_tod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000 * 10**9 + 370_000_000)
    info = srvs.hNetrRemoteTOD(client(pipe()))["BufferPtr"]
    assert (info["tod_elapsedt"], info["tod_hunds"]) == (1_700_000_000, 37)
    names = ("year", "month", "day", "hours", "mins", "secs", "weekday")
    assert [info[f"tod_{name}"] for name in names] == [2023, 11, 14, 22, 13, 20, 2]


def busy_view() -> View:
    view = View()
    view.sessions.connect(1, 5, 1, "docs", "bob", "192.0.2.9", False)
    view.sessions.connect(1, 5, 2, "ipc$", "bob", "192.0.2.9", False)
    view.sessions.connect(2, 6, 1, "docs", "", "192.0.2.10", True)
    return view


@pytest.mark.parametrize("level, account", [(100, "bob"), (101, "bob"), (102, "ann")])
def test_wksta_get_info(level: int, account: str) -> None:
    dce = client(pipe(account, interface=wkssvc.INTERFACE, view=busy_view()), wkst)
    info = wkst.hNetrWkstaGetInfo(dce, level)["WkstaInfo"][f"WkstaInfo{level}"]
    assert info[f"wki{level}_computername"] == "BÄR\0"
    assert info[f"wki{level}_langroup"] == "WALD\0"
    if level == 102:
        assert info["wki102_logged_on_users"] == 2


@pytest.mark.parametrize("level, account, restricted, error", [
    (101, "", True, 5),
    (102, "bob", False, 5),
    (99, "ann", False, 124),
])  # fmt: skip
def test_wksta_get_info_errors(level: int, account: str, restricted: bool, error: int) -> None:
    p = bound(pipe(account, restricted, wkssvc.INTERFACE), wkssvc.INTERFACE.syntax)
    assert call(p, 0, struct.pack("<II", 0, level))[-4:] == struct.pack("<I", error)


# ------------------------------------------------------------------------------------------- the association


def bind(
    contexts: list[tuple[int, Syntax, list[Syntax]]], ptype: int = Ptype.BIND, xmit: int = 4280, recv: int = 4280
) -> bytes:
    body = struct.pack("<HHIBBH", xmit, recv, 0, len(contexts), 0, 0)
    for number, abstract, transfers in contexts:
        body += struct.pack("<HBB", number, len(transfers), 0) + abstract.encode()
        body += b"".join(transfer.encode() for transfer in transfers)
    return pdu.encode(Ptype(ptype), pdu.WHOLE, 1, body)


def bound(p: Pipe | None = None, syntax: Syntax = srvsvc.INTERFACE.syntax) -> Pipe:
    p = p or pipe()
    p.write(bind([(0, syntax, [NDR32])]))
    assert len(messages(p)) == 1
    return p


def request(opnum: int, stub: bytes, context: int = 0, flags: int = 3, call_id: int = 2) -> bytes:
    return pdu.encode(Ptype.REQUEST, Pfc(flags), call_id, struct.pack("<IHH", len(stub), context, opnum) + bytes(stub))


def call(p: Pipe, opnum: int, stub: bytes) -> bytes:
    """The stub of a response that comes in one fragment."""
    p.write(request(opnum, stub))
    (answer,) = messages(p)
    assert answer[2] == Ptype.RESPONSE
    return answer[24:]


def fault(data: bytes) -> int:
    assert data[2] == Ptype.FAULT
    assert struct.unpack_from("<H", data, 8)[0] == len(data) == 32
    return int(struct.unpack_from("<I", data, 24)[0])


def results(ack: bytes) -> list[tuple[int, int, bytes]]:
    address = struct.unpack_from("<H", ack, 24)[0]
    offset = -(-(26 + address) // 4) * 4
    count = ack[offset]
    return [struct.unpack_from("<HH20s", ack, offset + 4 + 24 * i) for i in range(count)]


_PREFIX = uuid.UUID("6cb71c2c-9812-4540-0000-000000000000").bytes_le[:8]
FEATURES = Syntax(uuid.UUID(bytes_le=_PREFIX + b"\3" + bytes(7)), 1)
OTHER = Syntax(uuid.UUID(int=7), 1)


def test_bind_results() -> None:
    ours = srvsvc.INTERFACE.syntax
    p = pipe()
    p.write(bind([
        (0, ours, [NDR32]),
        (1, ours, [NDR64]),
        (2, ours, [FEATURES]),
        (3, OTHER, [NDR32]),
        (4, Syntax(ours.uuid, 4), [NDR32]),
        (5, ours, [NDR64, NDR32]),
    ]))  # fmt: skip
    (ack,) = messages(p)
    assert ack[2] == Ptype.BIND_ACK
    assert struct.unpack_from("<HH", ack, 16) == (4280, 4280)
    assert ack[26 : 26 + 13] == b"\\PIPE\\srvsvc\0"
    none = bytes(20)
    assert results(ack) == [
        (Result.ACCEPTANCE, 0, NDR32.encode()),
        (Result.PROVIDER_REJECTION, Reason.TRANSFER_SYNTAXES_NOT_SUPPORTED, none),
        (Result.NEGOTIATE_ACK, 2, none),
        (Result.PROVIDER_REJECTION, Reason.ABSTRACT_SYNTAX_NOT_SUPPORTED, none),
        (Result.PROVIDER_REJECTION, Reason.ABSTRACT_SYNTAX_NOT_SUPPORTED, none),
        (Result.ACCEPTANCE, 0, NDR32.encode()),
    ]
    for context, refused in ((0, False), (1, True), (5, False)):
        p.write(request(28, bytes(4), context))
        (answer,) = messages(p)
        assert (answer[2] == Ptype.FAULT) is refused
        if refused:
            assert fault(answer) == Fault.UNK_IF


def test_impacket_binds_with_ndr64_refused() -> None:
    dce = rpcrt.DCERPC_v5(Transport(pipe()))
    dce.connect()
    with pytest.raises(rpcrt.DCERPCException):
        dce.bind(srvs.MSRPC_UUID_SRVS, transfer_syntax=("71710533-beba-4937-8319-b5dbef9ccc36", "1.0"))


def test_alter_context() -> None:
    p = bound()
    p.write(bind([(9, srvsvc.INTERFACE.syntax, [NDR32])], Ptype.ALTER_CONTEXT))
    (answer,) = messages(p)
    assert answer[2] == Ptype.ALTER_CONTEXT_RESP
    assert results(answer) == [(0, 0, NDR32.encode())]
    p.write(request(28, bytes(4), 9))
    assert messages(p)[0][2] == Ptype.RESPONSE


@pytest.mark.parametrize("first", [[Ptype.ALTER_CONTEXT], [Ptype.BIND, Ptype.BIND]])
def test_bind_out_of_order_ends_the_association(first: list[int]) -> None:
    p = pipe()
    for ptype in first:
        p.write(bind([(0, srvsvc.INTERFACE.syntax, [NDR32])], ptype))
    answers = []
    with pytest.raises(PipeBroken):
        while True:
            item = p.read(65536)
            assert item is not None
            answers.append(item[0])
    assert fault(answers[-1]) == Fault.PROTO_ERROR
    with pytest.raises(PipeBroken):
        p.write(b"x")


def test_unbound_request() -> None:
    p = pipe()
    p.write(request(15, b""))
    assert fault(messages(p)[0]) == Fault.UNK_IF


def test_unknown_operation() -> None:
    p = bound()
    p.write(request(999, b""))
    assert fault(messages(p)[0]) == Fault.OP_RNG_ERROR
    p.write(request(28, bytes(4)))
    assert messages(p)[0][2] == Ptype.RESPONSE, "the association goes on"


@pytest.mark.parametrize("stub", [
    b"",
    bytes(3),
    struct.pack("<IIII", 1, 5, 0, 5),
    struct.pack("<IIII", 1, 1, 0, 5) + bytes(10),
    struct.pack("<IIII", 1, 0xFFFFFFFF, 0, 0xFFFFFFFF),
    struct.pack("<IIII", 1, 5, 3, 5) + bytes(20),
    struct.pack("<III", 0, 1, 2),
    struct.pack("<IIIIII", 0, 1, 1, 1, 5, 1) + struct.pack("<I", 5) + bytes(60),
])  # fmt: skip
def test_malformed_stub(stub: bytes) -> None:
    p = bound()
    p.write(request(15, stub))
    assert fault(messages(p)[0]) == Fault.BAD_STUB_DATA
    p.write(request(28, bytes(4)))
    assert messages(p)[0][2] == Ptype.RESPONSE


def test_authentication_is_refused() -> None:
    p = pipe()
    plain = bytearray(bind([(0, srvsvc.INTERFACE.syntax, [NDR32])]) + bytes(16))
    struct.pack_into("<HH", plain, 8, len(plain), 8)
    p.write(bytes(plain))
    found = p.read(100)
    assert found is not None and found[0][2] == Ptype.BIND_NAK
    assert struct.unpack_from("<H", found[0], 16)[0] == pdu.NAK_AUTHENTICATION_TYPE
    with pytest.raises(PipeBroken):
        p.read(100)


def broken(p: Pipe) -> bool:
    """Whether the association has ended, its answers read."""
    try:
        messages(p)
        p.write(b"")
    except PipeBroken:
        return True
    return False


@pytest.mark.parametrize("data", [
    b"\x04" + request(28, b"")[1:],
    request(28, b"")[:4] + b"\x00" + request(28, b"")[5:],
    request(28, b"")[:8] + b"\x0f\x00" + request(28, b"")[10:],
    pdu.encode(Ptype.RESPONSE, pdu.WHOLE, 1, bytes(8)),
    pdu.encode(Ptype.REQUEST, pdu.WHOLE, 1, bytes(4)),
    request(28, b"", flags=2),
    request(28, b"", flags=1) + request(28, b"", flags=1),
    request(28, b"", flags=1) + request(28, b"", flags=2, call_id=3),
])  # fmt: skip
def test_broken_protocol_ends_the_association(data: bytes) -> None:
    p = bound()
    p.write(data)
    assert broken(p)


def test_request_that_never_ends_is_bounded() -> None:
    p = bound()
    part = bytes(60000)
    p.write(request(15, part, flags=1))
    for _ in range(INPUT_MAX // len(part)):
        p.write(request(15, part, flags=0))
    assert broken(p)


def test_answers_that_nobody_reads_are_bounded() -> None:
    p = bound()
    for _ in range(OUTPUT_MAX):
        p.write(request(28, bytes(4)))
    p.write(request(28, bytes(4)))
    with pytest.raises(PipeBroken):
        p.write(b"")


def test_orphaned_call_is_given_up() -> None:
    p = bound()
    p.write(request(28, b"", flags=1) + pdu.encode(Ptype.ORPHANED, pdu.WHOLE, 2, b""))
    p.write(request(28, bytes(4)))
    assert messages(p)[0][2] == Ptype.RESPONSE


def test_byte_by_byte() -> None:
    p = pipe()
    for data in (bind([(0, srvsvc.INTERFACE.syntax, [NDR32])]), request(28, bytes(4))):
        for i in range(len(data)):
            assert p.read(10) is None
            p.write(data[i : i + 1])
        assert len(messages(p)) == 1


def test_read_in_parts_is_one_message() -> None:
    p = bound()
    p.write(request(28, bytes(4)) + request(28, bytes(4), call_id=3))
    first = p.read(20)
    assert first is not None and first[1] is True and len(first[0]) == 20
    rest = p.read(10000)
    assert rest is not None and rest[1] is False
    assert struct.unpack_from("<H", first[0], 8)[0] == 20 + len(rest[0])
    assert len(messages(p)) == 1


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_raise_anything_else(data: bytes, as_stub: bool) -> None:
    for opnum in srvsvc.INTERFACE.operations:
        p = bound()
        try:
            p.write(request(opnum, data) if as_stub else data)
            messages(p)
        except PipeBroken:
            pass


def test_uuid_is_the_published_one() -> None:
    assert srvsvc.INTERFACE.syntax.encode()[:16] == srvs.MSRPC_UUID_SRVS[:16]
    assert wkssvc.INTERFACE.syntax.encode()[:16] == wkst.MSRPC_UUID_WKST[:16]
    assert NDR32.encode() == uuidtup_to_bin(("8a885d04-1ceb-11c9-9fe8-08002b104860", "2.0"))


def test_ndr_reader_and_writer_agree() -> None:
    writer = NdrWriter()
    writer.u8(1)
    writer.u16(2)
    writer.u8(3)
    writer.u64(4)
    writer.string("ä\U0001f600")
    writer.string_pointer("deep")
    writer.flush()
    reader = NdrReader(writer.data)
    assert (reader.u8(), reader.u16(), reader.u8(), reader.u64()) == (1, 2, 3, 4)
    assert (reader.string(), reader.unique_string()) == ("ä\U0001f600", "deep")
    with pytest.raises(WireError):
        reader.u8()


U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (32, 64))
VALUES = st.one_of(
    st.tuples(st.just("u8"), st.integers(0, 0xFF)), st.tuples(st.just("u16"), st.integers(0, 0xFFFF)),
    st.tuples(st.just("u32"), U32), st.tuples(st.just("u64"), U64), st.tuples(st.just("unique_u32"), st.none() | U32),
    st.tuples(st.just("string"), st.text(max_size=20).map(lambda text: text.rstrip("\0"))),
    st.tuples(st.just("raw"), st.binary(max_size=9)),
)  # fmt: skip


@given(st.lists(VALUES, max_size=12))
def test_ndr_survives(values: list[tuple[str, Any]]) -> None:
    """C706 14: whatever comes after what, each at its own alignment."""
    writer = NdrWriter()
    for kind, value in values:
        getattr(writer, kind)(value)
    reader = NdrReader(writer.data)
    for kind, value in values:
        assert (reader.raw(len(value)) if kind == "raw" else getattr(reader, kind)()) == value
    with pytest.raises(WireError):
        reader.u8()


@given(st.lists(st.none() | st.text(max_size=10).map(lambda text: text.rstrip("\0")), max_size=8))
def test_ndr_pointers_survive(texts: list[str | None]) -> None:
    """C706 14.3.12: what embedded pointers point to follows, in their order, behind the construct that holds them."""
    writer = NdrWriter()
    for text in texts:
        writer.string_pointer(text)
    writer.flush()
    reader = NdrReader(writer.data)
    there = [reader.pointer() for _ in texts]
    assert [reader.string() if exists else None for exists in there] == texts


READS = st.sampled_from(["u8", "u16", "u32", "u64", "string", "unique_string", "unique_u32", "pointer"])


@given(st.binary(max_size=60), st.lists(READS, min_size=1, max_size=8))
def test_any_stub_is_read_or_refused(stub: bytes, kinds: list[str]) -> None:
    reader = NdrReader(stub)
    try:
        for kind in kinds:
            getattr(reader, kind)()
    except WireError:
        pass


SYNTAXES = st.builds(Syntax, st.uuids(), U32)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), U32, st.lists(
    st.builds(pdu.ContextElement, st.integers(0, 0xFFFF), SYNTAXES, st.lists(SYNTAXES, max_size=3).map(tuple)),
    max_size=4,
))  # fmt: skip
def test_binds_survive(xmit: int, recv: int, group: int, contexts: list[pdu.ContextElement]) -> None:
    """C706 12.6.4.3."""
    body = struct.pack("<HHIB3x", xmit, recv, group, len(contexts))
    for element in contexts:
        body += struct.pack("<HBx", element.context_id, len(element.transfers)) + element.abstract.encode()
        body += b"".join(transfer.encode() for transfer in element.transfers)
    reader = Reader(pdu.encode(Ptype.BIND, pdu.WHOLE, 7, body))
    assert pdu.read_header(reader) == pdu.Header(Ptype.BIND, pdu.WHOLE, 16 + len(body), 0, 7)
    assert pdu.read_bind(reader) == pdu.Bind(xmit, recv, group, tuple(contexts))


@given(U32, st.integers(0, 0xFFFF), st.binary(max_size=9000), st.integers(pdu.FRAG_MIN, pdu.FRAG_MAX))
def test_responses_survive_their_fragments(call_id: int, context: int, stub: bytes, max_frag: int) -> None:
    """C706 12.6.4.10, 12.6.3.3: every fragment fits, the first and the last say so, and together they are the stub."""
    fragments = pdu.encode_response(call_id, context, stub, max_frag)
    joined = b""
    for index, fragment in enumerate(fragments):
        reader = Reader(fragment)
        header = pdu.read_header(reader)
        assert (header.ptype, header.call_id, header.frag_length) == (Ptype.RESPONSE, call_id, len(fragment))
        assert len(fragment) <= max_frag
        assert bool(header.flags & Pfc.FIRST_FRAG) == (index == 0)
        assert bool(header.flags & Pfc.LAST_FRAG) == (index == len(fragments) - 1)
        request = pdu.read_request(reader, header)  # the same fields as a response's
        assert (request.alloc_hint, request.context_id, request.opnum) == (len(stub) - len(joined), context, 0)
        joined += request.stub
    assert joined == stub


@given(st.binary(max_size=80))
def test_any_pdu_is_read_or_refused(data: bytes) -> None:
    for head in (b"", bytes.fromhex("05000b0310000000")):
        try:
            reader = Reader(head + data)
            header = pdu.read_header(reader)
        except WireError:
            continue
        with contextlib.suppress(WireError):
            pdu.read_bind(Reader(head + data, reader.position))
        with contextlib.suppress(WireError):
            pdu.read_request(Reader(head + data, reader.position), header)
