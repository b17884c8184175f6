# SPDX-License-Identifier: GPL-2.0-or-later
"""Samba's layouts: attributes as smbd 4.17 wrote them, and back."""
from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ksmbd.kernel.stat import stat_fd
from ksmbd.smb.security_descriptor import parse_security_descriptor
from ksmbd.smb.status import STATUS_IO_REPARSE_DATA_INVALID, NtStatusError
from ksmbd.vfs import dosattrib, ntacl, posix_acl
from ksmbd.vfs.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Entry, _ndr, encode
from ksmbd.vfs.reparse import decode_symlink, encode_symlink
from ksmbd.vfs.times import from_filetime, to_filetime

HIDDEN_ARCHIVE = bytes.fromhex("00000500050000001100000022000000f453a68f2679dd01")
NTACL = bytes.fromhex(
    "0400040000000200040002000100f8066385777aa515ffc99570481307f95b647d601328bc408aed95ab5e13ee7c"
    + "00" * 32
    + "706f7369785f61636c001aebe18f2679dd01ca5826ceacba759b9051761ab912b8059abf039f8ec40309cc24dccdba7341a8"
    + "00" * 32
    + "01000480b4000000d000000000000000ec000000010500000000000515000000bea9f2c045a45e71b36742a0e803000001050000"
    "0000000515000000bea9f2c045a45e71b36742a001020000020078000400000000001400a9001200010100000000000100000000"
    "00001400ff011f0001010000000000010000000000002400ff011f00010500000000000515000000bea9f2c045a45e71b36742a0"
    "0102000000002400ff011f00010500000000000515000000bea9f2c045a45e71b36742a0e8030000"
)


def test_dosattrib_of_samba() -> None:
    found = dosattrib.decode(HIDDEN_ARCHIVE)
    assert found.attributes == 0x22
    assert found.creation_time == 0x01DD79268FA653F4
    assert dosattrib.encode(0x22, 0x01DD79268FA653F4) == HIDDEN_ARCHIVE


@pytest.mark.parametrize(
    ("data", "attributes", "creation"),
    [
        (b"0x21\0\0" + bytes.fromhex("0300030000001100000020000000") , None, None),
        (b"0x7\0", 7, None),
        (b"", None, None),
        (b"no hex\0", None, None),
        (b"\0\0\5\0\5\0", None, None),
        (b"\0\0\4\0\4\0\0\0\x11\0\0\0\x02\0\0\0" + bytes(8) + (5).to_bytes(8, "little"), 2, 5),
        (b"\0\0\3\0\3\0\0\0\x11\0\0\0\x04\0\0\0" + bytes(20) + (9).to_bytes(8, "little") + bytes(8), 4, 9),
        (b"\0\0\5\0\5\0\0\0\x01\0\0\0\x02\0\0\0" + bytes(8), 2, None),
    ],
)
def test_dosattrib_versions(data: bytes, attributes: int | None, creation: int | None) -> None:
    found = dosattrib.decode(data)
    if data[:4] == b"0x21":
        assert found == (0x21, None)  # the text counts where the rest is cut off
    else:
        assert found == (attributes, creation)


@given(st.binary(max_size=80))
def test_damaged_attributes_are_none(data: bytes) -> None:
    dosattrib.decode(data)
    ntacl.decode(data)
    ntacl.decode(b"\4\0\4\0\0\0\2\0" + data)


def test_ntacl_of_samba() -> None:
    acl = ntacl.decode(NTACL)
    assert acl is not None and acl.version == 4 and acl.time == 0x01DD79268FE1EB1A
    text = parse_security_descriptor(acl.descriptor).to_sddl()
    assert text.startswith("O:S-1-5-21-3237128638-1902027845-2688706483-1000G:") and text.count("(A;") == 4


def test_hash_of_the_posix_acl_is_sambas() -> None:
    data = bytearray(bytes.fromhex("0000020000000000eb03000000000000eb03000000000000ff810000"))
    _ndr(data, [Entry(USER_OBJ, 7), Entry(USER, 7, 1003), Entry(GROUP_OBJ, 7), Entry(GROUP, 7, 1003), Entry(MASK, 7),
                Entry(OTHER, 7)])  # fmt: skip
    acl = ntacl.decode(NTACL)
    assert acl is not None and acl.system_hash[:32] == sha256(data).digest()
    assert ntacl.matches(acl, bytes(data)) and not ntacl.matches(acl, bytes(data) + b"\0")


