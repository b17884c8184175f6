# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner of gentest and its filter; and some seeds, where gentest and smbd are installed.
`make conformance-gentest` runs more."""
from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import gentest_filter as filter_
from gentest import ACCEPTED, HERE, difference, missing

MAXIMUM_ALLOWED = 0x02000000


def test_some_seeds_find_nothing() -> None:
    lack = missing()
    if lack:
        pytest.skip(lack)
    command = [sys.executable, str(HERE / "gentest.py"), "--seeds", "4", "--ops", "150"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------- the runner


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("OPEN ...\ngentest completed - no errors\n", ""),
        ("Mismatch in out.size - 0x1 0x2\nFailed at operation 7 - CREATE\ngentest failed\n",
         "operation 7, CREATE: Mismatch in out.size - 0x1 0x2"),
        ("status different in smb2_lock(...) - A B\nFailed at operation 0 - LOCK\ngentest failed\n",
         "operation 0, LOCK: status different in smb2_lock(...) - A B"),
        ("Failed to connect to \\\\a\\b - NT_STATUS_X\n", "Failed to connect to \\\\a\\b - NT_STATUS_X"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_what_gentest_says(output: str, found: str) -> None:
    assert difference(output) == found


def test_the_accepted_list_is_what_gentest_understands() -> None:
    """An empty line, and an end of the last one, would be patterns that match what has no name."""
    lines = ACCEPTED.read_text().split("\n")
    assert "" not in lines
    patterns = [line for line in lines if not line.startswith("#")]
    assert len(patterns) == len(set(patterns)) > 20
    for line in patterns:
        assert " " not in line and (line[0].islower() or line.startswith(("NT_STATUS_", "RAW_FILEINFO_"))), line


# ---------------------------------------------------------------------------------------------------------- the filter


def _header(command: int) -> bytearray:
    return bytearray(b"\xfeSMB" + struct.pack("<HHIHHIIQ", 64, 1, 0, command, 1, 0, 0, 5)).ljust(64, b"\0")


def _create(
    name: str, access: int = MAXIMUM_ALLOWED, attributes: int = 0, disposition: int = 3, options: int = 0,
    contexts: bytes = b"",
) -> bytearray:  # fmt: skip
    raw = name.encode("utf-16-le")
    raw += bytes(-len(raw) % 8)
    at = 64 + 56
    body = struct.pack(
        "<HBBIQQIIIIIHHII", 57, 0, 0, 0, 0, 0, access, attributes, 0, disposition, options, at, 2 * len(name),
        at + len(raw) if contexts else 0, len(contexts),
    )  # fmt: skip
    return _header(5) + body + raw + contexts


def _field(message: bytearray, at: int) -> int:
    value: int = struct.unpack_from("<I", message, 64 + at)[0]
    return value


def _opened(name: str, access: int = MAXIMUM_ALLOWED, attributes: int = 0) -> filter_.Seen:
    """After a CREATE that succeeded; its FileId is sixteen times 7."""
    seen = filter_.Seen()
    assert not filter_.request(_create(name, access), seen)
    body = bytearray(88)
    struct.pack_into("<I", body, 56, attributes)
    body[64:80] = b"\7" * 16
    filter_.answer(bytes(_header(5) + body), seen)
    return seen


def _set_info(info_class: int, data: bytes) -> bytearray:
    body = struct.pack("<HBBIHHI16s", 33, 1, info_class, len(data), 64 + 32, 0, 0, b"\7" * 16)
    return _header(17) + body + data


def _target(name: str) -> bytes:
    raw = name.encode("utf-16-le")
    return struct.pack("<QQI", 1, 3, len(raw)) + raw


def test_attributes_that_one_server_does_not_know_go() -> None:
    message = _create("f", attributes=0x7FFF)
    assert not filter_.request(message, filter_.Seen())
    assert _field(message, 28) == 0x7FFF & ~(0x08 | 0x40 | 0x01 | 0x100 | 0x1000 | 0x2000)
    message = _create("gentest\\foo4", attributes=0x26)
    filter_.request(message, filter_.Seen())
    assert _field(message, 28) == 0x20


def test_what_has_streams_is_a_file_that_is_opened_and_stays() -> None:
    message = _create("gentest\\foo4:s", disposition=5, options=0x1001)
    assert not filter_.request(message, filter_.Seen())
    assert (_field(message, 36), _field(message, 40), _field(message, 32)) == (3, 0, 4)


def test_all_else_is_as_it_was() -> None:
    create = _create("gentest\\foo", 0x1FF, 0x26, 5, 0x1001)
    for message in (create, _header(3) + bytes(24), bytearray(b"\xffSMB" * 20)):
        before = bytes(message)
        assert not filter_.request(message, filter_.Seen())
        assert bytes(message) == before
    signed = _create("f", attributes=0x40)
    signed[16] |= 0x08
    assert not filter_.request(signed, filter_.Seen())
    assert _field(signed, 28) == 0x40


def test_folders_are_opened_so_that_their_entries_may_move() -> None:
    message = _create("gentest\\blah\\..")
    assert not filter_.request(message, filter_.Seen())
    assert (_field(message, 24), _field(message, 32)) == (0x1E01FF, 3)


@pytest.mark.parametrize(
    ("name", "access", "eas", "kept"),
    [
        ("f", MAXIMUM_ALLOWED, [b"A"], True),
        ("f", 0x01, [b"A"], False),
        ("f", MAXIMUM_ALLOWED, [b"A", b""], False),
        ("foo4", MAXIMUM_ALLOWED, [b"A"], False),
        ("f:s", MAXIMUM_ALLOWED, [b"A"], True),
    ],
)
def test_extended_attributes(name: str, access: int, eas: list[bytes], kept: bool) -> None:
    listed = b""
    for index, ea in enumerate(eas):
        entry = struct.pack("<IBBH", 0, 0, len(ea), 1) + ea + b"\0v"
        entry += bytes(-len(entry) % 4)
        listed += (0 if index + 1 == len(eas) else len(entry)).to_bytes(4, "little") + entry[4:]
    context = struct.pack("<IHHHHI4s4x", 0, 16, 4, 0, 24, len(listed), b"ExtA") + listed
    message = _create(name, access, contexts=context)
    assert not filter_.request(message, filter_.Seen())
    assert (b"ExtA" in message) is kept


def test_renames() -> None:
    refused = [
        ("gentest\\a", MAXIMUM_ALLOWED, "gentest\\a"),  # its own name
        ("gentest\\a", 0x1FF, "gentest\\b"),  # without DELETE
        ("gentest\\a", MAXIMUM_ALLOWED, "gentest\\foo4"),
        ("gentest\\foo4:s", MAXIMUM_ALLOWED, "gentest\\b"),
    ]
    for name, access, target in refused:
        assert filter_.request(_set_info(10, _target(target)), _opened(name, access)), (name, target)
    seen = _opened("gentest\\a")
    message = _set_info(10, _target("gentest\\b"))
    assert not filter_.request(message, seen)
    assert message[96] == 0 and message[104:112] == bytes(8)  # nothing is replaced, no RootDirectory
    assert filter_.request(_set_info(10, _target("gentest\\b")), seen)  # it is called so by now


def test_what_is_to_be_deleted_is_not_renamed() -> None:
    seen = _opened("gentest\\a")
    assert not filter_.request(_set_info(13, b"\1"), seen)
    assert filter_.request(_set_info(10, _target("gentest\\b")), seen)
    assert not filter_.request(_set_info(13, b"\0"), seen)
    assert not filter_.request(_set_info(10, _target("gentest\\c")), seen)


def test_a_name_that_was_overwritten_goes_with_the_file() -> None:
    seen = _opened("gentest\\a")
    filter_.request(_create("gentest\\a", disposition=5), seen)
    assert not filter_.request(_set_info(10, _target("gentest\\b")), seen)
    assert seen.overwritten == {"gentest\\a", "gentest\\b"}


def test_sizes_are_of_files() -> None:
    for info_class in (19, 20):
        assert filter_.request(_set_info(info_class, bytes(8)), _opened("gentest\\x.y", attributes=0x10))
        assert not filter_.request(_set_info(info_class, bytes(8)), _opened("gentest\\x.y"))


def test_basic_information() -> None:
    message = _set_info(4, struct.pack("<QQQQII", 1, 2, 3, 4, 0x1191, 0))
    assert not filter_.request(message, _opened("gentest\\x.y"))
    assert struct.unpack_from("<QQQQI", message, 96) == (1, 2, 0, 0, 0xA0)
    assert filter_.request(_set_info(4, bytes(40)), _opened("gentest\\foo4:s"))


def test_queries() -> None:
    body = struct.pack("<HBBIHHIII16s", 41, 3, 0, 65536, 0, 0, 0, 0xFFFFFFFF, 0, b"\7" * 16)
    message = _header(16) + body
    assert not filter_.request(message, _opened("gentest\\x.y"))
    assert _field(message, 16) == 7
    for info_class in (5, 18, 22):
        body = struct.pack("<HBBIHHIII16s", 41, 1, info_class, 65536, 0, 0, 0, 0, 0, b"\7" * 16)
        assert filter_.request(_header(16) + body, _opened("gentest\\foo4:s"))
        assert not filter_.request(_header(16) + body, _opened("gentest\\foo4"))


def test_the_answer_to_what_is_not_passed_on() -> None:
    message = _set_info(10, _target("gentest\\a"))
    reply = filter_.refusal(message)
    assert struct.unpack_from("<I", reply, 8)[0] == 0xC00000BB and reply[16] & 1
    assert reply[12:14] == message[12:14] and reply[24:32] == message[24:32] and len(reply) == 73
