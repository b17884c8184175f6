# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc's operations on paths and names, the server's disk, and what it does not change: through impacket's codecs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.dcerpc.v5 import rpcrt, srvs
from impacket.dcerpc.v5.dtypes import NULL
from rpc_doubles import client

from ksmbd.smb.status import WireError
from mountd.rpc import srvsvc
from mountd.rpc.facts import Facts, Level
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Win32
from mountd.rpc.srvsvc_paths import InvalidPathError, parse

PARSED = [
    ("x", srvs.ITYPE_PATH_RELND, "x"), (r"a\.\b\..\c", srvs.ITYPE_PATH_RELND, r"a\c"), ("a/b/", 8192, r"a\b"),
    (r"\x", srvs.ITYPE_PATH_ABSND, r"\x"), ("\\", srvs.ITYPE_PATH_ABSND, "\\"), ("c:\\", srvs.ITYPE_PATH_ABSD, "C:\\"),
    (r"c:\a\..\b", srvs.ITYPE_PATH_ABSD, r"C:\b"), ("c:x", srvs.ITYPE_PATH_RELD, "C:x"),
    ("*.txt", srvs.ITYPE_PATH_RELND_WC, "*.txt"), (r"\a\?", srvs.ITYPE_PATH_ABSND_WC, r"\a\?"),
    (r"c:\*", srvs.ITYPE_PATH_ABSD_WC, r"C:\*"), ("c:*", srvs.ITYPE_PATH_RELD_WC, "C:*"),
    (r"\\server", srvs.ITYPE_UNC_COMPNAME, r"\\server"), (r"\\*", srvs.ITYPE_UNC_WC, r"\\*"),
    (r"\\server\share", srvs.ITYPE_UNC, r"\\server\share"), (r"\\s\d\a\..\b", srvs.ITYPE_UNC, r"\\s\d\b"),
    (r"\\s\d\*", srvs.ITYPE_UNC_WC_PATH, r"\\s\d\*"), (r"\\s\pipe\x", srvs.ITYPE_UNC_SYS_PIPE, r"\\s\pipe\x"),
    (r"\\s\SEM\x", srvs.ITYPE_UNC_SYS_SEM, r"\\s\SEM\x"), (r"\\s\MAILSLOT\x", srvs.ITYPE_UNC_SYS_MSLOT, None),
    (r"\\s\SHAREMEM\x", srvs.ITYPE_UNC_SYS_SHMEM, None), (r"\\s\QUEUES\x", srvs.ITYPE_UNC_SYS_QUEUE, None),
    (r"\\s\pipe", srvs.ITYPE_UNC, None), (r"\\s\comm\x", srvs.ITYPE_UNC, None),
    (r"\PIPE\x", srvs.ITYPE_PATH_SYS_PIPE, r"\PIPE\x"), (r"\PIPE", srvs.ITYPE_PATH_SYS_PIPE_M, r"\PIPE"),
    (r"\SEM\x", srvs.ITYPE_PATH_SYS_SEM, None), (r"\sharemem\x", srvs.ITYPE_PATH_SYS_SHMEM, None),
    (r"\MAILSLOT\x", srvs.ITYPE_PATH_SYS_MSLOT, None), (r"\COMM\x", srvs.ITYPE_PATH_SYS_COMM, None),
    (r"\PRINT\x", srvs.ITYPE_PATH_SYS_PRINT, None), (r"\QUEUES\x", srvs.ITYPE_PATH_SYS_QUEUE, None),
    (r"\QUEUES", srvs.ITYPE_PATH_SYS_QUEUE_M, None), (r"\SEM", srvs.ITYPE_PATH_SYS_SEM_M, None),
    ("d:", srvs.ITYPE_DEVICE_DISK, "D:"), ("lpt1", srvs.ITYPE_DEVICE_LPT, "LPT1"), ("PRN:", 0x4010, "PRN"),
    ("com9:", srvs.ITYPE_DEVICE_COM, "COM9"), ("aux", 0x4020, "AUX"), ("con", srvs.ITYPE_DEVICE_CON, "CON"),
    ("nul", srvs.ITYPE_DEVICE_NUL, "NUL"), ("com10", srvs.ITYPE_PATH_RELND, "com10"), (r"x\..", 8192, ""),
]
WRONG = [
    "", "..", r"a\..\..", r"c:\..", r"\..", r"a\\b", r"\\", r"\\s\ "[:-1], "a|b", "ab:c", "c:\\d:", 'a"', "a\x01",
    r"*\a", r"\\s\*", r"\\*\a", r"\\.\x", r"\\s\d\..\..", "x" * 260, "x" * 256 + "y",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "canonical"), PARSED)