def test_a_directory_without_a_default_acl_has_an_empty_one(tmp_path: Path) -> None:
    """As libacl has it, whose word Samba hashes: NDR of an array of no entries, and not a pointer to nothing."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        data = posix_acl.blob(fd, False, stat_fd(fd))
        with open(tmp_path / "f", "wb") as file:
            plain = posix_acl.blob(file.fileno(), False, stat_fd(file.fileno()))
    finally:
        os.close(fd)
    assert data[:8] == bytes.fromhex("00000200 04000200") and data.endswith(bytes(4) + bytes(4) + bytes(8))
    assert plain[:8] == bytes.fromhex("00000200 00000000") and len(data) == len(plain) + 16


def test_ntacl_of_other_versions() -> None:
    acl = ntacl.decode(NTACL)
    assert acl is not None
    for version, head, counts in (
        (1, b"", True), (2, b"\4\0\2\0" + bytes(16), True),
        (3, b"\4\0\2\0\1\0" + bytes(64), True), (3, b"\4\0\2\0\0\0" + bytes(64), False),
    ):  # fmt: skip
        data = bytes((version, 0, version, 0)) + b"\0\0\2\0" + head
        found = ntacl.decode(data + bytes(-len(data) % 4) + acl.descriptor)
        assert found is not None and (found.version, found.descriptor) == (version, acl.descriptor)
        assert ntacl.matches(found, b"whatever") is counts


def test_ntacl_round_trip() -> None:
    acl = ntacl.decode(NTACL)
    assert acl is not None
    again = ntacl.decode(ntacl.encode(acl.descriptor, b"posix", 7))
    assert again is not None and again.descriptor == acl.descriptor and again.time == 7
    assert ntacl.matches(again, b"posix") and not ntacl.matches(again, b"other")


def test_ntacl_with_offsets_of_its_own() -> None:
    """As KSMBD writes them."""
    acl = ntacl.decode(NTACL)
    assert acl is not None
    data = NTACL[:160] + acl.descriptor
    found = ntacl.decode(data)
    assert found is not None and found.descriptor == acl.descriptor


@given(st.integers(0, (1 << 63) - 1))
def test_times_are_exact(filetime: int) -> None:
    seconds, nanoseconds = from_filetime(filetime)
    assert 0 <= nanoseconds < 10**9
    assert to_filetime(seconds, nanoseconds) == filetime


def test_times_before_1601_are_zero() -> None:
    assert to_filetime(-(10**11), 0) == 0
    assert to_filetime(0, 199) == to_filetime(0, 100) == 116444736000000001


@given(st.integers(0, 0xFFFFFFFF), st.integers(1, (1 << 64) - 1))
def test_dos_attributes_survive(attributes: int, creation: int) -> None:
    assert dosattrib.decode(dosattrib.encode(attributes, creation)) == (attributes, creation)


@given(st.binary(min_size=20, max_size=60), st.binary(max_size=20), st.integers(0, (1 << 64) - 1))
def test_descriptors_survive_with_any_bytes(body: bytes, posix: bytes, time: int) -> None:
    """Whatever the offsets in it say: they come back as they were, for the descriptor is checked where it is parsed."""
    descriptor = body[:4] + b"".join(offset.to_bytes(4, "little") for offset in (0, 20, 0, 48)) + body[20:]
    found = ntacl.decode(ntacl.encode(descriptor, posix, time))
    assert found is not None and (found.descriptor, found.time) == (descriptor, time)
    assert ntacl.matches(found, posix)


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.booleans())
def test_symbolic_links_survive(target: str, relative: bool) -> None:
    """MS-FSCC 2.1.2.4."""
    on_wire = target.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert decode_symlink(encode_symlink(target, relative)) == (on_wire, relative)


@given(st.binary(max_size=60))
@example(b"\xff\xff\xff\xff" * 3)
def test_any_link_is_read_or_refused(data: bytes) -> None:
    try:
        decode_symlink(data)
    except NtStatusError as error:
        assert error.status == STATUS_IO_REPARSE_DATA_INVALID


@given(st.lists(st.tuples(st.sampled_from([USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER]), st.integers(0, 7),
                          st.integers(0, 0xFFFFFFFF)), max_size=8))  # fmt: skip
def test_posix_acls_survive(fields: list[tuple[int, int, int]]) -> None:
    """In the kernel's order."""
    entries = [Entry(*each) for each in fields]
    data = encode(entries)
    assert data[:4] == b"\2\0\0\0"
    assert [Entry(*each) for each in struct.iter_unpack("<HHI", data[4:])] == sorted(
        entries, key=lambda entry: (entry.tag, entry.id)
    )