def test_types_and_canonical_forms(text: str, kind: int, canonical: str | None) -> None:
    found = parse(text)
    assert found.type == kind
    assert canonical in (None, found.text)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(InvalidPathError):
        parse(text)


@pytest.mark.parametrize(("text", "valid"), [
    ("12345678.123", True), ("123456789", False), ("a.1234", False), ("a.b.c", False), (r"a\..\b.c", True),
    ("\\".join(["1234567"] * 17), False),
])  # fmt: skip
def test_old_names(text: str, valid: bool) -> None:
    parse(text)
    try:
        parse(text, old_style=True)
        assert valid
    except InvalidPathError:
        assert not valid


def test_what_resolves_to_a_device_is_one() -> None:
    assert parse("a:.") == parse("A:") and parse(r".\con") == parse("CON")


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab.:\\/*?cC"), max_size=12))
def test_a_canonical_form_stays(text: str) -> None:
    try:
        found = parse(text)
    except InvalidPathError:
        return
    if found.text:
        again = parse(found.text)
        assert again.text == found.text
        if not found.type & 0x8000:
            assert again.type | 0x8F00 == found.type | 0x8F00


# ------------------------------------------------------------------------------------------------------- through RPC


@pytest.fixture
def dce() -> Any:
    return client((srvsvc.INTERFACE,), srvs.MSRPC_UUID_SRVS)


def refused(call: Any, *arguments: Any, **named: Any) -> int:
    with pytest.raises(rpcrt.DCERPCException) as caught:
        call(*arguments, **named)
    return int(caught.value.get_error_code())


def test_path_type(dce: Any) -> None:
    assert srvs.hNetprPathType(dce, "C:\\x\0", 0)["PathType"] == srvs.ITYPE_PATH_ABSD
    assert refused(srvs.hNetprPathType, dce, "a|\0", 0) == Win32.INVALID_NAME
    assert refused(srvs.hNetprPathType, dce, "123456789\0", 1) == Win32.INVALID_NAME
    assert refused(srvs.hNetprPathType, dce, "x\0", 2) == Win32.INVALID_PARAMETER


def canonical(dce: Any, text: str, prefix: str, size: int = 60) -> tuple[str, int]:
    answer = srvs.hNetprPathCanonicalize(dce, text + "\0", prefix + "\0", size)
    data = b"".join(answer["Outbuf"])
    assert len(data) == size
    return data.decode("utf-16-le").rstrip("\0"), answer["PathType"]


def test_canonical_paths(dce: Any) -> None:
    assert canonical(dce, r"a\..\b", "") == ("b", srvs.ITYPE_PATH_RELND)
    assert canonical(dce, r"a\..\b", "c:\\x\\") == (r"C:\x\b", srvs.ITYPE_PATH_ABSD)
    assert canonical(dce, "*", r"\\s\d") == (r"\\s\d\*", srvs.ITYPE_UNC_WC_PATH)
    assert canonical(dce, r"\b", r"c:\x") == (r"\b", srvs.ITYPE_PATH_ABSND)
    assert canonical(dce, "b", "", 4) == ("b", srvs.ITYPE_PATH_RELND)
    call = srvs.hNetprPathCanonicalize
    assert refused(call, dce, "b\0", "\0", 3) == Win32.NERR_BUF_TOO_SMALL
    assert refused(call, dce, "..\0", "\0", 60) == Win32.INVALID_NAME
    assert refused(call, dce, "x\0", "\0", 60, pathType=4096) == Win32.INVALID_PARAMETER
    assert refused(call, dce, "x\0", "\0", 60, flags=1) == Win32.INVALID_PARAMETER
    assert len(srvs.hNetprPathCanonicalize(dce, "b\0", "\0", 64000)["Outbuf"]) == 64000
    with pytest.raises(rpcrt.DCERPCException):
        call(dce, "x\0", "\0", 64001)


def test_paths_are_compared(dce: Any) -> None:
    compare = srvs.hNetprPathCompare
    assert compare(dce, "a\\..\\B\0", "b\0")["ErrorCode"] == 0
    assert refused(compare, dce, "b\0", "a\0") == 1
    assert refused(compare, dce, "a\0", "b\0") == 0xFFFFFFFF
    assert refused(compare, dce, "a\\..\\b\0", "b\0", flags=1) == 0xFFFFFFFF
    assert refused(compare, dce, "..\0", "b\0") == Win32.INVALID_NAME
    assert refused(compare, dce, "a\0", "a\0", pathType=4096) == Win32.INVALID_PARAMETER
    assert refused(compare, dce, "a\0", "a\0", flags=2) == Win32.INVALID_PARAMETER


def called(opnum: int, level: Level, *parts: str | int) -> NdrReader:
    """An operation's result; a text is a string, a number a long."""
    stub = NdrWriter()
    stub.u32(0)
    for part in parts:
        stub.string(part) if isinstance(part, str) else stub.u32(part)
    writer = NdrWriter()
    srvsvc.INTERFACE.operations[opnum](Caller(lambda: Facts(), level), NdrReader(bytes(stub.data)), writer)
    return NdrReader(bytes(writer.data))


@pytest.mark.parametrize(("name", "size", "kind", "flags", "expected"), [
    ("box", 16, 4, 0, "BOX"), ("Share", 16, 9, 0, "Share"), ("Share", 16, 9, 0x80000000, "SHARE"),
    ("Secret", 16, 2, 0x80000000, "Secret"), ("box", 3, 4, 0, Win32.NERR_BUF_TOO_SMALL), ("box", 4, 4, 0, "BOX"),
    ("box", 15, 4, 1, Win32.NERR_BUF_TOO_SMALL), ("box", 16, 4, 1, "BOX"), ("a/b", 16, 4, 0, Win32.INVALID_NAME),
    ("x", 16, 99, 0, Win32.INVALID_PARAMETER), ("x", 16, 4, 8, Win32.INVALID_PARAMETER),
])  # fmt: skip
def test_canonical_names(name: str, size: int, kind: int, flags: int, expected: str | int) -> None:
    reader = called(34, Level.NAMES, name, size, kind, flags)
    assert reader.u32() == size
    found = reader.raw(2 * size).decode("utf-16-le").rstrip("\0")
    status = reader.u32()
    assert (found if isinstance(expected, str) else status) == expected
    assert (status == 0) == isinstance(expected, str)


def test_the_range_of_a_buffer() -> None:
    with pytest.raises(WireError):
        called(34, Level.NAMES, "x", 64001, 4, 0)


def test_the_disk(dce: Any) -> None:
    answer = srvs.hNetrServerDiskEnum(dce, 0)
    assert (answer["TotalEntries"], answer["ResumeHandle"]) == (1, 1)
    assert answer["DiskInfoStruct"]["EntriesRead"] == 1
    again = srvs.hNetrServerDiskEnum(dce, 0, resumeHandle=1)
    assert (again["TotalEntries"], again["DiskInfoStruct"]["EntriesRead"]) == (0, 0)
    assert refused(srvs.hNetrServerDiskEnum, dce, 1) == Win32.INVALID_LEVEL
    guest = client((srvsvc.INTERFACE,), srvs.MSRPC_UUID_SRVS, "", restricted=True)
    assert refused(srvs.hNetrServerDiskEnum, guest, 0) == Win32.ACCESS_DENIED


def test_what_only_the_configuration_changes(dce: Any) -> None:
    assert called(22, Level.SHARES).raw(4) == bytes(4)
    for level, status in ((Level.SHARES, Win32.ACCESS_DENIED), (Level.SESSIONS, Win32.NOT_SUPPORTED)):
        reader = called(22, level)
        assert (reader.u32(), reader.u32()) == (0, status)
    request = srvs.NetrShareDelSticky()
    request["ServerName"], request["NetName"] = NULL, "docs\0"
    assert refused(dce.request, request) == Win32.ACCESS_DENIED
